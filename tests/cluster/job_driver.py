"""Drives the executor's job manager without Snakemake: shell commands as jobs, each counting its starts in a file.

Nothing here depends on how fast the machine is: a job that must still run when something happens waits for a file
(`until`), the test makes that file (`allow`), and every time limit only ends a test that would hang.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from pathlib import Path

from snakemake_executor_plugin_submitit.environment import job_environment
from snakemake_executor_plugin_submitit.job_manager import JobManager, TrackedJob
from snakemake_executor_plugin_submitit.job_request import ResourceRequest
from snakemake_executor_plugin_submitit.job_state import JobOutcome, Timeouts
from snakemake_executor_plugin_submitit.ledger import Ledger
from snakemake_executor_plugin_submitit.local_backend import LocalBackend, LocalMachine, available_gpus
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.slurm_backend import SlurmBackend

HANG_S = 1800  # nothing takes as long; a test that waits longer would wait for ever
TIMEOUTS = Timeouts(result=3, requeue=120, lost=12)


def until(path: str | Path) -> str:
    """Shell: wait for a file; for no more than an hour, should the test be killed before it makes the file."""
    return f"for _ in $(seq 36000); do [ ! -e {shlex.quote(str(path))} ] || break; sleep 0.1; done"


class JobDriver:
    """A folder in which jobs run: `starts/<name>` has a line per start, `out/<name>` one per finished piece of work."""

    def __init__(self, folder: Path, timeouts: Timeouts = TIMEOUTS, **settings):
        self.folder = Path(folder)
        self.settings = ExecutorSettings(**{"batch_seconds": 0.1, "poll_seconds": 0.3, **settings})
        self.timeouts = timeouts
        self.logged: list[str] = []
        for name in ("starts", "out"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def manager(self, env=None, cores: int = 4, gpus: int | None = None) -> JobManager:
        """A head; a second call is the head that is started after the first was killed."""
        base = self.folder / "ledger"
        env, ledger = job_environment(env or os.environ, self.settings.env, {}), Ledger(base / "ledger.jsonl")
        if self.settings.cluster == "local":
            names = available_gpus(gpus, {"CUDA_VISIBLE_DEVICES": ""})
            backend = LocalBackend(LocalMachine(base / "jobs", cores, names, env), ledger)
        else:
            backend = SlurmBackend(base, self.settings, env, self.logged.append, ledger)
        return JobManager(base, self.settings, self.timeouts, str(self.folder), backend, self.logged.append)

    def job(self, name: str, body: str, digest: str = "same", attempt: int = 1, **resources) -> TrackedJob:
        """A job that notes its start, runs `body` and notes its end."""
        lines = f"echo $$ >> {self.folder}/starts/{name}\nset -e\n{body}\necho done >> {self.folder}/out/{name}"
        info = {"name": "job", "work": f"job/{name}", "wildcards": {"name": name}, "digest": digest}
        info["outputs"] = [str(self.folder / "out" / name)]
        resources = {"runtime": 30, "mem_mb": 300, **resources}
        request = ResourceRequest.from_resources(resources, resources.pop("threads", 1), self.settings)
        return TrackedJob(info, request.asdict(), lambda folder: lines, attempt)

    def submit(self, manager: JobManager, *jobs: TrackedJob) -> list[TrackedJob]:
        for job in jobs:
            manager.submit(job)
        return list(jobs)

    def step_until(self, manager: JobManager, condition, seconds: float = HANG_S) -> None:
        """Let the manager work until `condition()` holds."""

        async def loop() -> None:
            deadline = time.monotonic() + seconds
            while not condition():
                states = [(job.folder, job.id, job.queue_entry) for job in manager.open_jobs.values()]
                assert time.monotonic() < deadline, f"not within {seconds} s; logged: {self.logged}; {states}"
                await manager.step()
                await asyncio.sleep(min(0.3, manager.pace()))

        asyncio.run(loop())

    def finish(self, manager: JobManager, jobs: list[TrackedJob], seconds: float = HANG_S) -> None:
        self.step_until(manager, lambda: all(job.outcome for job in jobs), seconds)

    def run(self, *jobs: TrackedJob, **kwargs) -> list[TrackedJob]:
        manager = self.manager(**kwargs)
        self.submit(manager, *jobs)
        self.finish(manager, list(jobs))
        return list(jobs)

    def allow(self, name: str = "go") -> None:
        """Make the file that jobs wait for."""
        (self.folder / name).touch()

    def starts(self, name: str) -> int:
        path = self.folder / "starts" / name
        return len(path.read_text().split()) if path.exists() else 0

    def ends(self, name: str) -> int:
        path = self.folder / "out" / name
        return len(path.read_text().split()) if path.exists() else 0


def done(*jobs: TrackedJob) -> bool:
    return all(job.outcome and job.outcome[0] is JobOutcome.DONE for job in jobs)


def why(job: TrackedJob) -> str:
    assert job.outcome and job.outcome[0] is JobOutcome.FAILED, job.outcome
    return job.outcome[1]


def wait(condition, seconds: float = HANG_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
