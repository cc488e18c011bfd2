"""What a measured table holds: its rows, their numbers, and what is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from petvr.papers import Column, Printed, Row, Table
from petvr.report.tables.estimate import Comparison, Estimate
from petvr.report.tables.read_results import SeedResult
from petvr.result import Result
from petvr.spec import RunSpec

if TYPE_CHECKING:
    from petvr.retrieval.paired import Difference  # scipy: not while the workflow is parsed

ALPHA = 0.05


@dataclass(frozen=True)
class Uncertainty:
    """Of one number; intervals of 95 %, in its own unit."""

    queries: tuple[float, float]  # other queries, the same gallery and the same trained models
    both: tuple[float, float] | None = None  # and training again; None with a single seed of what trains
    versus: Difference | None = None  # minus the row it is compared with, on the same queries
    versus_row: str = ""  # the name of that row
    versus_p: float | None = None  # Holm over the rows of the column
    letters: str = ""  # rows of a column that share one do not differ; "" with a single seed

    @property
    def differs(self) -> bool:
        """From the row it is compared with."""
        return self.versus_p is not None and self.versus_p <= ALPHA

    @property
    def interval(self) -> tuple[float, float]:
        return self.both or self.queries


@dataclass(frozen=True)
class Entry:
    """A number of the page: ours, the paper's, and how they compare. `rank`: 1 best, 2 second best, 0 neither."""

    column: Column
    dataset: str
    values: dict[int, float]  # seed -> value
    ours: Estimate | None
    printed: Printed | None
    as_paper: Estimate | None = None  # ours with ties as the paper's code counts them: what the difference is taken of
    check: str = ""  # of a size: the verdict on the printed one (petvr.costs.params); "" where the two do not compare
    gain: float | None = None  # ours over the row over which the paper prints a gain
    difference: float | None = None
    comparison: Comparison | None = None
    incomparable: str = ""  # why a printed number has a difference or a value of ours beside it, and no verdict
    rank: int = 0
    uncertainty: Uncertainty | None = None


@dataclass(frozen=True)
class MeasuredRow:
    """A row with a number for every column and, per data set, the seeds behind them."""

    planned: Row
    entries: tuple[Entry, ...]
    seeds: dict[str, tuple[SeedResult, ...]]
    specs: Mapping[str, RunSpec] = field(default_factory=dict)  # data set -> of a result where there is one

    def used(self, dataset: str | None = None) -> list[Result]:
        """What its numbers are made of, of one data set or of all."""
        chosen = self.seeds.values() if dataset is None else [self.seeds.get(dataset, ())]
        return [seed.result for seeds in chosen for seed in seeds if seed.state == "ok" and seed.result is not None]

    @property
    def done(self) -> bool:
        """Every seed of every data set is measured, or the row is not run here at all."""
        return all(seed.state == "ok" for seeds in self.seeds.values() for seed in seeds)


@dataclass(frozen=True)
class MeasuredTable:
    planned: Table
    rows: tuple[MeasuredRow, ...]
    rule: str | None  # None: as each recipe says
    results: Path
    rerun: str  # command that makes a file of results again
    mixed: tuple[str, ...] = ()  # what differs between the data of its cells, if that was allowed
    locks: Mapping[str, str] = field(default_factory=dict)  # data set -> identity that is frozen today
    unavailable: Mapping[str, str] = field(default_factory=dict)  # data set that cannot be had -> why, and what to do
    intervals: bool = False  # whether formats for paper show them; CSV and HTML do in any case
    versus: tuple[str, ...] = ()  # the rows that others are compared with
    noise: float | None = None  # what an R@1 must differ by to be told apart, in the middle of all pairs of rows
    unread: tuple[str, ...] = ()  # why some rows have no intervals
    search: str = ""  # of own videos: the command that searches with the method that is best on validation
    ends: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)  # petvr.report.tables.brackets

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the paper, and what we add to them."""
        return tuple(entry.column for entry in self.rows[0].entries) if self.rows else self.planned.columns

    @cached_property  # every line of the long form asks
    def world(self) -> str:
        return "synthetic" if any(result.data.world == "synthetic" for result in self.used()) else "real"

    def used(self) -> list[Result]:
        return [result for row in self.rows for result in row.used()]

    @property
    def completeness(self) -> tuple[int, int]:
        return rows_done(self.rows)


def rows_done(rows: Iterable[MeasuredRow]) -> tuple[int, int]:
    """Rows with every seed done, and all rows that are run here."""
    run_here = [row.done for row in rows if row.seeds]
    return sum(run_here), len(run_here)
