"""From single jobs to arrays: collects equal ones, has them submitted, and finds out what became of a submission."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_executor_plugin_submitit.job_manager import TrackedJob
from snakemake_executor_plugin_submitit.job_state import ACTIVE, AWAY, QueueEntry, span
from snakemake_executor_plugin_submitit.json_files import (
    is_alive,
    read_json,
    read_owner,
    tail,
    wait_for_room,
    write_json,
)
from snakemake_executor_plugin_submitit.ledger import Ledger, Submission
from snakemake_executor_plugin_submitit.prune import is_finished
from snakemake_executor_plugin_submitit.refusals import Refusal, judge_refusal
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.slurm_queue import SlurmQueue, SlurmUnreachable, run_slurm_command

HELPER_SECONDS = 600  # a submission that has not answered by then is looked for in the queue
DEFAULT_ARRAY_SIZE = 1001  # Slurm's
FEDERATED = "Slurm may send a job to another cluster than the one that is asked for its state; that is not supported"


def group_into_arrays(jobs: Iterable[TrackedJob], max_size: int) -> list[list[TrackedJob]]:
    """Jobs in groups of equal requests, at most `max_size` in each, in the order they came."""
    groups: dict[tuple, list[TrackedJob]] = {}
    for job in jobs:
        groups.setdefault(tuple(sorted((k, str(v)) for k, v in job.request.items())), []).append(job)
    return [group[i : i + max_size] for group in groups.values() for i in range(0, len(group), max_size)]


@dataclass(eq=False)
class ArraySubmission:
    """Jobs that are given to sbatch together, until its answer is known."""

    name: str  # Slurm's job name; unique, so that a lost answer can be found in the queue
    jobs: list[TrackedJob]
    folder: Path
    process: subprocess.Popen | None = None  # none where an earlier head started it
    since: float = field(default_factory=time.monotonic)
    tries: int = 1
    first_try: float = field(default_factory=time.monotonic)


@dataclass
class SlurmBackend:
    base: Path
    settings: ExecutorSettings
    env: Mapping[str, str]
    log: Callable[[str], object]
    ledger: Ledger
    queue: SlurmQueue = field(default_factory=SlurmQueue)
    waiting: list[TrackedJob] = field(default_factory=list)
    unanswered: dict[str, ArraySubmission] = field(default_factory=dict)  # by name
    postponed: list[tuple[float, list[TrackedJob], int, float]] = field(default_factory=list)  # due, jobs, tries, first
    newest: float = 0.0  # when the newest and the oldest waiting job came
    oldest: float = 0.0
    unfinished: dict[str, int] = field(default_factory=dict)  # jobs of an array whose success is not yet taken note of
    max_array_size: int | None = None
    unreachable: bool = False
    orphans: set[str] | None = None  # in the queue, unknown and taken back; none once there are none
    next_look: float = 0.0
    federation: str | None = None

    def __post_init__(self) -> None:
        if self.ledger.is_new or self.ledger.damaged:
            self.orphans = set()
        self.jobs = self.base / "jobs"

    # ---- in ----

    def enqueue(self, job: TrackedJob) -> None:
        self.newest = time.monotonic()
        self.oldest = self.oldest if self.waiting else self.newest
        self.waiting.append(job)

    def reattach(self, job: TrackedJob, submission: Submission) -> None:
        """An earlier head's submission; where that head did not live to see sbatch's answer, look for it."""
        name = submission.batch
        if submission.id is None and submission.outcome is None:
            new = ArraySubmission(name, [], self.base / "batches" / name)
            self.unanswered.setdefault(name, new).jobs.append(job)

    def is_busy(self) -> bool:
        return bool(self.waiting or self.unanswered)

    # ---- out ----

    async def submit_due(self) -> list[tuple[TrackedJob, str]]:
        """Submit what is due and take in answers; returns the jobs Slurm will not have, each with its reason."""
        may_submit = bool(self.waiting) and (self.orphans is None or await self._take_back_orphans())
        now = time.monotonic()
        quiet, age = now - self.newest, now - self.oldest
        if may_submit and (quiet >= self.settings.batch_seconds or age >= 10 * self.settings.batch_seconds):
            federation, due = await self._federation(), []
            while self.waiting:  # one by one: another thread may be adding to the list
                due.append(self.waiting.pop(0))
            if federation:
                return [(job, f"this cluster is in the federation {federation}: {FEDERATED}") for job in due]
            for group in group_into_arrays(due, await self._array_size(len(due))):
                self._submit(group, 1, now)
        for entry in [entry for entry in self.postponed if entry[0] <= now]:
            self.postponed.remove(entry)
            self._submit(*entry[1:])
        refused: list[tuple[TrackedJob, str]] = []
        for array in list(self.unanswered.values()):
            refused += await self._take_answer(array)
        return refused

    async def _federation(self) -> str:
        """Name of the federation this cluster is in, asked for once; nothing where it is in none."""
        if self.federation is None:
            with contextlib.suppress(SlurmUnreachable):
                named = re.search(r"Federation: *(\S+)", await run_slurm_command("scontrol", "show", "federation"))
                self.federation = named[1] if named else ""
        return self.federation or ""

    async def _take_back_orphans(self) -> bool:
        """Jobs in the queue that were submitted from this folder, of which no file is left that says what they do: they
        must be gone before anything is submitted, or work would run twice. Whether they are.
        """
        if time.monotonic() < self.next_look:
            return False
        self.next_look = time.monotonic() + 2.0
        try:
            below = await self.queue.submitted_from(self.base / "batches")
        except SlurmUnreachable as error:
            self._log_unreachable(error)
            return False
        left = {job for job, batch in below.items() if batch not in self.ledger.batches}
        if new := left - (self.orphans or set()):
            names = ", ".join(sorted(new)[:5])
            self.log(f"{len(new)} Slurm jobs of this folder are in no file of it ({names}): they are taken back first.")
            await self.queue.cancel(new)
        self.orphans = left or None
        return not left

    async def _array_size(self, jobs: int) -> int:
        """Tasks in one array at most: the cluster's MaxArraySize, asked for once and only where it matters."""
        if self.settings.max_array_size:
            return max(1, self.settings.max_array_size)
        if self.max_array_size is None and jobs > 1:
            try:
                config = await run_slurm_command("scontrol", "show", "config")
            except SlurmUnreachable:
                return DEFAULT_ARRAY_SIZE
            size = re.search(r"MaxArraySize\s*=\s*(\d+)", config)
            self.max_array_size = max(1, int(size[1])) if size else DEFAULT_ARRAY_SIZE
        return self.max_array_size or DEFAULT_ARRAY_SIZE

    def _submit(self, jobs: list[TrackedJob], tries: int, first_try: float) -> None:
        rules = list(dict.fromkeys(job.info["name"] for job in jobs))
        name = f"{self.settings.jobname_prefix}{'+'.join(rules)[:40]}.{uuid.uuid4().hex[:10]}"
        folder = self.base / "batches" / name
        batch = {
            "name": name,
            "needs": jobs[0].request,
            "folders": [str(self.jobs / job.folder) for job in jobs],
            "throttle": self.settings.throttle,
            "signal_seconds": self.settings.signal_seconds,
            "setup": self.settings.setup,
            "memory_overhead": self.settings.memory_overhead,
        }
        wait_for_room(lambda: write_json(folder / "batch.json", batch), self.log, lambda: self.ledger.closing, folder)
        for job, submission in zip(jobs, self.ledger.prepared(name, [job.entry() for job in jobs]), strict=True):
            job.submission = submission
        array = self.unanswered[name] = ArraySubmission(name, jobs, folder, tries=tries, first_try=first_try)
        with wait_for_room(lambda: open(folder / "helper.txt", "ab"), self.log, lambda: self.ledger.closing) as output:
            array.process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.sbatch_helper", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**self.env, "SUBMITIT_PREEMPT_SIGNAL": self.settings.signal.removeprefix("SIG")},
                start_new_session=True,  # it lives to write down the answer, whatever happens to this process
            )

    async def _take_answer(self, array: ArraySubmission) -> list[tuple[TrackedJob, str]]:
        """Take in sbatch's answer, if there is one. A lost answer is looked for in the queue, by the array's name."""
        answer = read_json(array.folder / "submitted.json")
        if not answer and self._may_answer(array):
            return []
        error = "" if answer.get("ok") else answer.get("error", "the submitting process was killed")
        refusal = judge_refusal(error) if answer else Refusal.LATER
        if error and refusal is not Refusal.FOR_GOOD:
            number = next((number for number in map(self._number_by_owner, array.jobs) if number), None)
            try:
                number = number or await self.queue.find(array.name)
                if not number and len(array.jobs) == 1 and refusal is Refusal.UNCLEAR and await self.queue.is_empty():
                    refusal = Refusal.FOR_GOOD  # no others use the limit up
            except SlurmUnreachable as unreachable:
                self._log_unreachable(unreachable)
                return []
            if number:
                answer = {"ok": True, "job": number}
        del self.unanswered[array.name]
        if answer.get("ok"):
            self.ledger.submitted(array.name, answer["job"])
            self._log_reachable()
            tasks = f"array {answer['job']} of {len(array.jobs)}" if len(array.jobs) > 1 else f"job {answer['job']}"
            self.log(f"Slurm {tasks}: {array.name}")
            return []
        if refusal is Refusal.FOR_GOOD:
            return [(job, f"sbatch refused it: {error}") for job in array.jobs]
        for job in array.jobs:
            self.ledger.ended(job.submitted, "resubmitted", "never reached Slurm")
        return self._postpone(array, error, fewer=refusal is not Refusal.LATER)

    def _postpone(self, array: ArraySubmission, error: str, fewer: bool) -> list[tuple[TrackedJob, str]]:
        minutes, past = self.settings.return_minutes, time.monotonic() - array.first_try
        if past > minutes * 60:
            return [(job, f"Slurm did not take it for {minutes} minutes: {error}") for job in array.jobs]
        if array.tries in (1, 4) or array.tries % 20 == 0:
            self.log(
                f"Slurm does not take {array.name} at the moment ({error}); trying again for "
                f"{span(minutes * 60 - past)} (submitit-return-minutes)."
            )
        due = time.monotonic() + min(60.0, 2.0**array.tries)
        half = max(1, len(array.jobs) // 2) if fewer else len(array.jobs)
        for group in (array.jobs[:half], array.jobs[half:]):
            if group:
                self.postponed.append((due, group, array.tries + 1, array.first_try))
        return []

    def _may_answer(self, array: ArraySubmission) -> bool:
        """Whether the submitting process may still answer."""
        age = time.monotonic() - array.since
        if array.process is not None:
            return array.process.poll() is None and age < HELPER_SECONDS
        alive = is_alive(read_json(array.folder / "helper.json"))
        if alive is None:  # on another host: give it time
            return age < 60
        # one that never started wrote no file; it may be just about to. (The clock may have been set back since.)
        prepared = time.time() - min(job.submitted.prepared for job in array.jobs)
        return alive or (age < 5 and prepared < 5)

    def _number_by_owner(self, job: TrackedJob) -> str | None:
        """Slurm's number of a job as the job itself noted it."""
        owner = read_owner(self.jobs / job.folder)
        return (owner.get("job") or "").partition("_")[0] or None

    async def poll(self, jobs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], QueueEntry] | None:
        """The queue's entry of each job (id, batch) it knows; None where Slurm does not answer."""
        try:
            entries = await self.queue.poll(jobs)
        except SlurmUnreachable as error:
            self._log_unreachable(error)
            return None
        self._log_reachable()
        return entries

    def _log_unreachable(self, error: Exception) -> None:
        if not self.unreachable:
            self.log(f"No answer from Slurm ({error}); waiting for it.")
        self.unreachable = True

    def _log_reachable(self) -> None:
        if self.unreachable:
            self.log("Slurm answers again.")
        self.unreachable = False

    def slurm_log(self, submission: Submission) -> str:
        """The end of what Slurm and the job's start wrote: over its memory, cancelled, no such program."""
        return tail(self.base / "batches" / submission.batch / f"{submission.id}_0_log.out", 40)

    def clean_up(self, submission: Submission) -> None:
        """Remove the files of an array once no job of it is of interest any more."""
        name = submission.batch
        if name not in self.unfinished:
            self.unfinished[name] = 1 + sum(not is_finished(one) for one in self.ledger.batches[name].values())
        self.unfinished[name] -= 1
        if not self.unfinished[name]:
            shutil.rmtree(self.base / "batches" / name, ignore_errors=True)

    # ---- away ----

    async def release(self, submission: Submission) -> None:
        try:
            await run_slurm_command("scontrol", "release", str(submission.id))
        except SlurmUnreachable as error:
            self.log(f"{submission.work} cannot be released: {error}")

    async def cancel(self, submissions: Sequence[Submission]) -> None:
        batches: dict[str, list[str]] = {}
        for one in submissions:
            if one.id:
                batches.setdefault(one.batch, []).append(one.id)
        for batch, ids in batches.items():  # by name too: a number may be another job's by now
            await self.queue.cancel(ids, name=batch)

    def cancel_all(self, jobs: list[TrackedJob], patience: float) -> None:
        """scancel them, and wait until none is left in the queue. Called outside of the event loop."""
        deadline = time.monotonic() + patience
        for array in list(self.unanswered.values()):  # what sbatch is about to accept must be known to be cancelled
            while not read_json(array.folder / "submitted.json") and time.monotonic() < deadline:
                if not self._may_answer(array):
                    break
                time.sleep(0.1)
            answer = read_json(array.folder / "submitted.json")
            if answer.get("ok"):
                self.ledger.submitted(array.name, answer["job"])
            elif (
                array.process is not None
            ):  # should it be accepted all the same, its jobs find that they are not wanted
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(array.process.pid, signal.SIGKILL)
        batches = {job.id: job.submitted.batch for job in jobs if job.id}
        if batches:
            wait = asyncio.wait_for(self._cancel_and_wait(batches), max(2.0, deadline - time.monotonic()))
            try:
                asyncio.run(wait)
            except TimeoutError:
                self.log(
                    f"{len(batches)} jobs are not gone yet, or Slurm does not answer; they end by themselves when they "
                    f"look into their folders. See `squeue -u {self.queue.user}`."
                )

    async def _cancel_and_wait(self, batches: Mapping[str, str]) -> None:
        ids = list(batches)
        with contextlib.suppress(SlurmUnreachable):
            entries = await self.queue.entries()
            # a number may be another job's by now
            ids = [job for job in ids if job not in entries or entries[job][0] == batches[job]]
        await self.queue.cancel(ids)
        while True:
            with contextlib.suppress(SlurmUnreachable):
                entries = await self.queue.entries()
                if not any(job in entries and entries[job][1].state in ACTIVE | AWAY for job in ids):
                    return
            await asyncio.sleep(0.3)
