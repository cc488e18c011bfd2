"""A paper's tables: rows that name cells, columns that name numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from petvr.errors import PetvrError
from petvr.papers import schema
from petvr.papers.printed import PrintedKey
from petvr.papers.recipe import known_field
from petvr.papers.schema import CellSpec, Copied, OptionalSpec, RowSpec, TableSpec, Value

OWN = "own"  # stands in place of a paper in the table of a user's data set: own/<data set>
LOW_IS_GOOD = ("MnR", "MdR")
COSTS = ("params_M", "params_percent", "memory_G", "gflops")  # columns that belong to no direction


class Column(NamedTuple):
    """`dataset` is None where every row has its own data set; direction is "none" for the COSTS."""

    dataset: str | None
    direction: str
    metric: str
    better: str  # "high", "low", or "" where nothing is marked

    @property
    def key(self) -> str:
        """`params_M`, `t2v:R@1`, `didemo:t2v:R@1`"""
        direction = None if self.direction == "none" else self.direction
        return ":".join(part for part in (self.dataset, direction, self.metric) if part)


@dataclass(frozen=True)
class Cell:
    """What one row shows for one data set; `variant` holds the recipe fields set by this cell alone."""

    paper: str
    dataset: str
    backbone: str
    method: str | None
    setting: dict[str, Value]
    variant: dict[str, Value]
    train: bool
    evaluate: str
    quoted: Copied | None
    reported_only: Copied | None


@dataclass(frozen=True)
class Row:
    key: str
    name: str
    note: str
    group: str
    block: str
    cells: dict[str, Cell]  # by data set


@dataclass(frozen=True)
class Table:
    paper: str
    name: str
    title: str
    note: str
    datasets: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def id(self) -> str:
        """`vop/table_3`"""
        return f"{self.paper}/{self.name}"

    def printed_keys(self) -> set[PrintedKey]:
        """Every (row, data set, direction, metric) this table shows: the join with printed.csv."""
        return {
            (row.key, dataset, column.direction, column.metric)
            for row in self.rows
            for dataset in row.cells
            for column in self.columns
            if column.dataset in (None, dataset)
        }


def table(paper: str, file: Path, name: str, spec: TableSpec) -> Table:
    """Raises PetvrError with file, table and row for rows that stand twice and cells without a method."""
    rows, seen = [], set()
    for row in spec.rows:
        where = f"{file}: {name}.rows.{row.key}"
        if row.key in seen:
            raise PetvrError(f"{where}: the row stands there twice")
        seen.add(row.key)
        chosen = row.datasets if row.datasets is not None else spec.datasets
        cells = {}
        for dataset in chosen:
            own = chosen[dataset] if isinstance(chosen, dict) else {}
            cells[dataset] = _cell(paper, _merged(row, own, where), dataset, spec.backbone, where)
        rows.append(Row(row.key, row.name, row.note, row.group, row.block, cells))
    columns = tuple(_columns(spec))
    return Table(paper, name, spec.title, spec.note, tuple(spec.datasets), columns, tuple(rows))


def _merged(row: RowSpec, own: Mapping[str, Any], where: str) -> CellSpec:
    """The row with what it says of one data set alone; settings are joined."""
    if not own:
        return row
    given = schema.validated(CellSpec, own, where)
    changed = {key: getattr(given, key) for key in given.model_fields_set}
    changed["setting"] = row.setting | given.setting
    return row.model_copy(update=changed)


def _cell(paper: str, spec: CellSpec, dataset: str, backbone: str, where: str) -> Cell:
    if spec.method is None and spec.reported_only is None:
        raise PetvrError(f"{where}: needs `method`, or `reported_only` with its evidence")
    for key in spec.recipe:
        known_field(key, where)
    return Cell(
        paper=spec.paper or paper,
        dataset=dataset,
        backbone=spec.backbone or backbone,
        method=spec.method,
        setting=dict(spec.setting),
        variant=dict(spec.recipe),
        train=spec.train,
        evaluate=spec.evaluate,
        quoted=spec.quoted,
        reported_only=spec.reported_only,
    )


def optional(paper: str, file: Path, specs: list[OptionalSpec]) -> list[tuple[OptionalSpec, Cell]]:
    """Cells behind the switch; a list in a setting spans a grid."""
    return [
        (spec, _cell(paper, spec.model_copy(update={"setting": setting}), dataset, spec.backbone, where))
        for where, spec in ((f"{file}: optional.{number}", spec) for number, spec in enumerate(specs))
        for dataset in spec.datasets
        for setting in _grid(spec.setting)
    ]


def _columns(spec: TableSpec) -> list[Column]:
    columns = []
    for dataset in spec.datasets if spec.per_dataset else [None]:
        for text in spec.columns:
            direction, _, metrics = text.rpartition(":")
            for metric in metrics.split():
                better = "low" if metric in LOW_IS_GOOD else "high"
                if metric in COSTS:
                    better = "low" if spec.mark_params and metric == "params_percent" else ""
                columns.append(Column(dataset, direction or "none", metric, better))
    return columns


def _grid(setting: Mapping[str, Any]) -> list[dict[str, Value]]:
    """{r: [2, 4], ds: 16} -> [{r: 2, ds: 16}, {r: 4, ds: 16}]"""
    points: list[dict[str, Value]] = [{}]
    for key, value in setting.items():
        values = value if isinstance(value, list) else [value]
        points = [point | {key: one} for point in points for one in values]
    return points
