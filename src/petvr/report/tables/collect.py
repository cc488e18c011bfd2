"""Reads the result of every run a table asks for; what cannot be used becomes a state with a reason, never a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.report.tables.model import Planned
from petvr.result import Result

State = Literal["ok", "failed", "missing", "stale"]


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
    layout = Layout(Path(results))
    path = layout.result(planned.id)
    if not path.exists():
        failure = layout.error(planned.id)
        if failure:
            return Seed(seed, planned.id, "failed", failure)
        started = layout.state(planned.id).exists()
        return Seed(seed, planned.id, "missing", "started, not finished" if started else "not run yet")
    try:
        result = Result.read(path)
    except (PetvrError, OSError, UnicodeDecodeError) as error:
        return Seed(seed, planned.id, "failed", str(error).removeprefix(f"{path}: "))
    if result.id != planned.id:
        return Seed(seed, planned.id, "failed", f"holds the result of {result.id}")
    if planned.digest is not None and result.provenance.spec_digest != planned.digest:
        return Seed(seed, planned.id, "stale", "made by an earlier recipe or version; run it again", result)
    return Seed(seed, planned.id, "ok", result=result)


def reader(results: Path) -> Callable[[int, Planned], Seed]:
    """`read_seed` that reads each file once: tables of a paper share many runs."""
    seen: dict[tuple[int, Planned], Seed] = {}

    def read(seed: int, planned: Planned) -> Seed:
        key = (seed, planned)
        if key not in seen:
            seen[key] = read_seed(results, seed, planned)
        return seen[key]

    return read
