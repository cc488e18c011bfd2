"""Result files into the store: what changed is logged anew and replaces its older run, the rest is left alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from petvr.errors import PetvrError
from petvr.report.tracking.store import (
    CELL_TAG,
    DIGEST_TAG,
    RESULTS_TAG,
    RUN_TAG,
    Store,
    default_uri,
    locked,
    open_store,
    search,
    shown,
)
from petvr.report.tracking.write import ARTIFACTS, log_cell, log_run
from petvr.result import Result

FORMAT = 2  # a new number logs everything again
PARENT_TAG = "mlflow.parentRunId"


@dataclass
class Status:
    """What happened. `warning` is one line for the user; with a warning the store may be incomplete."""

    uri: str
    experiment: str
    logged: int = 0
    unchanged: int = 0
    removed: int = 0
    broken: list[str] = field(default_factory=list)  # result files that cannot be read
    warning: str = ""

    @property
    def ok(self) -> bool:
        return not self.warning

    def __str__(self) -> str:
        if self.warning:
            return self.warning
        skipped = f", {len(self.broken)} unreadable" if self.broken else ""
        done = f"{self.logged} logged, {self.unchanged} unchanged, {self.removed} older ones removed"
        return f"MLflow {self.uri}: {done}{skipped}"


def sync(
    results: str | Path,
    uri: str | None = None,
    experiment: str = "petvr",
    tables: Mapping[str, Sequence[str]] | None = None,
    runs: Iterable[str] | None = None,
) -> Status:
    """Bring the view up to date with the results below `results/runs`; called twice, the second does nothing.

    `tables`: cell id -> tables that show it (a tag). `runs`: only the cells of these run ids. Without it everything
    is looked at, and runs of this results folder whose file is gone are removed.
    """
    results = Path(results)
    uri = uri or default_uri(results)
    status = Status(shown(uri), experiment)
    files = sorted((results / "runs").glob("*/*/*/*/seed-*/result.json"))
    present = {file.parent.relative_to(results / "runs").as_posix() for file in files}
    chosen = None if runs is None else {run.rpartition("/")[0] for run in runs}
    cells = dict.fromkeys(file.parent.parent for file in files)
    try:
        store = None
        for folder in cells:
            if chosen is not None and folder.relative_to(results / "runs").as_posix() not in chosen:
                continue
            with locked(uri):
                store = store or open_store(uri, experiment)
                _cell(store, status, results, folder, tables or {})
        if chosen is None:
            with locked(uri):
                _prune(store or open_store(uri, experiment), status, results, present)
    except Exception as error:
        status.warning = _warning(uri, error)
    return status


def log_result(
    path: str | Path,
    uri: str | None = None,
    experiment: str = "petvr",
    tables: Mapping[str, Sequence[str]] | None = None,
) -> Status:
    """Log the run of one `results/runs/<run id>/result.json`, and the mean and spread of its cell anew."""
    path = Path(path)
    results = _results_of(path)  # the only error it raises: a path that is no run's
    uri = uri or default_uri(results)
    status = Status(shown(uri), experiment)
    try:
        with locked(uri):
            _cell(open_store(uri, experiment), status, results, path.parent.parent, tables or {})
    except Exception as error:
        status.warning = _warning(uri, error)
    return status


def _results_of(path: Path) -> Path:
    """The folder that holds `runs`, from a result's place `runs/paper/dataset/backbone/method/seed-n/result.json`."""
    parents = path.absolute().parents
    if len(parents) < 7 or parents[5].name != "runs":
        raise PetvrError(
            f"{path}: not of the form results/runs/<paper>/<dataset>/<backbone>/<method>/seed-<n>/result.json"
        )
    return parents[6]


def _warning(uri: str, error: Exception) -> str:
    text = " ".join(str(error).split()).replace(uri, shown(uri))
    text = text if len(text) < 300 else text[:300] + "..."
    return (
        f"MLflow store {shown(uri)} cannot be used: {text or type(error).__name__}. "
        "The results are safe; `petvr track` fills the store once it works."
    )


def _cell(store: Store, status: Status, results: Path, folder: Path, tables: Mapping[str, Sequence[str]]) -> None:
    """All seeds of one cell and the run above them; inside the lock."""
    folder = folder.absolute()
    cell = folder.relative_to((results / "runs").absolute()).as_posix()
    shown_in = list(tables.get(cell, ()))
    old: dict[str, list[Any]] = {}
    for run in search(store, f"tags.`{CELL_TAG}` = '{cell}'"):
        old.setdefault(run.data.tags.get(RUN_TAG, ""), []).append(run)

    kept: dict[str, str] = {}  # run id of petvr -> run id of MLflow
    digests, good = [], []
    for file in sorted(folder.glob("seed-*/result.json")):
        name = f"{cell}/{file.parent.name}"
        digest = _digest(file, shown_in)
        same = [run for run in old.get(name, []) if run.data.tags.get(DIGEST_TAG) == digest]
        try:
            result = Result.read(file)
            if result.id != name:
                raise PetvrError(f"{file}: holds the result of {result.id}")
        except (PetvrError, OSError, UnicodeDecodeError) as error:
            status.broken.append(str(error))
            continue
        good.append(result)
        digests.append(digest)
        if same:
            kept[name] = same[0].info.run_id
            status.unchanged += 1
        else:
            kept[name] = log_run(store, results, file, result, digest, shown_in)
            status.logged += 1
    if not good:
        return
    above = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    parents = [run for run in old.get("", []) if run.data.tags.get(DIGEST_TAG) == above]
    parent = parents[0].info.run_id if parents else log_cell(store, results, cell, good, above, shown_in)
    for name, run_id in kept.items():
        known = next((run for run in old.get(name, []) if run.info.run_id == run_id), None)
        if known is None or known.data.tags.get(PARENT_TAG) != parent:
            store.client.set_tag(run_id, PARENT_TAG, parent)
    # only now is there a complete new run for every old one
    for run in (run for runs in old.values() for run in runs):
        if run.info.run_id not in {*kept.values(), parent}:
            _remove(store, status, run)


def _digest(file: Path, tables: Iterable[str]) -> str:
    """Of everything the run in MLflow is made from; large files by size and time."""
    parts = [str(FORMAT), *tables]
    for name in ARTIFACTS[1:]:
        there = file.parent / name
        stat = there.stat() if there.exists() else None
        parts.append(f"{name} {stat.st_size} {stat.st_mtime_ns}" if stat else name)
    return hashlib.sha256(file.read_bytes() + "\0".join(parts).encode()).hexdigest()[:16]


def _prune(store: Store, status: Status, results: Path, present: set[str]) -> None:
    """Cut-off runs are marked, and runs of this folder without a file are removed."""
    cells = {name.rpartition("/")[0] for name in present}
    for run in search(store):
        tags = run.data.tags
        if run.info.status == "RUNNING":
            store.client.set_terminated(run.info.run_id, status="KILLED")
        gone = tags[RUN_TAG] not in present if RUN_TAG in tags else tags[CELL_TAG] not in cells
        if gone and tags.get(RESULTS_TAG) == str(results.resolve()):
            _remove(store, status, run)


def _remove(store: Store, status: Status, run: Any) -> None:
    if run.info.status == "RUNNING":
        store.client.set_terminated(run.info.run_id, status="KILLED")
    store.client.delete_run(run.info.run_id)
    status.removed += 1
