"""Local mode: the same jobs on this machine, as many at a time as cores and GPUs allow."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit import files
from snakemake_executor_plugin_submitit.ledger import Ledger, Submission
from snakemake_executor_plugin_submitit.truth import Seen


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus(count: int | None, env: Mapping[str, str]) -> list[str]:
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
class Running:
    process: subprocess.Popen | None  # none for one that an earlier head started
    owner: Path
    threads: int
    gpus: list[str]

    def alive(self) -> bool:
        if self.process is not None:
            return self.process.poll() is None
        return bool(files.alive(files.read(self.owner)))


@dataclass
class Machine:
    """Cores and GPUs of this machine and the jobs on them. Jobs wait here, in order, until both are free."""

    jobs: Path
    cores: int
    gpus: list[str]
    env: Mapping[str, str]
    waiting: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # (folder, needs)
    running: dict[str, Running] = field(default_factory=dict)  # by folder

    def check(self, needs: Mapping[str, Any]) -> str:
        """Why a job can never run here, or nothing."""
        if needs["gpu"] > len(self.gpus):
            return f"needs {needs['gpu']} GPUs, and this machine shares out {len(self.gpus)} (submitit-local-gpus)"
        return ""

    def put(self, folder: str, needs: dict[str, Any]) -> None:
        self.waiting.append((folder, needs))

    def step(self) -> None:
        """Free what has ended, start what fits. A job wider than the machine gets all of it."""
        for folder, one in list(self.running.items()):
            if not one.alive():
                del self.running[folder]
        for item in list(self.waiting):
            folder, needs = item
            threads = min(needs["threads"], self.cores)
            free = [gpu for gpu in self.gpus if not any(gpu in one.gpus for one in list(self.running.values()))]
            if sum(one.threads for one in list(self.running.values())) + threads > self.cores:
                break  # in order: a wide job is not overtaken for ever
            if needs["gpu"] > len(free):
                continue
            self.waiting.remove(item)
            self._start(folder, threads, free[: needs["gpu"]])

    def _start(self, folder: str, threads: int, taken: list[str]) -> None:
        with open(self.jobs / folder / "runner.txt", "ab") as words:
            process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.job", str(self.jobs / folder)],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,  # out of reach of Ctrl-C in the terminal
                env={**self.env, "CUDA_VISIBLE_DEVICES": ",".join(taken)},
            )
        self.running[folder] = Running(process, self.jobs / folder / "owner.json", threads, taken)

    def adopt(self, folder: str, needs: Mapping[str, Any]) -> None:
        """Count a job that an earlier head started, with the GPUs it was given."""
        owner = files.read(self.jobs / folder / "owner.json")
        if files.alive(owner) and folder not in self.running:
            taken = [gpu for gpu in owner.get("gpus", "").split(",") if gpu]
            threads = min(needs["threads"], self.cores)
            self.running[folder] = Running(None, self.jobs / folder / "owner.json", threads, taken)

    def look(self, folders: Iterable[str]) -> dict[str, Seen]:
        waiting = {folder for folder, _ in self.waiting}
        found = {}
        for folder in folders:
            if folder in waiting:
                found[folder] = Seen("PENDING", "Resources")
            elif folder in self.running:
                found[folder] = Seen("RUNNING")
        return found

    def cancel(self, folders: Iterable[str]) -> None:
        wanted = set(folders)
        self.waiting = [item for item in self.waiting if item[0] not in wanted]
        for folder in wanted:
            owner = files.read(self.jobs / folder / "owner.json")
            process = self.running[folder].process if folder in self.running else None
            if process is not None:
                process.terminate()
            elif files.alive(owner):  # started by an earlier head
                os.kill(owner["pid"], signal.SIGTERM)


@dataclass
class LocalBackend:
    """What batches.SlurmBackend is for a cluster, for this machine."""

    machine: Machine
    ledger: Ledger = None
    jobs: Path = None
    fresh: list[Any] = field(default_factory=list)
    sent: int = 0

    def put(self, item: Any) -> None:
        self.fresh.append(item)

    def adopt(self, item: Any) -> None:
        one = item.submission
        result = files.read(self.jobs / item.folder / "result.json")
        if one.outcome is None and not result:
            self.machine.adopt(item.folder, item.needs)
            if item.folder not in self.machine.running:
                self.fresh.append(item)  # it waited in a queue that died with its head, or died itself

    def busy(self) -> bool:
        return bool(self.fresh)

    async def send(self) -> list[tuple[Any, str]]:
        refused = []
        while self.fresh:  # one by one: another thread may be adding to the list
            item = self.fresh.pop(0)
            if error := self.machine.check(item.needs):
                refused.append((item, error))
                continue
            if item.submission is None:
                line = {"folder": item.folder, "work": item.info["work"], "name": item.info["name"]}
                line |= {"digest": item.info["digest"], "attempt": item.attempt, "needs": dict(item.needs)}
                line |= {"wildcards": item.info["wildcards"], "outputs": item.info["outputs"]}
                name = f"local.{uuid.uuid4().hex[:10]}"
                item.submission = self.ledger.prepared(name, [line])[0]
                self.ledger.submitted(name, item.folder)
            self.machine.put(item.folder, dict(item.needs))
        self.machine.step()
        return refused

    async def look(self, jobs: list[tuple[str, str]]) -> dict[tuple[str, str], Seen]:
        seen = self.machine.look(folder for folder, _ in jobs)
        return {(folder, name): seen[folder] for folder, name in jobs if folder in seen}

    def words(self, one: Submission) -> list[str]:
        return files.tail(self.jobs / one.folder / "runner.txt", 6).splitlines()

    def abandon(self, one: Submission) -> None:
        self.machine.cancel([one.folder])

    def cancel(self, items: list[Any], patience: float) -> None:
        self.machine.waiting.clear()
        folders = [item.folder for item in items]
        self.machine.cancel(folders)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            self.machine.step()
            if not any(folder in self.machine.running for folder in folders):
                return
            time.sleep(0.1)
