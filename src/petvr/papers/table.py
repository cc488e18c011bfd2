"""A paper's tables: rows that name cells, columns that name numbers, and what the paper prints there.

A Table, a Row and a Cell are what tables.yaml says of them and more: whatever stands there is an attribute here.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers import schema
from petvr.papers.printed import Printed, PrintedKey
from petvr.papers.recipe import require_field
from petvr.papers.schema import CellSpec, Copied, OptionalSpec, RowSpec, TableSpec, Value
from petvr.spec import checked_value

OWN = "own"  # stands in place of a paper in the table of a user's data set: own/<data set>
TICKED, CROSSED = "✓", "✗"  # in label columns
Direction = Literal["t2v", "v2t"]
DIRECTIONS: dict[str, Direction] = {"t2v": "t2v", "v2t": "v2t"}
METRICS: dict[str, Literal["max", "min"]] = {
    "R@1": "max", "R@5": "max", "R@10": "max", "RSum": "max", "MdR": "min", "MnR": "min",
}  # fmt: skip
COSTS = (  # columns that belong to no direction
    "params_M", "params_percent", "trains_M", "adapter_MB", "memory_G", "forward_gmacs", "forward_gflops", "pairs_s",
    "video_ms", "text_ms", "lr_clip", "lr_new", "lr_head",
)  # fmt: skip


class Column(NamedTuple):
    """One column of numbers."""

    metric: str
    direction: Direction | None = None  # None: parameters, memory, compute
    dataset: str | None = None  # None: the row's own data set
    best: Literal["max", "min"] | None = None  # None: nothing is marked

    @property
    def key(self) -> str:
        """`params_M`, `t2v:R@1`, `didemo:t2v:R@1`"""
        return ":".join(part for part in (self.dataset, self.direction, self.metric) if part)


class Cell(CellSpec):
    """What one row shows for one data set. The last four are a plan's: see petvr.papers.plan."""

    paper: str
    dataset: str
    backbone: str  # in a plan the one that is used, e.g. tiny in the demo
    setting: dict[str, Value] = Field(default={})
    id: str = ""  # "" where it was never planned
    runs: tuple[str, ...] = ()  # their ids, one per seed
    unavailable: str = ""  # why there are no runs: "reported only", "not implemented: vop_f", "not selected", ...
    used_in: str = ""  # of a cell no table shows: the figure, or the choice it was a candidate of

    @property
    def copied(self) -> Copied | None:
        """Why its printed values are taken to be copied."""
        return self.quoted or self.reported_only


class Row(RowSpec):
    cells: dict[str, Cell]  # by data set
    as_guessed: str = ""  # key of the row whose guesses this one replaces by tuned values (petvr.papers.plan)

    @property
    def dataset(self) -> str:
        """Its only data set, or the first of several."""
        return next(iter(self.cells), "")


class Table(TableSpec):
    paper: str
    paper_title: str  # the short one
    name: str
    rows: tuple[Row, ...]
    printed: dict[PrintedKey, Printed] = Field(default={})
    ties: Literal["expected", "released"] = "expected"  # how the paper's code counts tied candidates

    @property
    def id(self) -> str:
        """`vop/table_3`"""
        return f"{self.paper}/{self.name}"

    @functools.cached_property
    def columns(self) -> tuple[Column, ...]:
        return tuple(_columns(self))

    def label(self, row: Row) -> str:
        """A row's name where there are no columns: `#1: LoRM, ASA` and `#4: none of LoRM, ASA` with what they tick."""
        if not self.row_heading or not set(row.labels) & {TICKED, CROSSED}:
            return row.name
        ticked = [name for name, text in zip(self.label_columns, row.labels, strict=True) if text == TICKED]
        return f"{row.name}: {', '.join(ticked) or 'none of ' + ', '.join(self.label_columns)}"

    def with_methods(self, methods: Iterable[str]) -> Table:
        """With a row for each of `methods` that no row has alone, where the table wants them (`other_methods`)."""
        if not self.other_methods:
            return self
        named = {cell.method for row in self.rows for cell in row.cells.values()}
        rows = []
        for method in methods:
            cells = {
                dataset: Cell(paper=self.paper, dataset=dataset, backbone=self.backbone, method=method)
                for dataset in self.datasets
            }
            if method not in named:
                rows.append(Row(name=method, method=method, group=self.other_methods, cells=cells))
        return self.model_copy(update={"rows": (*self.rows, *rows)})

    def only_of(self, datasets: Collection[str]) -> Table:
        """With the columns of these data sets alone; as it is where it has none of them."""
        kept = tuple(name for name in self.datasets if name in datasets)
        rows = (
            row.model_copy(update={"cells": {name: row.cells[name] for name in kept if name in row.cells}})
            for row in self.rows
        )
        table = self.model_copy(update={"datasets": kept, "rows": tuple(rows)}) if kept else self
        table.__dict__.pop("columns", None)  # kept from before
        return table

    def check_against(self, name: str, where: str) -> None:
        """Raises PetvrError where a row is named that the table has not."""
        if name and name not in (names := [row.name for row in self.rows]):
            raise errors.unknown("row", name, names, where)

    @property
    def runs(self) -> tuple[str, ...]:
        """Ids of all runs the table is made of, each once, in the order of the rows; empty without a plan."""
        return tuple(dict.fromkeys(run for row in self.rows for cell in row.cells.values() for run in cell.runs))

    def printed_in(self, row: Row, column: Column) -> Printed | None:
        """What the paper prints there; None where it prints nothing, not even a dash."""
        return self.printed.get(_printed_key(row, column.dataset or row.dataset, column))

    def printed_keys(self) -> set[PrintedKey]:
        """Every (row, data set, direction, metric) this table shows: the join with printed.csv."""
        return {
            _printed_key(row, dataset, column)
            for row in self.rows
            for dataset in row.cells
            for column in self.columns
            if column.dataset in (None, dataset)
        }


