"""The queue: squeue, sacct and scancel, each one call for all jobs, none of which blocks the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable

from snakemake_executor_plugin_submitit.environment import without_foreign
from snakemake_executor_plugin_submitit.job_state import ACTIVE, AWAY, QueueEntry


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
    """Lines `id|name|state|reason|node` -> id -> (name, entry); steps (`12.batch`) are left out."""
    entries: dict[str, tuple[str, QueueEntry]] = {}
    for line in text.splitlines():
        parts = line.strip().split("|")
        if len(parts) < 5 or "." in parts[0] or not parts[2]:
            continue
        job, name, state, reason, node = (part.strip() for part in parts[:5])
        entries[job] = (name, QueueEntry(state.split()[0].rstrip("+"), reason, node))
    return entries


class SlurmQueue:
    """The user's jobs as squeue shows them, with sacct for those squeue has forgotten."""

    def __init__(self) -> None:
        self.user = str(os.getuid())  # a name would come from LOGNAME, which may be anybody's
        self.accounting = True

    async def entries(self) -> dict[str, tuple[str, QueueEntry]]:
        """All of this user's jobs that the controller remembers, ended ones included, one line per array task."""
        command = ("squeue", "--noheader", "--array", "--states=all", "-u", self.user, "-o", "%i|%j|%T|%r|%N")
        return parse_queue(await run_slurm_command(*command))

    async def history(self, *choice: str) -> dict[str, tuple[str, QueueEntry]]:
        """What accounting knows of them; nothing where there is none."""
        if not self.accounting:
            return {}
        fields = "--format=JobID,JobName,State,ExitCode,NodeList"
        command = ("sacct", "--noheader", "--parsable2", "-X", fields, *choice)
        try:
            return parse_queue(await run_slurm_command(*command, timeout=30))
        except SlurmUnreachable as error:
            if "disabled" in str(error):
                self.accounting = False
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

    async def find(self, name: str) -> str | None:
        """Slurm's number of the batch of this name, or None. Raises `SlurmUnreachable`."""
        for known in (await self.entries(), await self.history("--name", name, "-u", self.user, "-S", "now-30days")):
            for job, (other, _) in known.items():
                if other == name:
                    return job.partition("_")[0]
        return None

    async def cancel(self, ids: Iterable[str]) -> None:
        ids = sorted(set(ids))
        for start in range(0, len(ids), 500):
            with contextlib.suppress(SlurmUnreachable):  # "Invalid job id": it has ended meanwhile
                await run_slurm_command("scancel", *ids[start : start + 500])
