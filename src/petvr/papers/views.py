"""What a plan holds: cells, runs, and tables that say which run each of their cells shows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from petvr.papers.schema import Copied, Value
from petvr.papers.table import Column
from petvr.spec import RunSpec, Source


@dataclass(frozen=True)
class Known:
    """What exists, as the caller sees it; None means that everything counts as implemented."""

    methods: Collection[str] | None = None
    similarities: Collection[str] | None = None
    datasets: Collection[str] | None = None
    method_version: Callable[[str], int] = lambda name: 1
    similarity_version: Callable[[str], int] = lambda name: 1
    parts: Mapping[str, int] = field(default_factory=dict)  # e.g. {"training": 2}: versions every run depends on
    # data set -> option -> (chosen value, who chose it)
    options: Mapping[str, Mapping[str, tuple[str, Source]]] = field(default_factory=dict)

    def missing(self, dataset: str, method: str, similarity: str) -> str:
        """Why a cell cannot run: "not implemented: vop_f", "no data set: lsmdc", or "" if it can."""
        lacking = [name for name in method.split("+") if self.methods is not None and name not in self.methods]
        if self.similarities is not None and similarity not in self.similarities and similarity not in lacking:
            lacking.append(similarity)
        if lacking:
            return f"not implemented: {', '.join(lacking)}"
        if self.datasets is not None and dataset not in self.datasets:
            return f"no data set: {dataset}"
        return ""

    def versions(self, method: str, similarity: str) -> dict[str, int]:
        found = {f"methods/{name}": self.method_version(name) for name in method.split("+")}
        return found | {f"similarity/{similarity}": self.similarity_version(similarity)} | dict(self.parts)


@dataclass(frozen=True)
class CellView:
    """One row of a table for one data set. `status` is "run", "reported only", "not implemented: ...",
    "no data set: ..." or "not selected"; `id` is the cell's, `runs` its run ids, both empty where nothing runs."""

    status: str
    id: str = ""
    runs: tuple[str, ...] = ()
    evaluate: str = "plain"  # "dsl": the row shows the scores with dual-softmax
    quoted: Copied | None = None  # the printed values were copied by the paper, see evidence


@dataclass(frozen=True)
class RowView:
    key: str  # the column `row` of printed.csv
    name: str
    note: str
    group: str
    block: str  # best and second best are marked within a block
    cells: dict[str, CellView]  # by data set


@dataclass(frozen=True)
class TableView:
    paper: str
    name: str
    title: str
    note: str
    datasets: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[RowView, ...]

    @property
    def id(self) -> str:
        """`vop/table_3`"""
        return f"{self.paper}/{self.name}"

    @property
    def runs(self) -> tuple[str, ...]:
        """Ids of all runs the table is made of, each once, in the order of the rows."""
        return tuple(dict.fromkeys(run for row in self.rows for cell in row.cells.values() for run in cell.runs))


@dataclass(frozen=True)
class PlannedCell:
    """A distinct cell; `id` is also given where it cannot run, so that lists of cells are complete."""

    id: str
    paper: str
    dataset: str
    backbone: str  # the one used, e.g. "tiny" in the demo
    method: str
    setting: dict[str, Value]
    train: bool
    status: str
    runs: tuple[str, ...]
    tables: tuple[str, ...]  # empty for optional cells
    used_in: str = ""  # optional cells: the figure, or the choice they were candidates of


@dataclass(frozen=True)
class Plan:
    cells: dict[str, PlannedCell]
    runs: dict[str, RunSpec]
    tables: dict[str, TableView]  # "vop/table_3" -> view

    @property
    def training_runs(self) -> list[RunSpec]:
        return [run for run in self.runs.values() if run.train]
