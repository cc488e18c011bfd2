"""Drives the executor's desk without Snakemake: plain shell commands as jobs, each counting its starts in a file."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from snakemake_executor_plugin_submitit import local
from snakemake_executor_plugin_submitit.batches import SlurmBackend
from snakemake_executor_plugin_submitit.desk import Desk, Item
from snakemake_executor_plugin_submitit.environment import chosen
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.truth import Fate, Limits
from snakemake_executor_plugin_submitit.work import Needs

LIMITS = Limits(files=3, settle=8, lost=12, away=6)


class Bench:
    """A folder in which jobs run: `starts/<name>` has a line per start, `out/<name>` one per finished piece of work."""

    def __init__(self, folder: Path, limits: Limits = LIMITS, **settings):
        self.folder = Path(folder)
        self.settings = ExecutorSettings(**{"batch_seconds": 0.1, "poll_seconds": 0.3, **settings})
        self.limits = limits
        self.said: list[str] = []
        for name in ("starts", "out"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def desk(self, env=None, cores: int = 4, gpus: int | None = None) -> Desk:
        """A head; a second call is the head that is started after the first was killed."""
        base = self.folder / "ledger"
        env = chosen(env or os.environ, self.settings.env, {})
        if self.settings.cluster == "local":
            backend = local.LocalBackend(
                local.Machine(base / "jobs", cores, local.gpus(gpus, {"CUDA_VISIBLE_DEVICES": ""}), env)
            )
        else:
            backend = SlurmBackend(base, self.settings, env, self.said.append)
        return Desk(base, self.settings, self.limits, str(self.folder), backend, self.said.append)

    def item(self, name: str, body: str, digest: str = "same", attempt: int = 1, **resources) -> Item:
        """A job that notes its start, runs `body` and notes its end."""
        lines = f"echo $$ >> {self.folder}/starts/{name}\nset -e\n{body}\necho done >> {self.folder}/out/{name}"
        info = {"name": "job", "work": f"job/{name}", "wildcards": {"name": name}, "digest": digest}
        info["outputs"] = [str(self.folder / "out" / name)]
        needs = Needs.of({"runtime": 30, "mem_mb": 300, **resources}, resources.pop("threads", 1), self.settings)
        return Item(info, needs.asdict(), lambda folder: lines, attempt)

    def take(self, desk: Desk, *items: Item) -> list[Item]:
        for item in items:
            desk.take(item)
        return list(items)

    def rounds(self, desk: Desk, until, seconds: float = 60, during=None) -> None:
        """Let the desk work until `until()` holds."""

        async def loop() -> None:
            deadline = time.monotonic() + seconds
            while not until():
                assert time.monotonic() < deadline, f"not within {seconds} s; said: {self.said}; {self.evidence(desk)}"
                await desk.step()
                await asyncio.sleep(min(0.3, desk.pace()))

        asyncio.run(loop())

    def finish(self, desk: Desk, items: list[Item], seconds: float = 60) -> None:
        self.rounds(desk, lambda: all(item.fate for item in items), seconds)

    def run(self, *items: Item, seconds: float = 60, **kwargs) -> list[Item]:
        desk = self.desk(**kwargs)
        self.take(desk, *items)
        self.finish(desk, list(items), seconds)
        return list(items)

    def evidence(self, desk: Desk) -> list:
        return [(item.folder, item.id, item.seen) for item in desk.items.values()]

    def starts(self, name: str) -> int:
        path = self.folder / "starts" / name
        return len(path.read_text().split()) if path.exists() else 0

    def ends(self, name: str) -> int:
        path = self.folder / "out" / name
        return len(path.read_text().split()) if path.exists() else 0


def done(*items: Item) -> bool:
    return all(item.fate and item.fate[0] is Fate.DONE for item in items)


def why(item: Item) -> str:
    assert item.fate and item.fate[0] is Fate.FAILED, item.fate
    return item.fate[1]


def wait(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
