"""Result files into the store: what changed is logged anew and replaces its older run, the rest is left alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.errors import PetvrError, missing_extra
from petvr.layout import Layout
from petvr.report.tracking.content import RunRecord, record_of_cell, record_of_run
from petvr.report.tracking.store import (
    CELL_TAG,
    DIGEST_TAG,
    LIVE_TAG,
    RESULTS_TAG,
    RUN_TAG,
    Store,
    default_uri,
    locked,
    open_store,
    search,
    shown,
    stamp,
    system_metrics,
    trains,
)
from petvr.report.tracking.write import ARTIFACTS, write_runs
from petvr.result import Result
from petvr.text_files import read_json, typed

FORMAT = 4  # a new number logs everything again
PARENT_TAG = "mlflow.parentRunId"
AT_ONCE = 60  # cells under one lock and in one transaction


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
    experiment_id: str = ""  # MLflow's

    @property
    def ok(self) -> bool:
        return not self.warning

    def __str__(self) -> str:
        if self.warning:
            return self.warning
        skipped = f", {len(self.broken)} unreadable" if self.broken else ""
        done = f"{self.logged} logged, {self.unchanged} unchanged, {self.removed} older ones removed"
        return f"MLflow {self.uri}: {done}{skipped}"


@dataclass(frozen=True)
class CellFiles:
    """The result files of a cell, each with the digest of all that its run in MLflow is made from."""

    id: str
    files: dict[Path, str]
    tables: tuple[str, ...]

    @property
    def digest(self) -> str:
        return _hash(*(f"{file.parent.name} {digest}" for file, digest in self.files.items()))


def sync(
    results: str | Path,
    uri: str | None = None,
    experiment: str = "petvr",
    tables: Mapping[str, Sequence[str]] | None = None,
    runs: Iterable[str] | None = None,
    again: bool = False,
    source: str = "",
) -> Status:
    """Bring the view up to date with the results below `results/runs`; called twice, the second does nothing.

    `tables`: cell id -> tables that show it (a tag). `runs`: only the cells of these run ids. Without it everything
    is looked at, and runs of this results folder whose file is gone are removed. `again`: look into the store even
    where the notes beside it say that nothing has changed. `source`: what `tables` is made from, for `unchanged`.
    """
    results = Path(results)
    uri = uri or default_uri(results)
    status = Status(shown(uri), experiment)
    chosen = None if runs is None else {run.rpartition("/")[0] for run in runs}
    cells = list(_cell_files(results, chosen, tables or {}))
    notes = _Notes(results, uri, experiment)
    if not again and notes.say_unchanged(cells, everything=chosen is None):
        status.unchanged = sum(len(cell.files) for cell in cells)
        status.broken, status.experiment_id = notes.broken, notes.experiment_id
        return status
    try:
        view = _View(uri, experiment)
        for begin in range(0, max(len(cells), 1), AT_ONCE):
            some = cells[begin : begin + AT_ONCE]
            with view.opened(some[0].id if len(cells) == 1 and chosen is not None else "") as store:
                _sync_cells(store, view.runs, status, results, some)
        if chosen is None:
            with view.opened() as store:
                _prune(store, view.runs, status, results, {cell.id: cell for cell in cells})
        status.experiment_id = view.store.experiment if view.store else ""
        notes.keep(cells, status, everything=chosen is None, source=source)
    except Exception as error:
        status.warning = warning_of(uri, error)
    return status


def unchanged(results: str | Path, uri: str, experiment: str, source: str) -> Status | None:
    """What `sync` of everything would say, where it would do nothing; None where it has to look.

    No plan is made for it: `source` stands for all that the tables of the cells are made from.
    """
    notes = _Notes(Path(results), uri, experiment)
    cells = list(_cell_files(Path(results), None, notes.tables))
    if notes.source != source or not notes.say_unchanged(cells, everything=True):
        return None
    same = sum(len(cell.files) for cell in cells)
    return Status(shown(uri), experiment, unchanged=same, broken=notes.broken, experiment_id=notes.experiment_id)


def log_result(
    path: str | Path,
    uri: str | None = None,
    experiment: str = "petvr",
    tables: Mapping[str, Sequence[str]] | None = None,
) -> Status:
    """Log the run of one `results/runs/<run id>/result.json`, and the mean and spread of its cell anew."""
    parents = Path(path).absolute().parents
    if len(parents) < 7 or parents[5].name != "runs":
        raise PetvrError(
            f"{path}: not of the form results/runs/<paper>/<dataset>/<backbone>/<method>/seed-<n>/result.json"
        )
    run = parents[0].relative_to(parents[5]).as_posix()
    return sync(parents[6], uri, experiment, tables, [run])


def warning_of(uri: str, error: Exception) -> str:
    text = shown(" ".join(str(missing_extra("it", error) or error).split()).replace(uri, shown(uri)))
    text = text if len(text) < 300 else text[:300] + "..."
    return (
        f"MLflow store {shown(uri)} cannot be used: {text or type(error).__name__}. "
        "The results are safe; `petvr track` fills the store once it works."
    )


def _cell_files(results: Path, chosen: set[str] | None, tables: Mapping[str, Sequence[str]]) -> Iterator[CellFiles]:
    by_cell: dict[str, dict[Path, str]] = {}
    for file in sorted((results / "runs").glob("*/*/*/*/seed-*/result.json")):
        cell = file.parent.parent.relative_to(results / "runs").as_posix()
        if chosen is None or cell in chosen:
            by_cell.setdefault(cell, {})[file] = _digest(file, tables.get(cell, ()))
    for cell, files in by_cell.items():
        yield CellFiles(cell, files, tuple(tables.get(cell, ())))


def _digest(file: Path, tables: Iterable[str]) -> str:
    """Of everything the run in MLflow is made from; large files by size and time."""
    parts = [str(FORMAT), *tables]
    for name in ARTIFACTS[1:]:
        there = file.parent / name
        stat = there.stat() if there.exists() else None
        parts.append(f"{name} {stat.st_size} {stat.st_mtime_ns}" if stat else name)
    content = file.read_bytes() if file.is_file() else b""
    return hashlib.sha256(content + "\0".join(parts).encode()).hexdigest()[:16]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Noted:
    format: int = 0
    store: list[int] | None = None
    experiment: str = ""
    cells: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    tables: dict[str, list[str]] = field(default_factory=dict)
    source: str = ""


class _Notes:
    """What the store held after the last sync, in a file below results: read before MLflow is imported.

    A local store that somebody else has written since, or deleted, is looked into all the same.
    """

    def __init__(self, results: Path, uri: str, experiment: str) -> None:
        self.file = results / "mlflow" / f"logged-{_hash(uri, experiment)}.json"
        self.uri = uri
        noted = _Noted()
        with contextlib.suppress(PetvrError):
            noted = typed(_Noted, read_json(self.file, dict), self.file)
        sound = noted.format == FORMAT and noted.store == stamp(uri)
        self.cells: dict[str, str] = noted.cells if sound else {}
        self.broken: list[str] = noted.broken if sound else []
        self.experiment_id: str = noted.experiment if sound else ""
        self.tables: dict[str, list[str]] = noted.tables if sound else {}
        self.source: str = noted.source if sound else ""

    def say_unchanged(self, cells: Sequence[CellFiles], everything: bool) -> bool:
        same = all(self.cells.get(cell.id) == cell.digest for cell in cells)
        return bool(self.cells) and same and not (everything and len(self.cells) != len(cells))

    def keep(self, cells: Sequence[CellFiles], status: Status, everything: bool, source: str) -> None:
        """Of some cells alone nothing is known of the others' tables: then `source` is none."""
        noted = ({} if everything else self.cells) | {cell.id: cell.digest for cell in cells}
        value: dict[str, Any] = {"format": FORMAT, "store": stamp(self.uri), "experiment": status.experiment_id}
        value |= {"cells": noted, "broken": status.broken}
        if everything:
            value |= {"tables": {cell.id: cell.tables for cell in cells}, "source": source}
        atomic.write_text(self.file, json.dumps(value))


