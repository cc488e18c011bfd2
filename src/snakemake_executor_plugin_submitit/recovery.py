"""A ledger that was lost or damaged while jobs run: what their own files say, so that nothing is submitted again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit.json_files import read_json, read_spec
from snakemake_executor_plugin_submitit.ledger import Ledger, Submission


def recover_submissions(base: Path, ledger: Ledger) -> list[Submission]:
    """Note in the ledger the newest submission of each work that it does not know."""
    lost: list[Submission] = []
    for batch, answer, folders in _batches(base):
        events = [
            {"event": "prepared", "batch": batch, **_entry(base, folder), "index": index, "size": len(folders)}
            for index, folder in enumerate(folders)
            if _is_newest(base, folder) and folder not in ledger.submissions
        ]
        if not events:
            continue
        ledger.add(*events)
        if answer.get("ok"):
            ledger.submitted(batch, answer["job"])
        lost += [ledger.submissions[event["folder"]] for event in events]
    for one in lost:
        result = read_json(base / "jobs" / one.folder / "result.json")
        if result.get("outcome") or (base / "jobs" / one.folder / "cancel").exists():
            ledger.ended(one, result.get("outcome", "cancelled"), result.get("reason", ""))
    return lost


def _batches(base: Path) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Name, sbatch's answer and jobs of each batch; jobs of the local mode, which has none, one by one."""
    batched = set()
    for path in (base / "batches").glob("*/batch.json"):
        batch = read_json(path)
        folders = ["/".join(Path(folder).parts[-3:]) for folder in batch.get("folders", ())]
        batched.update(folders)
        if folders:
            yield batch["name"], read_json(path.parent / "submitted.json"), folders
    for path in (base / "jobs").glob("*/*/*/owner.json"):
        folder = path.parent.relative_to(base / "jobs").as_posix()
        if folder not in batched and not read_json(path).get("job"):
            yield f"local.{time.time_ns()}", {"ok": True, "job": folder}, [folder]


def _is_newest(base: Path, folder: str) -> bool:
    work, _, number = folder.rpartition("/")
    return read_json(base / "jobs" / work / "latest.json").get("folder", "1") == number


def _entry(base: Path, folder: str) -> dict[str, Any]:
    """What the ledger noted before submission. Without a digest nothing attaches to it: it is taken back."""
    spec = read_spec(base / "jobs" / folder)
    usual = {"name": "", "digest": "", "attempt": 1, "wildcards": {}, "outputs": []}
    return {
        "folder": folder,
        "work": folder.rpartition("/")[0],
        **{name: spec.get(name, value) for name, value in usual.items()},
    }
