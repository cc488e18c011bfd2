"""Local mode: the same jobs on this machine, as many at a time as cores and GPUs allow."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit.job_manager import TrackedJob
from snakemake_executor_plugin_submitit.job_state import QueueEntry
from snakemake_executor_plugin_submitit.json_files import is_alive, read_json, tail
from snakemake_executor_plugin_submitit.ledger import Ledger, Submission


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_gpus(count: int | None, env: Mapping[str, str]) -> list[str]:
    """Names of the GPUs to share out: those CUDA_VISIBLE_DEVICES leaves, else those nvidia-smi lists."""
    visible = env.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    elif shutil.which("nvidia-smi"):
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
        names = [str(i) for i, line in enumerate(line for line in done.stdout.splitlines() if line.startswith("GPU"))]
    else:
        names = []
    if count is None:
        return names
    return names[:count] if len(names) >= count else [str(i) for i in range(count)]


@dataclass
class RunningJob:
    process: subprocess.Popen | None  # none for one that an earlier head started
    owner: Path
    threads: int
    gpus: list[str]

    def is_alive(self) -> bool:
        if self.process is not None:
            return self.process.poll() is None
        return bool(is_alive(read_json(self.owner)))


@dataclass
class LocalMachine:
    """Cores and GPUs of this machine and the jobs on them. Jobs wait here, in order, until both are free."""

    jobs: Path
    cores: int
    gpus: list[str]
    env: Mapping[str, str]
    waiting: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)  # (folder, request)
    running: dict[str, RunningJob] = field(default_factory=dict)  # by folder

    def refusal(self, request: Mapping[str, Any]) -> str:
        """Why a job can never run here, or nothing."""
        if request["gpu"] > len(self.gpus):
            return f"needs {request['gpu']} GPUs, and this machine shares out {len(self.gpus)} (submitit-local-gpus)"
        return ""

    def enqueue(self, folder: str, request: Mapping[str, Any]) -> None:
        self.waiting.append((folder, request))

    def step(self) -> None:
        """Free what has ended, start what fits. A job wider than the machine gets all of it."""
        for folder, running in list(self.running.items()):
            if not running.is_alive():
                del self.running[folder]
        for waiting in list(self.waiting):
            folder, request = waiting
            threads = max(1, min(request["threads"], self.cores))
            busy = list(self.running.values())
            free = [gpu for gpu in self.gpus if not any(gpu in running.gpus for running in busy)]
            if sum(running.threads for running in busy) + threads > self.cores:
                break  # in order: a wide job is not overtaken for ever
            if request["gpu"] > len(free):
                continue
            self.waiting.remove(waiting)
            self._start(folder, threads, free[: request["gpu"]])

    def _start(self, folder: str, threads: int, gpus: list[str]) -> None:
        with open(self.jobs / folder / "runner.txt", "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.node_runner", str(self.jobs / folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # out of reach of Ctrl-C in the terminal
                env={**self.env, "CUDA_VISIBLE_DEVICES": ",".join(gpus)},
            )
        self.running[folder] = RunningJob(process, self.jobs / folder / "owner.json", threads, gpus)

    def reattach(self, folder: str, request: Mapping[str, Any]) -> None:
        """Count a job that an earlier head started, with the GPUs it was given."""
        path = self.jobs / folder / "owner.json"
        owner = read_json(path)
        if is_alive(owner) and folder not in self.running:
            gpus = [gpu for gpu in owner.get("gpus", "").split(",") if gpu]
            self.running[folder] = RunningJob(None, path, min(request["threads"], self.cores), gpus)

    def poll(self, folders: Iterable[str]) -> dict[str, QueueEntry]:
        waiting = {folder for folder, _ in self.waiting}
        entries = {}
        for folder in folders:
            if folder in waiting:
                entries[folder] = QueueEntry("PENDING", "Resources")
            elif folder in self.running or is_alive(read_json(self.jobs / folder / "owner.json")):
                entries[folder] = QueueEntry("RUNNING")
        return entries

    def cancel(self, folders: Iterable[str]) -> None:
        wanted = set(folders)
        self.waiting = [waiting for waiting in self.waiting if waiting[0] not in wanted]
        for folder in wanted:
            owner = read_json(self.jobs / folder / "owner.json")
            process = self.running[folder].process if folder in self.running else None
            if process is not None:
                process.terminate()
            elif is_alive(owner):  # started by an earlier head
                os.kill(owner["pid"], signal.SIGTERM)


@dataclass
class LocalBackend:
    """What slurm_backend.SlurmBackend is for a cluster, for this machine."""

    machine: LocalMachine
    ledger: Ledger
    new: list[TrackedJob] = field(default_factory=list)

    def enqueue(self, job: TrackedJob) -> None:
        self.new.append(job)

    def reattach(self, job: TrackedJob, submission: Submission) -> None:
        if submission.outcome is None and not read_json(self.machine.jobs / job.folder / "result.json"):
            self.machine.reattach(job.folder, job.request)
            if job.folder not in self.machine.running:
                self.new.append(job)  # it waited in a queue that died with its head, or died itself

    def is_busy(self) -> bool:
        return bool(self.new)

    async def submit_due(self) -> list[tuple[TrackedJob, str]]:
        refused = []
        while self.new:  # one by one: another thread may be adding to the list
            job = self.new.pop(0)
            if error := self.machine.refusal(job.request):
                refused.append((job, error))
                continue
            if job.submission is None:
                batch = f"local.{uuid.uuid4().hex[:10]}"
                job.submission = self.ledger.prepared(batch, [job.entry()])[0]
                self.ledger.submitted(batch, job.folder)
            self.machine.enqueue(job.folder, job.request)
        self.machine.step()
        return refused

    async def poll(self, jobs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], QueueEntry]:
        entries = self.machine.poll(folder for folder, _ in jobs)
        return {(folder, batch): entries[folder] for folder, batch in jobs if folder in entries}

    def slurm_log(self, submission: Submission) -> str:
        return tail(self.machine.jobs / submission.folder / "runner.txt")

    def clean_up(self, submission: Submission) -> None:
        """There are no arrays here."""

    async def release(self, submission: Submission) -> None:
        """Nobody holds a job here."""

    async def cancel(self, submissions: Sequence[Submission]) -> None:
        self.machine.cancel(one.folder for one in submissions)

    def cancel_all(self, jobs: list[TrackedJob], patience: float) -> None:
        self.machine.waiting.clear()
        folders = [job.folder for job in jobs]
        self.machine.cancel(folders)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            self.machine.step()
            if not any(folder in self.machine.running for folder in folders):
                return
            time.sleep(0.1)