class _View:
    """An open store and petvr's runs in it. Listing them takes as long as writing them, so that the list of a local
    store is kept from one lock to the next where nobody wrote between: what this sync itself writes is of other cells.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri, self.experiment = uri, experiment
        self.store: Store | None = None
        self.runs: dict[str, Any] = {}  # MLflow's id -> its run
        self.left: list[int] | None = None  # the store's stamp when the lock was given back

    @contextlib.contextmanager
    def opened(self, cell: str = "") -> Iterator[Store]:
        """The store, locked, with `runs` as they are now; `cell`: with those of one cell alone."""
        with locked(self.uri):
            self.store = store = self.store or open_store(self.uri, self.experiment)
            if self.left is None or self.left != stamp(self.uri):
                condition = f"tags.`{CELL_TAG}` = '{cell}'" if cell else ""
                self.runs = {run.info.run_id: run for run in search(store, condition)}
            yield store
            self.left = stamp(self.uri)


def _sync_cells(store: Store, runs: dict[str, Any], status: Status, results: Path, cells: Sequence[CellFiles]) -> None:
    """All seeds of some cells, and above each cell's the run with its means; inside the lock."""
    old: dict[str, dict[str, list[Any]]] = {cell.id: {} for cell in cells}  # cell -> run ("" for the cell) -> MLflow's
    for run in runs.values():
        if run.data.tags[CELL_TAG] in old:
            old[run.data.tags[CELL_TAG]].setdefault(run.data.tags.get(RUN_TAG, ""), []).append(run)
    common = {RESULTS_TAG: str(results.resolve()), "mlflow.source.name": "petvr", "mlflow.user": "petvr"}
    keep: set[str] = set()
    parents: dict[str, str] = {}
    new_cells: list[tuple[str, RunRecord]] = []
    readable: dict[str, list[tuple[str, Path, Result]]] = {}
    for cell in cells:
        readable[cell.id] = list(_read_cell(cell, status))
        if not readable[cell.id]:
            continue
        digest = _hash(*(digest for digest, _, _ in readable[cell.id]))
        same = _with_digest(old[cell.id].get("", []), digest)
        if same:
            parents[cell.id] = same.info.run_id
        else:
            record = record_of_cell([result for _, _, result in readable[cell.id]], cell.tables)
            record.tags |= common | {CELL_TAG: cell.id, DIGEST_TAG: digest}
            new_cells.append((cell.id, record))
    ids = write_runs(store, [record for _, record in new_cells])
    parents |= dict(zip((cell for cell, _ in new_cells), ids, strict=True))
    new_runs: list[RunRecord] = []
    for cell in cells:
        for digest, file, result in readable[cell.id]:
            same = _with_digest(old[cell.id].get(result.id, []), digest)
            if same:
                keep.add(same.info.run_id)
                status.unchanged += 1
                if same.data.tags.get(PARENT_TAG) != parents[cell.id]:
                    store.client.set_tag(same.info.run_id, PARENT_TAG, parents[cell.id])
                continue
            record = record_of_run(result, file.parent, cell.tables)
            record.metrics += [one for run in old[cell.id].get(result.id, []) for one in system_metrics(store, run)]
            tags = {RUN_TAG: result.id, CELL_TAG: cell.id, PARENT_TAG: parents[cell.id], DIGEST_TAG: digest}
            record.tags |= common | tags
            new_runs.append(record)
    write_runs(store, new_runs)
    status.logged += len(new_runs)
    # only now is there a complete new run for every old one
    for cell in cells:
        if readable[cell.id]:
            logged = {result.id for _, _, result in readable[cell.id]}
            for run in (run for same in old[cell.id].values() for run in same):
                is_left = LIVE_TAG in run.data.tags and run.data.tags[RUN_TAG] not in logged  # `_prune` looks after it
                if not is_left and run.info.run_id not in keep | set(parents.values()):
                    _remove(store, runs, status, run)


