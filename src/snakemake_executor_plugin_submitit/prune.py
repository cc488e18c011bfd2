"""Remove what jobs that succeeded left behind: their files, those of their arrays, and all but one line each of the
ledger. What failed, waits or runs keeps everything.

    python -m snakemake_executor_plugin_submitit.prune [.snakemake/submitit]
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from snakemake_executor_plugin_submitit.ledger import AlreadyRunning, HeadLock, Ledger, Submission


def is_finished(submission: Submission) -> bool:
    """It succeeded and Snakemake has taken note of that: no head will ever look for its files."""
    return submission.outcome == "success" and submission.acknowledged


def prune_jobs(base: Path) -> tuple[int, int]:
    """How many jobs' files were removed and how many files those were. Raises `AlreadyRunning` while a head works."""
    lock = HeadLock(base / "head.lock")
    lock.acquire()
    try:
        ledger = Ledger(base / "ledger.jsonl")
        before = _count_files(base)
        finished = [one for one in ledger.latest.values() if is_finished(one)]
        removed = sum(remove_job_files(base, one) for one in finished)
        kept = [one for one in ledger.submissions.values() if not is_finished(ledger.latest[one.work])]
        needed = {one.batch for one in kept}
        for folder in _folders(base / "batches"):
            if folder.name not in needed:
                shutil.rmtree(folder)
        _rewrite(ledger, [*finished, *kept])
        return removed, before - _count_files(base)
    finally:
        lock.release()


def remove_job_files(base: Path, submission: Submission) -> bool:
    """All submissions of this piece of work, and the folder of its rule once that is empty."""
    work = base / "jobs" / submission.work
    if not work.exists():
        return False
    shutil.rmtree(work)
    with contextlib.suppress(OSError):
        work.parent.rmdir()
    return True


def _rewrite(ledger: Ledger, submissions: Iterable[Submission]) -> None:
    """The ledger anew, in the order of submission: a line holds all that is known of one."""
    temporary = ledger.path.with_name(f".{ledger.path.name}.new")
    with open(temporary, "w", encoding="utf-8") as stream:
        for one in sorted(submissions, key=lambda one: (one.prepared, one.index)):
            line = {"time": one.prepared, "event": "prepared", **asdict(one)}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, ledger.path)


def _folders(path: Path) -> list[Path]:
    return [one for one in path.iterdir() if one.is_dir()] if path.exists() else []


def _count_files(base: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(base))


def main(base: Path) -> str:
    """What was done, in a line; raises SystemExit where it cannot be."""
    if not (base / "ledger.jsonl").exists():
        raise SystemExit(f"{base / 'ledger.jsonl'}: no job was submitted from this folder")
    try:
        jobs, files = prune_jobs(base)
    except AlreadyRunning as other:
        raise SystemExit(f"{base} is in use by a running snakemake ({other}); prune once it has ended") from None
    return f"removed {files} files of {jobs} job{'s' * (jobs != 1)}; what failed keeps its log"


if __name__ == "__main__":
    print(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".snakemake/submitit")))
