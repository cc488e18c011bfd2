"""Which work is which Slurm job: one line per event in an append-only file, written before and after submission.

The names of events and of their keys are a format: a head reads what an older version of this package wrote.

A head that was killed left the file as it stood; the next one reads it, attaches to what is queued or running and
submits only what was not. One head writes; a lock that the system drops with the process keeps a second one out.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit.json_files import process_identity, wait_for_room


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
    outputs: list[str] = field(default_factory=list)
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

    def __init__(self, path: str | Path, log: Callable[[str], object] = print):
        self.path, self.log = Path(path), log
        self.closing = False  # then nothing waits for room on the disk
        self.submissions: dict[str, Submission] = {}
        self.latest: dict[str, Submission] = {}
        self.batches: dict[str, dict[str, Submission]] = {}  # by name, then by folder
        self._lock = threading.Lock()  # the thread that looks after jobs and the one that schedules both write
        self.is_new = not self.path.exists()
        self.damaged: list[str] = []  # lines that are no events: torn by a kill, or edited by somebody
        for line in _lines(self.path):
            try:
                self._apply(json.loads(line))
            except (KeyError, TypeError, ValueError, AttributeError):
                self.damaged.append(line)

    def set_aside(self) -> Path:
        """Move damaged lines to a file of their own."""
        aside = self.path.with_name(f"{self.path.stem}-damaged.jsonl")
        with open(aside, "a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in self.damaged)
        damaged = set(self.damaged)
        temporary = self.path.with_name(f".{self.path.name}.new")
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in _lines(self.path) if line not in damaged)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, self.path)
        return aside

    def add(self, *events: dict[str, Any], sync: bool = True) -> None:
        """Append events and force them to disk before anything else happens."""
        timed = tuple({"time": round(time.time(), 3), **event} for event in events)
        with self._lock:
            wait_for_room(lambda: self._add(timed, sync), self.log, lambda: self.closing)

    def _add(self, events: tuple[dict[str, Any], ...], sync: bool) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = b"".join(_line(event) for event in events)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(handle).st_size
            if not size:  # somebody has taken the file away
                data = b"".join(_line(event) for event in self._past()) + data
            if size and os.pread(handle, 1, size - 1) != b"\n":  # a line torn by a kill or a full disk
                data = b"\n" + data
            if os.write(handle, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)
        for event in events:
            self._apply(event)

    def _past(self) -> Iterator[dict[str, Any]]:
        """Events that lead to what is known."""
        for one in self.submissions.values():
            yield {**asdict(one), "time": one.prepared, "event": "prepared"}

    def prepared(self, batch: str, submissions: list[dict[str, Any]]) -> list[Submission]:
        """Note a batch that is about to be submitted."""
        fields = [{**one, "index": i, "size": len(submissions)} for i, one in enumerate(submissions)]
        self.add(*({"event": "prepared", "batch": batch, **one} for one in fields))
        return list(self.batches[batch].values())

    def submitted(self, batch: str, job: str) -> None:
        self.add({"event": "submitted", "batch": batch, "job": job})

    def ended(self, submission: Submission, outcome: str, reason: str = "") -> None:
        event = {"event": "ended", "folder": submission.folder, "outcome": outcome, "reason": reason[:500]}
        self.add(event, sync=outcome != "success")  # which the job's own file says too

    def acknowledged(self, submission: Submission) -> None:
        # without it the next head attaches to a job that is done: nothing is lost
        self.add({"event": "acknowledged", "folder": submission.folder}, sync=False)

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "prepared":
            one = Submission(**{name: event[name] for name in Submission.__dataclass_fields__ if name in event})
            one.prepared = float(event["time"])
            if not all(isinstance(getattr(one, name), str) for name in ("folder", "work", "name", "digest", "batch")):
                raise TypeError("names are no text")
            one.index, one.size = int(one.index), int(one.size)
            self.submissions[one.folder] = self.latest[one.work] = one
            self.batches.setdefault(one.batch, {})[one.folder] = one
        elif kind == "submitted":
            for one in self.batches.get(event["batch"], {}).values():
                one.id = f"{event['job']}_{one.index}" if one.size > 1 else str(event["job"])
        elif (known := self.submissions.get(event.get("folder", ""))) is not None:
            if kind == "ended":
                known.ended, known.outcome, known.reason = event["time"], event["outcome"], event.get("reason", "")
            elif kind == "acknowledged":
                known.acknowledged = True


def _line(event: dict[str, Any]) -> bytes:
    return (json.dumps(event, ensure_ascii=False) + "\n").encode()


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]
    except FileNotFoundError:
        return []


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
