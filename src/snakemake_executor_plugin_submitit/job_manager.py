"""Between Snakemake and the cluster: takes jobs, has them submitted in arrays, says what became of each.

Knows nothing of Snakemake's objects, and can be driven by a test. All waiting is asynchronous; what must survive the
process is in the ledger before it happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from snakemake_executor_plugin_submitit.job_state import ACTIVE, JobOutcome, Observation, QueueEntry, Timeouts, decide
from snakemake_executor_plugin_submitit.json_files import read_json, tail, write_json
from snakemake_executor_plugin_submitit.ledger import Ledger, Submission
from snakemake_executor_plugin_submitit.settings import ExecutorSettings


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
    mentioned: str = ""  # the last state that was logged
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
    def slurm_messages(self, submission: Submission) -> list[str]: ...
    def cancel(self, submission: Submission) -> None: ...
    def cancel_all(self, jobs: list[TrackedJob], patience: float) -> None: ...


@dataclass
class JobManager:
    base: Path
    settings: ExecutorSettings
    timeouts: Timeouts
    cwd: str
    backend: Backend
    log: Callable[[str], object]
    open_jobs: dict[str, TrackedJob] = field(default_factory=dict)  # by folder; those without an outcome
    closing: bool = False
    last_poll: float = 0.0
    interval: float = 3.0

    def __post_init__(self) -> None:
        self.jobs = self.base / "jobs"
        self.ledger = self.backend.ledger

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
                self.backend.reattach(job, known)
                self.last_poll = 0.0
                return True
            if not done:
                self._cancel_changed(known)
        self._new_submission(job)
        return False

    def _new_submission(self, job: TrackedJob) -> None:
        work = self.jobs / job.info["work"]
        work.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.name) for path in work.iterdir() if path.name.isdigit()), default=0)
        job.folder = f"{job.info['work']}/{number}"
        folder = self.jobs / job.folder
        folder.mkdir()
        (folder / "command.sh").write_text(f"#!/bin/bash\n{job.command(folder)}\n", encoding="utf-8")
        spec = {
            "name": job.info["name"],
            "wildcards": job.info["wildcards"],
            "outputs": job.info["outputs"],
            "attempt": job.attempt,
            "cwd": self.cwd,
            "signal": self.settings.signal.removeprefix("SIG"),
            "requeue_codes": self.settings.requeue_codes,
            "max_requeues": self.settings.max_requeues,
        }
        write_json(folder / "spec.json", spec)
        write_json(work / "latest.json", {"folder": str(number)})  # any older start of this work now steps back
        job.submission = job.queue_entry = job.since = None
        job.queue_answered = False
        self.open_jobs[job.folder] = job
        self.backend.enqueue(job)

    def _cancel_changed(self, known: Submission) -> None:
        """Take back what an earlier head submitted: parameters or inputs have changed since."""
        self.log(f"{known.work}: submitted earlier as {known.id or known.batch}, but changed since; taking it back.")
        self._note_cancel(known.folder)
        self.ledger.ended(known, "cancelled", "changed before it ran to its end")
        self.backend.cancel(known)

    # ---- out ----

    async def step(self) -> None:
        """One round: submit, poll, decide. Jobs that ended have it in `outcome` and are open no longer."""
        if self.closing:
            return
        for job, error in await self.backend.submit_due():
            self._end(job, JobOutcome.FAILED, error)
        results = {folder: self._result(folder) for folder in list(self.open_jobs)}
        # Snakemake's own thread may submit further jobs meanwhile: they wait for the next round
        round_ = [(folder, self.open_jobs[folder]) for folder in results if folder in self.open_jobs]
        await self._poll([job for folder, job in round_ if not results[folder]])
        for folder, job in round_:
            outcome, why = decide(self._observe(job, results[folder]), self.timeouts)
            if outcome is JobOutcome.WAIT:
                self._mention(job, why)
            elif self.closing:
                continue
            elif outcome is JobOutcome.RESUBMIT and job.resubmissions < self.settings.max_requeues:
                job.resubmissions += 1
                self.log(f"{job.info['work']}: {why}; submitting it once more.")
                self.ledger.ended(job.submitted, "resubmitted", why)
                del self.open_jobs[folder]
                self._new_submission(job)
            else:
                self._end(job, JobOutcome.DONE if outcome is JobOutcome.DONE else JobOutcome.FAILED, why)

    def _observe(self, job: TrackedJob, result: dict[str, Any]) -> Observation:
        left_checkpoint = False
        if not result and job.queue_answered and (job.queue_entry is None or job.queue_entry.state not in ACTIVE):
            folder = self.jobs / job.folder
            stopped, owner = read_json(folder / "stopped.json"), read_json(folder / "owner.json")
            left_checkpoint = bool(stopped and owner and stopped["left"] and stopped.get("token") == owner.get("token"))
        return Observation(
            self.last_poll, result or None, left_checkpoint, job.queue_entry, job.queue_answered, job.since
        )

    async def _poll(self, jobs: list[TrackedJob]) -> None:
        """Ask the queue, once for all, when it is time to; more often while something looks wrong."""
        asked = {(job.id, job.submitted.batch): job for job in jobs if job.id}
        now = time.monotonic()
        if not asked or now < self.last_poll + self.interval:
            return
        entries = await self.backend.poll(list(asked))
        now = self.last_poll = max(now, time.monotonic())
        if entries is None:  # no answer: nothing is known, and no timeout runs
            for job in asked.values():
                job.since = now if job.since is not None else None
            self.interval = min(30.0, self.interval * 1.5)
            return
        odd = False
        for key, job in asked.items():
            entry = entries.get(key)
            if not job.queue_answered or (entry and entry.state) != (job.queue_entry and job.queue_entry.state):
                job.since = now
            job.queue_answered, job.queue_entry = True, entry
            odd |= entry is None or entry.state not in ("PENDING", "RUNNING")
        self.interval = 3.0 if odd else min(15.0 if len(asked) < 200 else 30.0, self.interval * 1.5)

    def _mention(self, job: TrackedJob, why: str) -> None:
        """Log once what a person would want to know: held, suspended, preempted, lost from sight."""
        state = job.queue_entry.state if job.queue_entry else "?"
        ordinary = ("PENDING", "RUNNING", "COMPLETING", "COMPLETED", "?")
        if state != job.mentioned and job.queue_answered and state not in ordinary:
            self.log(f"{job.info['work']} ({job.id}): {why}; waiting.")
        job.mentioned = state

    def _end(self, job: TrackedJob, outcome: JobOutcome, why: str) -> None:
        del self.open_jobs[job.folder]
        failed, submission = outcome is JobOutcome.FAILED, job.submission
        if submission is not None and submission.outcome in (None, "resubmitted"):
            self.ledger.ended(submission, "failed" if failed else "success", why)
        if failed and submission and job.queue_entry and job.queue_entry.state in ("REQUEUE_HOLD", "SUSPENDED"):
            self._note_cancel(job.folder)
            self.backend.cancel(submission)
        job.outcome = (outcome, self.message(job, why) if failed else "")

    def message(self, job: TrackedJob, why: str) -> str:
        log = self.jobs / job.folder / "log.txt"
        last_lines = tail(log)
        prefix = f"Slurm job {job.id}: " if job.id and self.settings.cluster == "slurm" else ""
        text = f"{prefix}{why}\n" + (f"Last lines of {log}:\n{last_lines}\n" if last_lines else f"(no log: {log})\n")
        if job.submission is not None and job.id and not self._result(job.folder):
            text += "".join(f"{line}\n" for line in self.backend.slurm_messages(job.submission))
        return text

    def acknowledge(self, job: TrackedJob) -> None:
        """Snakemake has taken note of the job's outcome: the next head need not attach to it."""
        if job.submission is not None:
            self.ledger.acknowledged(job.submission)

    def _result(self, folder: str) -> dict[str, Any]:
        return read_json(self.jobs / folder / "result.json")

    def _note_cancel(self, folder: str) -> None:
        """Tell a job that it is being cancelled, not preempted: it then writes no checkpoint."""
        (self.jobs / folder).mkdir(parents=True, exist_ok=True)
        (self.jobs / folder / "cancel").touch()

    # ---- away ----

    def cancel_all(self, patience: float = 30.0) -> None:
        """Take back everything that has not ended, and wait until it is gone."""
        self.closing = True
        jobs = [job for job in list(self.open_jobs.values()) if self._result(job.folder).get("outcome") is None]
        for job in jobs:
            self._note_cancel(job.folder)
        self.backend.cancel_all(jobs, patience)
        for job in jobs:
            if job.submission is not None and job.submission.outcome is None:
                self.ledger.ended(job.submission, "cancelled", "interrupted")

    def pace(self) -> float:
        """Seconds until the next round."""
        if self.backend.is_busy():
            return 0.2
        return max(0.2, self.settings.poll_seconds, len(self.open_jobs) / 500)
