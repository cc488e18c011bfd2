"""Which work is which Slurm job: one line per event in an append-only file, written before and after submission.

The names of events and of their keys are a format: a head reads what an older version of this package wrote.

A head that was killed left the file as it stood; the next one reads it, attaches to what is queued or running and
submits only what was not. One head writes; a lock that the system drops with the process keeps a second one out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit.json_files import process_identity


@dataclass
class Submission:
    """One piece of work given to the cluster once. `folder` is its name and where its files lie."""

    folder: str  # <rule>/<wildcards>/<number>, below the folder of jobs
    work: str  # <rule>/<wildcards>
    name: str  # rule or group
    digest: str
    batch: str  # submitted together, as one array
    index: int
    size: int  # of the batch
    attempt: int = 1
    wildcards: dict[str, str] = field(default_factory=dict)
    prepared: float = 0.0  # seconds since the epoch
    id: str | None = None  # Slurm's name of the job, e.g. 123_4; none while sbatch has not answered
    ended: float | None = None
    outcome: str | None = None  # success, failed, cancelled, resubmitted
    reason: str = ""
    acknowledged: bool = False  # Snakemake has taken note of the outcome

    @property
    def is_open(self) -> bool:
        """The next head must look after it: it may be queued, running, or done without Snakemake knowing."""
        return not self.acknowledged and self.outcome in (None, "success")


class Ledger:
    """The events of one folder, replayed. `latest` maps work to its newest submission."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.submissions: dict[str, Submission] = {}
        self.latest: dict[str, Submission] = {}
        self._batches: dict[str, list[Submission]] = {}
        self._lock = threading.Lock()  # the thread that looks after jobs and the one that schedules both write
        self.damaged = 0  # lines that are JSON and yet no event: somebody edited the file
        for event in _events(self.path):
            try:
                self._apply(event)
            except (KeyError, TypeError):
                self.damaged += 1

    def add(self, *events: dict[str, Any]) -> None:
        """Append events and force them to disk before anything else happens."""
        with self._lock:
            self._add(tuple({"time": round(time.time(), 3), **event} for event in events))

    def _add(self, events: tuple[dict[str, Any], ...]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events).encode()
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":  # a line torn by a kill or a full disk
                data = b"\n" + data
            os.write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        for event in events:
            self._apply(event)

    def prepared(self, batch: str, submissions: list[dict[str, Any]]) -> list[Submission]:
        """Note a batch that is about to be submitted."""
        fields = [{**one, "index": i, "size": len(submissions)} for i, one in enumerate(submissions)]
        self.add(*({"event": "prepared", "batch": batch, **one} for one in fields))
        return self._batches[batch]

    def submitted(self, batch: str, job: str) -> None:
        self.add({"event": "submitted", "batch": batch, "job": job})

    def ended(self, submission: Submission, outcome: str, reason: str = "") -> None:
        self.add({"event": "ended", "folder": submission.folder, "outcome": outcome, "reason": reason[:500]})

    def acknowledged(self, submission: Submission) -> None:
        self.add({"event": "acknowledged", "folder": submission.folder})

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "prepared":
            one = Submission(**{name: event[name] for name in Submission.__dataclass_fields__ if name in event})
            one.prepared = event["time"]
            self.submissions[one.folder] = self.latest[one.work] = one
            self._batches.setdefault(one.batch, []).append(one)
        elif kind == "submitted":
            for one in self._batches.get(event["batch"], []):
                one.id = f"{event['job']}_{one.index}" if one.size > 1 else str(event["job"])
        elif (known := self.submissions.get(event.get("folder", ""))) is not None:
            if kind == "ended":
                known.ended, known.outcome, known.reason = event["time"], event["outcome"], event.get("reason", "")
            elif kind == "acknowledged":
                known.acknowledged = True


def _events(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        with contextlib.suppress(ValueError):  # a line torn by a kill: its event never happened
            event = json.loads(line)
            if isinstance(event, dict) and "time" in event:
                yield event


class AlreadyRunning(Exception):
    """Another head works in this folder."""


class HeadLock:
    """Held while a head lives; the system drops it when the process dies, however it dies."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._handle: int | None = None

    def acquire(self) -> None:
        """Raises `AlreadyRunning`, with host, process and start time of the other head."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(handle, 4096, 0).decode(errors="replace").strip()
            os.close(handle)
            raise AlreadyRunning(other or "an unnamed process") from None
        me = process_identity()
        text = f"process {me['pid']} on {me['host']}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)
        self._handle = handle

    def release(self) -> None:
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None
