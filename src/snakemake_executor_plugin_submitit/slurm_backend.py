"""From single jobs to arrays: collects equal ones, has them submitted, and finds out what became of a submission."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_executor_plugin_submitit.job_manager import TrackedJob
from snakemake_executor_plugin_submitit.job_state import ACTIVE, AWAY, QueueEntry
from snakemake_executor_plugin_submitit.json_files import is_alive, read_json, tail, write_json
from snakemake_executor_plugin_submitit.ledger import Ledger, Submission
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.slurm_queue import SlurmQueue, SlurmUnreachable, run_slurm_command

HELPER_SECONDS = 600  # a submission that has not answered by then is looked for in the queue
DEFAULT_ARRAY_SIZE = 1001  # Slurm's


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
    max_array_size: int | None = None
    unreachable: bool = False

    def __post_init__(self) -> None:
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
        now = time.monotonic()
        quiet, age = now - self.newest, now - self.oldest
        if self.waiting and (quiet >= self.settings.batch_seconds or age >= 10 * self.settings.batch_seconds):
            due = []
            while self.waiting:  # one by one: another thread may be adding to the list
                due.append(self.waiting.pop(0))
            for group in group_into_arrays(due, await self._array_size(len(due))):
                self._submit(group, 1, now)
        for entry in [entry for entry in self.postponed if entry[0] <= now]:
            self.postponed.remove(entry)
            self._submit(*entry[1:])
        refused: list[tuple[TrackedJob, str]] = []
        for array in list(self.unanswered.values()):
            refused += await self._take_answer(array)
        return refused

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
        write_json(
            folder / "batch.json",
            {
                "name": name,
                "needs": jobs[0].request,
                "folders": [str(self.jobs / job.folder) for job in jobs],
                "throttle": self.settings.throttle,
                "signal_seconds": self.settings.signal_seconds,
                "setup": self.settings.setup,
            },
        )
        for job, submission in zip(jobs, self.ledger.prepared(name, [job.entry() for job in jobs]), strict=True):
            job.submission = submission
        array = self.unanswered[name] = ArraySubmission(name, jobs, folder, tries=tries, first_try=first_try)
        with open(folder / "helper.txt", "ab") as output:
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
        if not answer or (not answer["ok"] and answer["later"]):
            number = next((number for number in map(self._number_by_owner, array.jobs) if number), None)
            try:
                number = number or await self.queue.find(array.name)
            except SlurmUnreachable as error:
                self._log_unreachable(error)
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
        if not answer or answer["later"]:
            for job in array.jobs:
                self.ledger.ended(job.submitted, "resubmitted", "never reached Slurm")
            return self._postpone(array, answer.get("error", "the submitting process was killed"))
        return [(job, f"sbatch refused it: {answer['error']}") for job in array.jobs]

    def _postpone(self, array: ArraySubmission, error: str) -> list[tuple[TrackedJob, str]]:
        minutes = self.settings.return_minutes
        if time.monotonic() - array.first_try > minutes * 60:
            return [(job, f"Slurm did not take it for {minutes} minutes: {error}") for job in array.jobs]
        if array.tries in (1, 4) or array.tries % 20 == 0:
            self.log(f"Slurm does not take {array.name} at the moment ({error}); trying again.")
        due = time.monotonic() + min(60.0, 2.0**array.tries)
        half = len(array.jobs)
        if re.search(r"submit limit|MaxSubmit", error, re.IGNORECASE):  # fewer at a time may fit
            half = max(1, half // 2)
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
        # one that never started wrote no file; it may be just about to
        return alive or time.time() - min(job.submitted.prepared for job in array.jobs) < 5

    def _number_by_owner(self, job: TrackedJob) -> str | None:
        """Slurm's number of a job as the job itself noted it."""
        owner = read_json(self.jobs / job.folder / "owner.json")
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

    def slurm_messages(self, submission: Submission) -> list[str]:
        """What Slurm wrote about a job that ended without a result: over its memory, cancelled, its node lost."""
        lines = tail(self.base / "batches" / submission.batch / f"{submission.id}_0_log.out", 40).splitlines()
        return [line for line in lines if "slurmstepd" in line or "srun:" in line or "Error" in line][-6:]

    # ---- away ----

    def cancel(self, submission: Submission) -> None:
        if submission.id:
            command = ["scancel", f"--name={submission.batch}", submission.id]
            subprocess.run(command, capture_output=True, timeout=60)

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
        batches = {job.id: job.submitted.batch for job in jobs if job.id}
        if batches:
            asyncio.run(self._cancel_and_wait(batches, deadline))

    async def _cancel_and_wait(self, batches: Mapping[str, str], deadline: float) -> None:
        ids = list(batches)
        with contextlib.suppress(SlurmUnreachable):
            entries = await self.queue.entries()
            # a number may be another job's by now
            ids = [job for job in ids if job not in entries or entries[job][0] == batches[job]]
        await self.queue.cancel(ids)
        while time.monotonic() < deadline:
            with contextlib.suppress(SlurmUnreachable):
                entries = await self.queue.entries()
                if not any(job in entries and entries[job][1].state in ACTIVE | AWAY for job in ids):
                    return
            await asyncio.sleep(0.3)
        self.log(f"Some of {len(ids)} cancelled jobs are still in the queue; see `squeue -u {self.queue.user}`.")