def _read_cell(cell: CellFiles, status: Status) -> Iterator[tuple[str, Path, Result]]:
    for file, digest in cell.files.items():
        try:
            result = Result.read(file)
            if (file.parent / "loss.npy").exists():
                result.check_file(file.parent, "loss.npy")
            if result.id != f"{cell.id}/{file.parent.name}":
                raise PetvrError(f"{file}: holds the result of {result.id}")
            yield digest, file, result
        except (PetvrError, OSError, UnicodeDecodeError) as error:
            status.broken.append(str(error))


def _with_digest(runs: Iterable[Any], digest: str) -> Any:
    return next((run for run in runs if run.data.tags.get(DIGEST_TAG) == digest), None)


def _prune(store: Store, runs: dict[str, Any], status: Status, results: Path, cells: Mapping[str, CellFiles]) -> None:
    """Cut-off runs are marked, and runs of this folder without a file are removed, but those that are not finished."""
    for run in list(runs.values()):
        tags = run.data.tags
        if trains(run):
            continue
        if run.info.status == "RUNNING":
            store.client.set_terminated(run.info.run_id, status="KILLED")
        if LIVE_TAG in tags and Layout(results).state(tags[RUN_TAG]).exists():
            continue  # it failed, or goes on from its checkpoint
        cell = cells.get(tags[CELL_TAG])
        seeds = {f"{cell.id}/{file.parent.name}" for file in cell.files} if cell else set()
        gone = tags[RUN_TAG] not in seeds if RUN_TAG in tags else cell is None
        if gone and tags.get(RESULTS_TAG) == str(results.resolve()):
            _remove(store, runs, status, run)


def _remove(store: Store, runs: dict[str, Any], status: Status, run: Any) -> None:
    if run.info.status == "RUNNING":
        store.client.set_terminated(run.info.run_id, status="KILLED")
    store.client.delete_run(run.info.run_id)
    del runs[run.info.run_id]
    status.removed += 1
