"""The queue: squeue, sacct and scancel, each one call for all jobs, none of which blocks the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from snakemake_executor_plugin_submitit.environment import without_foreign
from snakemake_executor_plugin_submitit.job_state import ACTIVE, AWAY, QueueEntry

HISTORY_S = 10.0  # how long sacct may take


class SlurmUnreachable(Exception):
    """The command did not answer: nothing is known, which is not the same as nothing being there."""


async def run_slurm_command(*command: str, timeout: float = 60.0) -> str:
    """Standard output of a Slurm command; raises `SlurmUnreachable` with its last words."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=without_foreign(os.environ),
        )
    except OSError as error:
        raise SlurmUnreachable(f"{command[0]}: {error.strerror}") from error
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout)
    except (TimeoutError, asyncio.CancelledError) as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
        raise SlurmUnreachable(f"{command[0]}: no answer within {timeout:.0f} s") from None
    if process.returncode:
        raise SlurmUnreachable(f"{command[0]}: {err.decode(errors='replace').strip() or process.returncode}")
    return out.decode(errors="replace")


def parse_queue(text: str) -> dict[str, tuple[str, QueueEntry]]:
    """Lines `id|state|reason|node|partition|name` -> id -> (name, entry); steps (`12.batch`) are left out."""
    entries: dict[str, tuple[str, QueueEntry]] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|", 5)]
        if len(parts) < 6 or "." in parts[0] or not parts[1]:
            continue
        job, state, reason, node, partition, name = parts
        entries[job] = (name, QueueEntry(state.split()[0].rstrip("+"), reason, node, partition))
    return entries


class SlurmQueue:
    """The user's jobs as squeue shows them, with sacct for those squeue has forgotten."""

    def __init__(self) -> None:
        self.user = str(os.getuid())  # a name would come from LOGNAME, which may be anybody's
        self.accounting = True
        self.no_history_before = 0.0  # on the monotonic clock

    async def entries(self) -> dict[str, tuple[str, QueueEntry]]:
        """All of this user's jobs that the controller remembers, ended ones included, one line per array task."""
        command = ("squeue", "--noheader", "--array", "--states=all", "-u", self.user, "-o", "%i|%T|%r|%N|%P|%j")
        return parse_queue(await run_slurm_command(*command))

    async def history(self, *choice: str) -> dict[str, tuple[str, QueueEntry]]:
        """What accounting knows of them; nothing where there is none."""
        if not self.accounting or time.monotonic() < self.no_history_before:
            return {}
        fields = "--format=JobID,State,ExitCode,NodeList,Partition,JobName"
        command = ("sacct", "--noheader", "--parsable2", "-X", fields, *choice)
        asked = time.monotonic()
        try:
            return parse_queue(await run_slurm_command(*command, timeout=HISTORY_S))
        except SlurmUnreachable as error:
            self.accounting = "disabled" not in str(error)
            now = time.monotonic()
            self.no_history_before = now + 10 * (now - asked)  # one that is slow to answer must not hold up every round
            return {}

    async def poll(self, jobs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], QueueEntry]:
        """State of each job, given as (number, name), that is known at all. Of another name it is another job: a
        cluster that was set up anew gives its numbers again. Raises `SlurmUnreachable` where squeue gives no answer.
        """
        jobs = list(jobs)
        wanted = {job for job, _ in jobs}
        known = await self.entries()
        missing = wanted - known.keys()
        if missing:
            arrays = ",".join(sorted({job.partition("_")[0] for job in missing}))
            past = await self.history("-j", arrays)
            # accounting that was down at a job's end may call it running for ever: only the queue knows the living
            known = {**{job: one for job, one in past.items() if one[1].state not in ACTIVE | AWAY}, **known}
        return {(job, name): known[job][1] for job, name in jobs if job in known and known[job][0] == name}

    async def submitted_from(self, folder: Path) -> dict[str, str]:
        """Number and batch of this user's jobs whose scripts lie below that folder. Raises `SlurmUnreachable`."""
        below, command = {}, ("squeue", "--noheader", "--array", "-u", self.user, "-o", "%i|%o")
        for line in (await run_slurm_command(*command)).splitlines():
            job, _, script = line.strip().partition("|")
            if script.startswith(f"{folder}/"):
                below[job] = script.removeprefix(f"{folder}/").partition("/")[0]
        return below

    async def is_empty(self) -> bool:
        """Whether no job of this user waits or runs. Raises `SlurmUnreachable`."""
        return not any(entry.state in ACTIVE | AWAY for _, entry in (await self.entries()).values())

    async def find(self, name: str) -> str | None:
        """Slurm's number of the batch of this name, or None. Raises `SlurmUnreachable`."""
        for known in (await self.entries(), await self.history("--name", name, "-u", self.user, "-S", "now-30days")):
            for job, (other, _) in known.items():
                if other == name:
                    return job.partition("_")[0]
        return None

    async def cancel(self, ids: Iterable[str], name: str | None = None) -> None:
        ids, named = sorted(set(ids)), [f"--name={name}"] if name else []
        for start in range(0, len(ids), 500):
            with contextlib.suppress(SlurmUnreachable):  # "Invalid job id": it has ended meanwhile
                await run_slurm_command("scancel", *named, *ids[start : start + 500])
