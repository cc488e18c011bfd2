"""When a checkpoint is due, and how a run takes one up."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from petvr.errors import PetvrError
from petvr.training import checkpoint
from petvr.training.loop import Loop
from petvr.training.report import Report


def take_up(loop: Loop, state: Path, identity: dict[str, str], report: Report) -> None:
    """Continue from the newest usable checkpoint, if there is one."""
    found = checkpoint.newest(state, identity, report.line)
    if found is None:
        return
    loop.restore(found)
    report.line(f"continuing at step {found.step} of {loop.total} (time {loop.progress.resumed})")
    if found.values.get("threads") != torch.get_num_threads():
        report.line("warning: the number of threads changed: the last digits may differ from an uninterrupted run's")


class Saver:
    """Decides when a checkpoint is due and writes it. A checkpoint that cannot be written is told, not fatal."""

    def __init__(
        self,
        loop: Loop,
        state: Path,
        identity: dict[str, str],
        report: Report,
        seconds: float,
        steps: int | None,
    ) -> None:
        self.loop, self.state, self.identity, self.report = loop, state, identity, report
        self.seconds, self.steps = seconds, steps
        self.last, self.at = self._mark(), time.monotonic()

    def due(self) -> bool:
        steps = self.loop.progress.step - self.last[0]
        return bool(self.steps and steps >= self.steps) or time.monotonic() - self.at >= self.seconds

    def save(self) -> bool:
        """True if the state is on disk."""
        if self._mark() == self.last:
            return True
        made = self.loop.state()
        made.values["threads"] = torch.get_num_threads()
        self.at = time.monotonic()
        try:
            checkpoint.save(self.state, made, self.identity)
        except PetvrError as error:
            self.report.line(f"warning: {error}; going on without this checkpoint")
            return False
        self.last = self._mark()
        return True

    def _mark(self) -> tuple[int, int]:
        return self.loop.progress.step, len(self.loop.progress.evaluations)
