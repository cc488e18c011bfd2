"""Between Snakemake and the cluster: takes jobs, has them submitted in arrays, says what became of each.

Knows nothing of Snakemake's objects, and can be driven by a test. All waiting is asynchronous; what must survive the
process is in the ledger before it happens.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from snakemake_executor_plugin_submitit.failure_words import DISK, explain_failure
from snakemake_executor_plugin_submitit.job_state import (
    ACTIVE,
    AWAY,
    MAX_RELEASES,
    JobOutcome,
    Observation,
    QueueEntry,
    Timeouts,
    decide,
)
from snakemake_executor_plugin_submitit.json_files import (
    ROOM_POLL_S,
    has_room,
    read_json,
    tail,
    wait_for_room,
    write_json,
)
from snakemake_executor_plugin_submitit.ledger import Ledger, Submission
from snakemake_executor_plugin_submitit.prune import is_finished, remove_job_files
from snakemake_executor_plugin_submitit.recovery import recover_submissions
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.wait_report import WaitReport

MAX_ROOM_WAITS = 3


@dataclass(eq=False)
class TrackedJob:
    """One job of Snakemake, through all of its submissions."""

    info: Mapping[str, Any]  # of job_request.describe_job
    request: Mapping[str, Any]  # of job_request.ResourceRequest
    command: Callable[[Path], str]  # the shell command, given the submission's folder
    attempt: int
    logs: list[str] = field(default_factory=list)  # of the rule, beside this package's own
    submission: Submission | None = None
    folder: str = ""
    resubmissions: int = 0  # through no fault of its own
    queue_entry: QueueEntry | None = None
    since: float | None = None  # when the queue's state (or its silence on this job) was first observed
    queue_answered: bool = False
    releases: int = 0  # after failed launches
    lacked_room: bool = False  # failed because a disk is full
    room_waits: int = 0
    outcome: tuple[JobOutcome, str] | None = None

    @property
    def id(self) -> str | None:
        return self.submission.id if self.submission else None

    @property
    def submitted(self) -> Submission:
        if self.submission is None:
            raise RuntimeError(f"{self.folder}: not submitted yet")
        return self.submission

    def entry(self) -> dict[str, Any]:
        """What the ledger notes before submission."""
        names = ("work", "name", "digest", "wildcards", "outputs")
        own = {"folder": self.folder, "attempt": self.attempt, "needs": dict(self.request)}
        return {**own, **{name: self.info[name] for name in names}}


class Backend(Protocol):
    """What runs the jobs: slurm_backend.SlurmBackend, or local_backend.LocalBackend for this machine."""

    ledger: Ledger

    def enqueue(self, job: TrackedJob) -> None: ...
    def reattach(self, job: TrackedJob, submission: Submission) -> None: ...
    def is_busy(self) -> bool: ...
    async def submit_due(self) -> list[tuple[TrackedJob, str]]: ...
    async def poll(self, jobs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], QueueEntry] | None: ...
    def slurm_log(self, submission: Submission) -> str: ...
    async def release(self, submission: Submission) -> None: ...
    async def cancel(self, submissions: Sequence[Submission]) -> None: ...
    def cancel_all(self, jobs: list[TrackedJob], patience: float) -> None: ...
    def clean_up(self, submission: Submission) -> None: ...


@dataclass
class JobManager:
    base: Path
    settings: ExecutorSettings
    timeouts: Timeouts
    cwd: str
    backend: Backend
    log: Callable[[str], object]
    open_jobs: dict[str, TrackedJob] = field(default_factory=dict)  # by folder; those without an outcome
    held_back: list[TrackedJob] = field(default_factory=list)  # others make some of the same files
    to_cancel: list[Submission] = field(default_factory=list)
    room: dict[Path, tuple[float, bool]] = field(default_factory=dict)  # by folder: when looked, whether there is
    leaving: list[Submission] = field(default_factory=list)  # taken back, and perhaps still running
    closing: bool = False
    last_poll: float = 0.0
    interval: float = 3.0

    def __post_init__(self) -> None:
        self.jobs = self.base / "jobs"
        self.ledger = self.backend.ledger
        self.report = WaitReport(self.log, self.timeouts)
        if self.ledger.damaged:
            aside = self.ledger.set_aside()
            self.log(f"{self.ledger.path}: {len(self.ledger.damaged)} damaged lines are set aside in {aside.name}.")
        if self.ledger.is_new or self.ledger.damaged:
            lost = recover_submissions(self.base, self.ledger)
            if lost:
                self.log(f"{self.ledger.path}: {len(lost)} jobs it does not know are known by their own files.")
        self.makers: dict[str, TrackedJob | Submission] = {}  # by output: what is to make it and has not ended
        for one in self.ledger.latest.values():
            if one.is_open and one.outcome is None:
                self.makers.update(dict.fromkeys(one.outputs, one))

    # ---- in ----

    def submit(self, job: TrackedJob) -> bool:
        """Attach to an earlier head's submission of the same work, else make a new one; True where attached."""
        known = self.ledger.latest.get(job.info["work"])
        if known is not None and known.is_open:
            done = known.outcome == "success" or self._result(known.folder).get("outcome") == "success"
            outputs_exist = all(Path(file).exists() for file in job.info["outputs"])
            if known.digest == job.info["digest"] and (outputs_exist or not done):
                job.submission, job.folder = known, known.folder
                self.open_jobs[job.folder] = job
                self.makers.update(dict.fromkeys(job.info["outputs"], job))
                self.backend.reattach(job, known)
                self.last_poll = 0.0
                return True
            if not done:
                self._take_back(known, "changed since")
        if (maker := self._other_maker(job)) is None:
            self._new_submission(job)
            return False
        self.held_back.append(job)
        if isinstance(maker, TrackedJob):
            shared = ", ".join(file for file in job.info["outputs"] if self.makers.get(file) is maker)
            self.log(f"{job.info['work']} waits for {maker.info['work']}, which is to make {shared[:200]} too.")
        return False

    def _other_maker(self, job: TrackedJob) -> TrackedJob | Submission | None:
        """What is still to make one of its files: another job of this head, or what an earlier one left and this one
        takes back.
        """
        for file in job.info["outputs"]:
            maker = self.makers.get(file)
            if isinstance(maker, Submission):
                if maker.outcome is None and not self._result(maker.folder):
                    self._take_back(maker, f"{job.info['work']} is to make {file} now")
                if maker in self.leaving:
                    return maker
            elif maker is not None and maker is not job:
                return maker
        return None

    def _new_submission(self, job: TrackedJob) -> None:
        wait_for_room(lambda: self._write_job(job), self.log, lambda: self.closing, self.jobs)
        job.submission = job.queue_entry = job.since = None
        job.queue_answered = job.lacked_room = False
        self.open_jobs[job.folder] = job
        self.makers.update(dict.fromkeys(job.info["outputs"], job))
        self.backend.enqueue(job)

    def _write_job(self, job: TrackedJob) -> None:
        work = self.jobs / job.info["work"]
        work.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.name) for path in work.iterdir() if path.name.isdigit()), default=0)
        job.folder = f"{job.info['work']}/{number}"
        folder = self.jobs / job.folder
        folder.mkdir()
        spec = {
            **{name: job.info[name] for name in ("name", "digest", "wildcards", "outputs")},
            "command": f"{job.command(folder)}\n",
            "attempt": job.attempt,
            "cwd": self.cwd,
            "signal": self.settings.signal.removeprefix("SIG"),
            "requeue_codes": self.settings.requeue_codes,
            "max_requeues": self.settings.max_requeues,
            "gpu": job.request["gpu"],
        }
        write_json(folder / "spec.json", spec, sync=False)
        if number > 1:
            write_json(work / "latest.json", {"folder": str(number)})  # any older start of this work now steps back

    def _take_back(self, known: Submission, why: str) -> None:
        """What an earlier head submitted and this one has no use for."""
        self.log(f"{known.work}: submitted earlier as {known.id or known.batch}, but {why}; taking it back.")
        self._note_cancel(known.folder)
        self.ledger.ended(known, "cancelled", why)
        if known.id:
            self.to_cancel.append(known)
            self.leaving.append(known)

    # ---- out ----

    async def step(self) -> None:
        """One round: submit, poll, decide. Jobs that ended have it in `outcome` and are open no longer."""
        if self.closing:
            return
        await self._cancel_due()
        for job, error in await self.backend.submit_due():
            self._end(job, JobOutcome.FAILED, error)
        results = {folder: self._result(folder) for folder in list(self.open_jobs)}
        # Snakemake's own thread may submit further jobs meanwhile: they wait for the next round
        round_ = [(folder, self.open_jobs[folder]) for folder in results if folder in self.open_jobs]
        await self._poll([job for folder, job in round_ if not results[folder]])
        waiting: list[tuple[TrackedJob, str]] = []
        for folder, job in round_:
            outcome, why = decide(self._observe(job, results[folder]), self.timeouts)
            if outcome is JobOutcome.WAIT:
                waiting.append((job, why))
            elif self.closing:
                continue
            elif outcome is JobOutcome.FAILED and self._lacked_room(job, results[folder], why):
                if self._has_room(job):
                    self._resubmit(job, f"{why}, while a disk was full")
            elif outcome is JobOutcome.RELEASE:
                job.releases, job.since = job.releases + 1, time.monotonic()
                self.log(f"{job.info['work']} ({job.id}): {why}; releasing it ({job.releases} of {MAX_RELEASES}).")
                await self.backend.release(job.submitted)
            elif outcome is JobOutcome.RESUBMIT and job.resubmissions < self.settings.max_requeues:
                self._resubmit(job, why)
            else:
                self._end(job, JobOutcome.DONE if outcome is JobOutcome.DONE else JobOutcome.FAILED, why)
        self.report.tell(waiting, self.last_poll)
        await self._cancel_due()
        for job in list(self.held_back):
            if self._other_maker(job) is not None or self.closing:
                continue
            self.held_back.remove(job)
            self._new_submission(job)

    def _lacked_room(self, job: TrackedJob, result: Mapping[str, Any], why: str) -> bool:
        """Whether it failed because a disk is full, as the job itself noted or as is seen now."""
        over = result or job.queue_entry is None or job.queue_entry.state not in ACTIVE | AWAY
        if job.lacked_room or not over or job.room_waits >= MAX_ROOM_WAITS:
            return job.lacked_room
        signs = not result or DISK.search(tail(self.jobs / job.folder / "log.txt"))
        if result.get("disk_full") or (signs and not self._has_room(job)):
            job.lacked_room = True
            job.room_waits += 1
            self.log(f"{job.info['work']}: {why}. A disk is full: it is submitted again once there is room.")
        return job.lacked_room

    def _has_room(self, job: TrackedJob) -> bool:
        folders = {self.base, *(Path(file).parent for file in job.info["outputs"])}
        now = time.monotonic()
        for folder in folders:
            if now > self.room.get(folder, (0.0, True))[0] + ROOM_POLL_S:
                self.room[folder] = (now, has_room(folder))
        return all(self.room[folder][1] for folder in folders)

    async def _cancel_due(self) -> None:
        cancelled, self.to_cancel = self.to_cancel, []
        if cancelled:
            await self.backend.cancel(cancelled)

    def _resubmit(self, job: TrackedJob, why: str) -> None:
        job.resubmissions += 1
        self.log(f"{job.info['work']}: {why}; submitting it once more.")
        self.ledger.ended(job.submitted, "resubmitted", why)
        del self.open_jobs[job.folder]
        self._new_submission(job)

    def _observe(self, job: TrackedJob, result: dict[str, Any]) -> Observation:
        left_checkpoint = False
        if not result and job.queue_answered and (job.queue_entry is None or job.queue_entry.state not in ACTIVE):
            folder = self.jobs / job.folder
            stopped, owner = read_json(folder / "stopped.json"), read_json(folder / "owner.json")
            left_checkpoint = bool(stopped and owner and stopped["left"] and stopped.get("token") == owner.get("token"))
        return Observation(
            self.last_poll,
            result or None,
            left_checkpoint,
            job.queue_entry,
            job.queue_answered,
            job.since,
            job.releases,
        )

    async def _poll(self, jobs: list[TrackedJob]) -> None:
        """Ask the queue, once for all, when it is time to; more often while something looks wrong."""
        asked = {(job.id, job.submitted.batch): job for job in jobs if job.id}
        now = time.monotonic()
        if not (asked or self.leaving) or now < self.last_poll + self.interval:
            return
        leaving = {(str(one.id), one.batch): one for one in self.leaving}
        entries = await self.backend.poll([*asked, *leaving])
        now = self.last_poll = max(now, time.monotonic())
        if entries is None:  # no answer: nothing is known, and no timeout runs
            for job in asked.values():
                job.since = now if job.since is not None else None
            self.interval = min(30.0, self.interval * 1.5)
            return
        for key, one in leaving.items():
            if key not in entries or entries[key].state not in ACTIVE | AWAY:
                self.leaving.remove(one)
        odd = bool(self.leaving)
        for key, job in asked.items():
            entry = entries.get(key)
            known = job.queue_entry
            if not job.queue_answered or (entry and entry.condition) != (known and known.condition):
                job.since = now
            job.queue_answered, job.queue_entry = True, entry
            odd |= entry is None or entry.state not in ("PENDING", "RUNNING")
        self.interval = 3.0 if odd else min(15.0 if len(asked) < 200 else 30.0, self.interval * 1.5)

    def _end(self, job: TrackedJob, outcome: JobOutcome, why: str) -> None:
        del self.open_jobs[job.folder]
        failed, submission = outcome is JobOutcome.FAILED, job.submission
        if submission is not None and submission.outcome in (None, "resubmitted"):
            self.ledger.ended(submission, "failed" if failed else "success", why)
        queued = job.queue_entry is not None and job.queue_entry.state in ACTIVE | AWAY
        if failed and submission and queued and not self._result(job.folder):
            self._note_cancel(job.folder)
            self.to_cancel.append(submission)
        for file in job.info["outputs"]:
            if self.makers.get(file) is job:
                del self.makers[file]
        job.outcome = (outcome, self.message(job, why) if failed else "")

    def message(self, job: TrackedJob, why: str) -> str:
        log = self.jobs / job.folder / "log.txt"
        last_lines, result = tail(log), self._result(job.folder)
        slurm_log = self.backend.slurm_log(job.submission) if job.submission is not None and job.id else ""
        overhead = self.settings.memory_overhead
        remedy = explain_failure(job.queue_entry, result, job.request, overhead, slurm_log, last_lines)
        prefix = f"Slurm job {job.id}: " if job.id and self.settings.cluster == "slurm" else ""
        text = f"{prefix}{why}\n{remedy}\n" if remedy else f"{prefix}{why}\n"
        text += f"Last lines of {log}:\n{last_lines}\n" if last_lines else f"(no log: {log})\n"
        if not result:
            signs = ("slurmstepd", "srun:", "Error", "submitit-setup")
            lines = [line for line in slurm_log.splitlines() if any(sign in line for sign in signs)]
            text += "".join(f"{line}\n" for line in lines[-6:])
        return text

    def acknowledge(self, job: TrackedJob) -> None:
        """Snakemake has taken note of the job's outcome: the next head need not attach to it."""
        if job.submission is not None:
            self.ledger.acknowledged(job.submission)
            if is_finished(job.submission):
                self.backend.clean_up(job.submission)
                if self.settings.prune:
                    remove_job_files(self.base, job.submission)

    def _result(self, folder: str) -> dict[str, Any]:
        return read_json(self.jobs / folder / "result.json")

    def _note_cancel(self, folder: str) -> None:
        """Tell a job that it is being cancelled, not preempted: it then writes no checkpoint."""
        with contextlib.suppress(OSError):  # a full disk: Slurm's signal has to do
            (self.jobs / folder).mkdir(parents=True, exist_ok=True)
            (self.jobs / folder / "cancel").touch()

    # ---- away ----

    def close(self) -> None:
        """Nothing new begins, and nothing waits for room on a disk."""
        self.closing = self.ledger.closing = True

    def cancel_all(self, patience: float = 15.0) -> None:
        """Take back everything that has not ended, and wait until it is gone."""
        self.close()
        jobs = [job for job in list(self.open_jobs.values()) if self._result(job.folder).get("outcome") is None]
        for job in jobs:
            self._note_cancel(job.folder)
        self.backend.cancel_all(jobs, patience)
        for job in jobs:
            if job.submission is not None and job.submission.outcome is None:
                with contextlib.suppress(OSError):
                    self.ledger.ended(job.submission, "cancelled", "interrupted")

    def pace(self) -> float:
        """Seconds until the next round."""
        if self.backend.is_busy():
            return 0.2
        return max(0.2, self.settings.poll_seconds, len(self.open_jobs) / 500)
