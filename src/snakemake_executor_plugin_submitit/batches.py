"""From single jobs to arrays: collects equal ones, has them submitted, and finds out what became of a submission."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit import files
from snakemake_executor_plugin_submitit.ledger import Ledger, Submission
from snakemake_executor_plugin_submitit.slurm import Queue, Unreachable, call
from snakemake_executor_plugin_submitit.truth import ACTIVE, AWAY, Seen

HELPER_SECONDS = 600  # a submission that has not answered by then is looked for in the queue


def arrays(waiting: Iterable[Any], most: int) -> list[list[Any]]:
    """Items in groups of equal needs, at most `most` in each, in the order they came."""
    groups: dict[tuple, list[Any]] = {}
    for item in waiting:
        groups.setdefault(tuple(sorted((k, str(v)) for k, v in item.needs.items())), []).append(item)
    return [group[i : i + most] for group in groups.values() for i in range(0, len(group), most)]


@dataclass(eq=False)
class Batch:
    name: str  # Slurm's job name; unique, so that a lost answer can be found in the queue
    items: list[Any]
    folder: Path
    process: subprocess.Popen | None = None  # none where an earlier head started it
    since: float = field(default_factory=time.monotonic)
    tries: int = 1
    first: float = field(default_factory=time.monotonic)


@dataclass
class SlurmBackend:
    base: Path
    settings: Any
    env: Mapping[str, str]
    say: Callable[[str], None]
    ledger: Ledger = None
    jobs: Path = None
    slurm: Queue = field(default_factory=Queue)
    waiting: list[Any] = field(default_factory=list)
    flying: dict[str, Batch] = field(default_factory=dict)  # no answer yet, by name
    later: list[tuple[float, list[Any], int, float]] = field(default_factory=list)  # (when, items, tries, first)
    sent: int = 0
    changed: float = 0.0
    oldest: float = 0.0
    most: int | None = None
    silent: bool = False

    # ---- in ----

    def put(self, item: Any) -> None:
        self.changed = time.monotonic()
        self.oldest = self.oldest if self.waiting else self.changed
        self.waiting.append(item)

    def adopt(self, item: Any) -> None:
        """An earlier head's submission; where that head did not live to see sbatch's answer, look for it."""
        one = item.submission
        if one.id is None and one.outcome is None:
            batch = self.flying.setdefault(one.batch, Batch(one.batch, [], self.base / "batches" / one.batch))
            batch.items.append(item)

    def busy(self) -> bool:
        return bool(self.waiting or self.flying)

    # ---- out ----

    async def send(self) -> list[tuple[Any, str]]:
        """Submit what is due and take in answers; returns the items Slurm will not have, each with its reason."""
        now = time.monotonic()
        quiet, age = now - self.changed, now - self.oldest
        if self.waiting and (quiet >= self.settings.batch_seconds or age >= 10 * self.settings.batch_seconds):
            due = []
            while self.waiting:  # one by one: another thread may be adding to the list
                due.append(self.waiting.pop(0))
            for group in arrays(due, await self._largest(len(due))):
                self._submit(group, 1, now)
        for entry in [entry for entry in self.later if entry[0] <= now]:
            self.later.remove(entry)
            self._submit(entry[1], entry[2], entry[3])
        refused: list[tuple[Any, str]] = []
        for batch in list(self.flying.values()):
            refused += await self._answer(batch)
        return refused

    async def _largest(self, due: int) -> int:
        """Tasks in one array: the cluster's MaxArraySize, asked for once and only where it matters."""
        if self.settings.max_array_size:
            return max(1, self.settings.max_array_size)
        if self.most is None and due > 1:
            try:
                found = re.search(r"MaxArraySize\s*=\s*(\d+)", await call("scontrol", "show", "config"))
                self.most = max(1, int(found[1])) if found else 1001
            except Unreachable:
                return 1001  # Slurm's default
        return self.most or 1001

    def _submit(self, group: list[Any], tries: int, first: float) -> None:
        rules = list(dict.fromkeys(item.info["name"] for item in group))
        name = f"{'+'.join(rules)[:40]}.{uuid.uuid4().hex[:10]}"
        lines = [
            {
                "folder": item.folder,
                "work": item.info["work"],
                "name": item.info["name"],
                "digest": item.info["digest"],
                "attempt": item.attempt,
                "wildcards": item.info["wildcards"],
                "outputs": item.info["outputs"],
                "needs": item.needs,
            }
            for item in group
        ]
        folder = self.base / "batches" / name
        files.write(
            folder / "batch.json",
            {
                "name": name,
                "needs": group[0].needs,
                "folders": [str(self.jobs / item.folder) for item in group],
                "throttle": self.settings.throttle,
                "signal_seconds": self.settings.signal_seconds,
                "setup": self.settings.setup,
            },
        )
        for item, one in zip(group, self.ledger.prepared(name, lines), strict=True):
            item.submission = one
        batch = self.flying[name] = Batch(name, group, folder, tries=tries, first=first)
        self.sent += 1
        with open(folder / "helper.txt", "ab") as words:
            batch.process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.submit", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env={**self.env, "SUBMITIT_PREEMPT_SIGNAL": self.settings.signal.removeprefix("SIG")},
                start_new_session=True,  # it lives to write down the answer, whatever happens to this process
            )

    async def _answer(self, batch: Batch) -> list[tuple[Any, str]]:
        """Take in sbatch's answer, if there is one. A lost answer is looked for in the queue, by the batch's name."""
        answer = files.read(batch.folder / "submitted.json")
        if answer is None and self._working(batch):
            return []
        if answer is None or (not answer["ok"] and answer["later"]):
            job = next((id for id in map(self._started, batch.items) if id), None)
            try:
                job = job or await self.slurm.find(batch.name)
            except Unreachable as error:
                self._unreachable(error)
                return []
            if job:
                answer = {"ok": True, "job": job}
        if answer is not None and answer["ok"]:
            self.ledger.submitted(batch.name, answer["job"])
            del self.flying[batch.name]
            self._heard()
            tasks = f"array {answer['job']} of {len(batch.items)}" if len(batch.items) > 1 else f"job {answer['job']}"
            self.say(f"Slurm {tasks}: {batch.name}")
            return []
        del self.flying[batch.name]
        if answer is None or answer["later"]:
            for item in batch.items:
                self.ledger.ended(item.submission, "resubmitted", "never reached Slurm")
            return self._postpone(batch, answer["error"] if answer else "the submitting process was killed")
        return [(item, f"sbatch refused it: {answer['error']}") for item in batch.items]

    def _postpone(self, batch: Batch, error: str) -> list[tuple[Any, str]]:
        if time.monotonic() - batch.first > self.settings.return_minutes * 60:
            return [
                (item, f"Slurm did not take it for {self.settings.return_minutes} minutes: {error}")
                for item in batch.items
            ]
        if batch.tries in (1, 4) or batch.tries % 20 == 0:
            self.say(f"Slurm does not take {batch.name} at the moment ({error}); trying again.")
        wait = min(60.0, 2.0**batch.tries)
        half = len(batch.items)
        if re.search(r"submit limit|MaxSubmit", error, re.IGNORECASE):  # fewer at a time may fit
            half = max(1, half // 2)
        for group in (batch.items[:half], batch.items[half:]):
            if group:
                self.later.append((time.monotonic() + wait, group, batch.tries + 1, batch.first))
        return []

    def _working(self, batch: Batch) -> bool:
        """Whether the submitting process may still answer."""
        age = time.monotonic() - batch.since
        if batch.process is not None:
            return batch.process.poll() is None and age < HELPER_SECONDS
        state = files.alive(files.read(batch.folder / "helper.json"))
        prepared = min(item.submission.prepared for item in batch.items)
        if state is None:  # on another host: give it time
            return age < 60
        # one that never started wrote no file; it may be just about to
        return state or time.time() - prepared < 5

    def _started(self, item: Any) -> str | None:
        """Slurm's number of an item's job as the job itself noted it."""
        owner = files.read(self.jobs / item.folder / "owner.json") or {}
        return (owner.get("job") or "").partition("_")[0] or None

    async def look(self, jobs: list[tuple[str, str]]) -> dict[tuple[str, str], Seen] | None:
        try:
            seen = await self.slurm.look(jobs)
        except Unreachable as error:
            self._unreachable(error)
            return None
        self._heard()
        return seen

    def _unreachable(self, error: Exception) -> None:
        if not self.silent:
            self.say(f"No answer from Slurm ({error}); waiting for it.")
        self.silent = True

    def _heard(self) -> None:
        if self.silent:
            self.say("Slurm answers again.")
        self.silent = False

    def words(self, one: Submission) -> list[str]:
        """What Slurm wrote about a job that ended without a result: over its memory, cancelled, its node lost."""
        lines = files.tail(self.base / "batches" / one.batch / f"{one.id}_0_log.out", 40).splitlines()
        return [line for line in lines if "slurmstepd" in line or "srun:" in line or "Error" in line][-6:]

    # ---- away ----

    def abandon(self, one: Submission) -> None:
        if one.id:
            subprocess.run(["scancel", f"--name={one.batch}", one.id], capture_output=True, timeout=60)

    def cancel(self, items: list[Any], patience: float) -> None:
        """scancel them, and wait until none is left in the queue. Called outside of the event loop."""
        deadline = time.monotonic() + patience
        for batch in list(self.flying.values()):  # what sbatch is about to accept must be known to be cancelled
            while files.read(batch.folder / "submitted.json") is None and time.monotonic() < deadline:
                if not self._working(batch):
                    break
                time.sleep(0.1)
            answer = files.read(batch.folder / "submitted.json")
            if answer is not None and answer["ok"]:
                self.ledger.submitted(batch.name, answer["job"])
        jobs = {item.id: item.submission.batch for item in items if item.id}
        if jobs:
            asyncio.run(self._cancel(jobs, deadline))

    async def _cancel(self, jobs: Mapping[str, str], deadline: float) -> None:
        ids = list(jobs)
        with contextlib.suppress(Unreachable):
            seen = await self.slurm.queue()
            ids = [job for job in jobs if job not in seen or seen[job][0] == jobs[job]]  # its number may be another's
        await self.slurm.cancel(ids)
        while time.monotonic() < deadline:
            with contextlib.suppress(Unreachable):
                seen = await self.slurm.queue()
                if not any(job in seen and seen[job][1].state in ACTIVE | AWAY for job in ids):
                    return
            await asyncio.sleep(0.3)
        self.say(f"Some of {len(ids)} cancelled jobs are still in the queue; see `squeue -u {self.slurm.user}`.")
