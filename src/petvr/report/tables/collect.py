"""Reads the result of every run a table asks for; what cannot be used becomes a state with a reason, never a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from petvr.layout import Layout
from petvr.report.tables.model import Planned
from petvr.result import Result
from petvr.status import RunState, run_status

State = Literal["ok", "failed", "missing", "stale"]
STATES: dict[RunState, State] = {
    RunState.DONE: "ok",
    RunState.STALE: "stale",
    RunState.FAILED: "failed",
    RunState.STARTED: "missing",
    RunState.MISSING: "missing",
}


@dataclass(frozen=True)
class Seed:
    """One run of a cell: its result, or why there is none."""

    seed: int
    run: str
    state: State
    reason: str = ""
    result: Result | None = None


def read_seed(results: Path, seed: int, planned: Planned) -> Seed:
    """Never raises for a file: a broken result makes one seed `failed`, with the reason."""
    status = run_status(Layout(Path(results)), planned.id, planned.digest)
    return Seed(seed, planned.id, STATES[status.state], status.reason, status.result)


def reader(results: Path) -> Callable[[int, Planned], Seed]:
    """`read_seed` that reads each file once: tables of a paper share many runs."""
    seen: dict[tuple[int, Planned], Seed] = {}

    def read(seed: int, planned: Planned) -> Seed:
        key = (seed, planned)
        if key not in seen:
            seen[key] = read_seed(results, seed, planned)
        return seen[key]

    return read