def _printed_key(row: Row, dataset: str, column: Column) -> PrintedKey:
    return row.key, dataset, column.direction or "none", column.metric


def make_table(paper: str, file: Path, name: str, spec: TableSpec, **facts: Any) -> Table:
    """`facts`: the fields of Table that are the paper's.

    Raises PetvrError with file, table and row for rows that stand twice, cells without a method and unknown columns.
    """
    rows: dict[str, Row] = {}
    for row in spec.rows:
        where = f"{file}: {name}.rows.{row.key}"
        if row.key in rows:
            raise PetvrError(f"{where}: the row stands there twice")
        datasets = row.datasets if row.datasets is not None else spec.datasets
        cells = {}
        for dataset in datasets:
            exception = datasets[dataset] if isinstance(datasets, dict) else {}
            cells[dataset] = _cell(paper, _merged(row, exception, where), dataset, spec.backbone, where)
        if len(row.labels) != len(spec.label_columns):
            raise PetvrError(
                f"{where}: labels: {len(row.labels)} given, the table has {len(spec.label_columns)} columns"
            )
        rows[row.key] = Row.model_construct(**(dict(row) | {"cells": cells}))
    for text in spec.column_groups:
        _check_columns(text, f"{file}: {name}.columns")
    for row in rows.values():
        if row.gain_over and row.gain_over not in rows:
            raise errors.unknown("row", row.gain_over, rows, f"{file}: {name}.rows.{row.key}.gain_over")
    own = {"paper": paper, "name": name, "rows": tuple(rows.values())}
    table = Table.model_construct(**(dict(spec) | facts | own))
    table.check_against(spec.against, f"{file}: {name}.against")
    shown = table.printed_keys()
    for key in table.printed:
        if key not in shown:
            raise _not_shown(key, shown, f"{file.with_name('printed.csv')}: {name}: {', '.join(key)}")
    return table


def _not_shown(key: PrintedKey, shown: Collection[PrintedKey], where: str) -> PetvrError:
    """What of a line of printed.csv is the first that the table does not have."""
    for place, what in enumerate(("row", "data set", "direction", "metric")):
        allowed = {one[place] for one in shown if one[:place] == key[:place]}
        if key[place] not in allowed:
            return errors.unknown(what, key[place], allowed, f"{where}: the table shows no such cell")
    raise AssertionError(f"{key} is shown")


def _merged(row: RowSpec, exception: Mapping[str, Any], where: str) -> CellSpec:
    """The row with what it says of one data set alone; settings are joined."""
    if not exception:
        return row
    spec = schema.validated(CellSpec, exception, where)
    changed = {key: getattr(spec, key) for key in spec.model_fields_set}
    changed["setting"] = row.setting | spec.setting
    return row.model_copy(update=changed)


def _cell(paper: str, spec: CellSpec, dataset: str, backbone: str, where: str, **more: str) -> Cell:
    if spec.method is None and spec.reported_only is None:
        raise PetvrError(f"{where}: needs `method`, or `reported_only` with its evidence")
    for key, value in spec.variant.items():
        require_field(key, where)
        checked_value(key, value, f"{where}.recipe")
    for key in spec.sources:
        if key not in spec.setting and key not in spec.variant:
            raise errors.unknown("setting or recipe field", key, {*spec.setting, *spec.variant}, f"{where}.sources")
    fields = {key: getattr(spec, key) for key in CellSpec.model_fields}
    fields |= {"paper": spec.paper or paper, "backbone": spec.backbone or backbone, "dataset": dataset}
    return schema.validated(Cell, fields | more, where)


def optional_cells(paper: str, file: Path, specs: Sequence[OptionalSpec]) -> list[Cell]:
    """Cells behind the switch; a list in a setting spans a grid."""
    return [
        _cell(paper, spec.model_copy(update={"setting": setting}), dataset, spec.backbone, where, used_in=used_in)
        for where, spec in ((f"{file}: optional.{number}", spec) for number, spec in enumerate(specs))
        for used_in in [f"{paper}/{spec.used_in}" if spec.used_in else spec.status]
        for dataset in spec.datasets
        for setting in _grid(spec.setting)
    ]


def _columns(spec: TableSpec) -> list[Column]:
    columns = []
    for dataset in spec.datasets if spec.per_dataset else [None]:
        for text in spec.column_groups:
            direction, _, metrics = text.rpartition(":")
            for metric in metrics.split():
                best = METRICS.get(metric)
                if metric == "params_percent" and spec.mark_params:
                    best = "min"
                columns.append(Column(metric, DIRECTIONS.get(direction), dataset, best))
    return columns


def _check_columns(text: str, where: str) -> None:
    direction, colon, metrics = text.rpartition(":")
    if colon and direction not in DIRECTIONS:
        raise errors.unknown("direction", direction, DIRECTIONS, where)
    for metric in metrics.split():
        if metric not in (METRICS if colon else COSTS):
            raise errors.unknown("metric", metric, METRICS if colon else COSTS, f"{where}: '{text}'")


def _grid(setting: Mapping[str, Any]) -> list[dict[str, Value]]:
    """{r: [2, 4], ds: 16} -> [{r: 2, ds: 16}, {r: 4, ds: 16}]"""
    points: list[dict[str, Value]] = [{}]
    for key, value in setting.items():
        values = value if isinstance(value, list) else [value]
        points = [point | {key: one} for point in points for one in values]
    return points
