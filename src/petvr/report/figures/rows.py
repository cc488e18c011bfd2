"""What a figure draws: the rows it names, with their values over seeds and what is printed beside them."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from petvr.layout import Layout
from petvr.papers.figures import PICTURES, FigureSpec, Quantity, parse_quantity
from petvr.papers.plan import Plan
from petvr.papers.table import METRICS, Cell, Column, Row
from petvr.report.figures.spent import Costs, spent_by
from petvr.report.tables import MeasuredTable
from petvr.report.tables.aggregate import Counter
from petvr.report.tables.estimate import Estimate, estimate
from petvr.report.tables.read_results import Reader, problem, value_of
from petvr.report.tables.text import dataset_title
from petvr.result import Result

Epoch = TypeVar("Epoch", int, float)
REFERENCE = "full"  # the method that ratios are taken to, where a figure names no row


@dataclass(frozen=True)
class FigureRow:
    """A row on one data set: the usable results of its seeds, read as its row is read (plain or dual-softmax)."""

    name: str
    dataset: str
    cell: Cell
    results: tuple[Result, ...]
    group: str = ""
    block: str = ""
    planned: Row | None = None  # None: an optional cell
    table: MeasuredTable | None = None  # of an optional cell that of the row it belongs to
    size: float | None = None  # millions of trained parameters as the paper counts; None: as the runs counted theirs

    def epochs(self, quantity: Quantity) -> list[tuple[int, Estimate]]:
        """(epoch, estimate over the seeds that reached it) of a metric."""
        column = Column(quantity.name, quantity.direction)
        values: list[tuple[int, float | None]] = []
        for result in self.results:
            for position, evaluation in enumerate(result.evaluations):
                shown = result.model_copy(update={"selected": {"shown": position}})
                scores = self.cell.evaluate if evaluation.dsl is not None else "plain"
                values.append((evaluation.epoch, value_of(shown, column, "shown", scores)))
        return _estimates(values)

    def losses(self) -> list[tuple[float, Estimate]]:
        """(epoch, or part of one, estimate over the seeds) of the training loss."""
        values = []
        for result in self.results:
            last = result.evaluations[-1]
            folder = Layout(self.table.results).run(result.id) if self.table else Path()
            values += [(last.epoch * step / last.step, loss) for step, loss in result.losses(folder)]
        return _estimates(values)


def absent_runs(states: Mapping[str, int]) -> str:
    """`3 of 22 runs (2 stale, 1 missing)`; empty where all are `ok`."""
    absent = {state: count for state, count in states.items() if state != "ok"}
    each = ", ".join(f"{count} {state}" for state, count in absent.items())
    return f"{sum(absent.values())} of {sum(states.values())} runs ({each})" if absent else ""


def _estimates(values: Iterable[tuple[Epoch, float | None]]) -> list[tuple[Epoch, Estimate]]:
    by_epoch: dict[Epoch, list[float]] = {}
    for epoch, value in values:
        if value is not None:
            by_epoch.setdefault(epoch, []).append(value)
    estimates = ((epoch, estimate(values)) for epoch, values in sorted(by_epoch.items()))
    return [(epoch, value) for epoch, value in estimates if value is not None]


@dataclass(frozen=True)
class FigureRows:
    """A figure and its rows. `rule`: as of a MeasuredTable. `costs`: what `petvr costs --format csv` wrote."""

    paper: str
    name: str
    spec: FigureSpec
    rows: tuple[FigureRow, ...]
    rule: str | None = None
    costs: Costs | None = None
    candidates: tuple[FigureRow, ...] = ()  # of several under one name those that were not the best
    series: tuple[str, ...] = field(default=())  # the names, each once
    states: Mapping[str, int] = field(default_factory=dict)  # `ok`, `stale` ... -> how many of its runs

    @property
    def id(self) -> str:
        return f"{self.paper}/{self.name}"

    @property
    def paper_title(self) -> str:
        return next((row.table.planned.paper_title for row in self.rows if row.table), self.paper)

    @property
    def world(self) -> Literal["synthetic", "real", "nothing"]:
        results = [result for row in self.rows for result in row.results]
        if not results:
            return "nothing"
        return "synthetic" if any(result.data.world == "synthetic" for result in results) else "real"

    @property
    def seeds_note(self) -> list[str]:
        """What a mark stands for, below the figure; nothing where nothing is measured."""
        most = max((len(row.results) for row in self.rows), default=0)
        several = "mean over seeds; error bars: sample standard deviation"
        return [] if not most else ["one seed, no error bars"] if most == 1 else [several]

    @property
    def lacks(self) -> str:
        return absent_runs(self.states)

    @property
    def datasets(self) -> list[str]:
        return list(dict.fromkeys(row.dataset for row in self.rows))

    def value(self, row: FigureRow, quantity: Quantity) -> Estimate | None:
        """Ours; None where nothing is measured."""
        if quantity.setting:
            number = row.cell.setting.get(quantity.name)
            return Estimate(float(number), None, 0) if isinstance(number, int | float) else None
        if quantity.name == "params_M" and row.size is not None:
            ours: Estimate | None = Estimate(row.size, None, 0)
        else:
            values = [self._number(row, result, quantity) for result in row.results]
            ours = estimate([value for value in values if value is not None])
        if ours is None or not quantity.ratio:
            return ours
        base = self._reference(row)
        whole = self.value(base, quantity._replace(ratio=False)) if base else None
        if not whole or not whole.mean:
            return None
        return Estimate(ours.mean / whole.mean, None if ours.std is None else ours.std / whole.mean, ours.n)

    def printed(self, row: FigureRow, quantity: Quantity) -> float | None:
        """What the figure's data, else the row's table, print there."""
        if quantity.setting:
            return None
        plain = quantity._replace(ratio=False, text=quantity.text.removesuffix(" ratio"))
        number = self.spec.printed.get(plain.text, {}).get(row.name, {}).get(row.dataset)
        if number is None:
            number = next(filter(None, (self._in_table(one, plain) for one in self._of_one_name(row))), None)
        if number is None or not quantity.ratio:
            return number
        base = self._reference(row)
        whole = self.printed(base, plain) if base else None
        return number / whole if whole else None

    def drawn_printed(self, row: FigureRow, quantity: Quantity) -> float | None:
        """`printed`, where it is of the same data: not beside a synthetic world's numbers, nor a subset's."""
        subset = any(result.data.data_class == "D" for result in row.results)
        return None if self.world == "synthetic" or subset else self.printed(row, quantity)

    def _of_one_name(self, row: FigureRow) -> list[FigureRow]:
        """The row itself; beside the best of several under one name also the row that the paper prints."""
        if row.planned is not None or all(choice.called != row.name for choice in self.spec.rows):
            return [row]
        return [one for one in self.candidates if (one.name, one.dataset) == (row.name, row.dataset)]

    def _in_table(self, row: FigureRow, quantity: Quantity) -> float | None:
        if row.table is None or row.planned is None:
            return None
        printed = row.table.planned.printed_in(row.planned, Column(quantity.name, quantity.direction, row.dataset))
        return printed.value if printed else None

    def _number(self, row: FigureRow, result: Result, quantity: Quantity) -> float | None:
        if quantity.name in ("time", "memory"):
            return spent_by(result, quantity.name, self.costs)
        if quantity.name == "params_M":
            return result.cost.trainable / 1e6
        column = Column(quantity.name, quantity.direction)
        return value_of(result, column, self.rule, row.cell.evaluate)

    def _reference(self, row: FigureRow) -> FigureRow | None:
        """The row that is 1, on the same data set; of several blocks that of the same one first."""
        bases = [
            base
            for base in self.rows
            if base.dataset == row.dataset
            and (base.name == self.spec.relative_to if self.spec.relative_to else base.cell.method == REFERENCE)
        ]
        return next((base for base in bases if base.block == row.block), bases[0] if bases else None)


def collect_rows(
    plan: Plan, paper: str, name: str, spec: FigureSpec, tables: Mapping[str, MeasuredTable], read: Reader,
    rule: str | None = None, costs: Costs | None = None, count: Counter | None = None,
) -> FigureRows:  # fmt: skip
    """`tables`: those of the figure's rows that are chosen, by name. Of several rows under one name the best stays.

    `count`: as petvr.report.tables.measure_table takes it.
    """
    rows: list[FigureRow] = []
    for choice in spec.rows:
        table = tables.get(choice.table)
        if table is None:
            continue
        for row in table.rows:
            if choice.rows and row.planned.name not in choice.rows:
                continue
            for dataset, cell in row.planned.cells.items():
                if not spec.datasets or dataset in spec.datasets:
                    rows.append(
                        FigureRow(
                            choice.called or table.planned.label(row.planned), dataset, cell, tuple(row.used(dataset)),
                            row.planned.group, row.planned.block, row.planned, table,
                        )
                    )  # fmt: skip
    rows += _optional_rows(plan, paper, spec, rows, read, rule)
    if count and "params_M" in (*spec.x, *spec.y, *spec.values, spec.size):
        rows = [_sized(plan, row, count) for row in rows]
    called = {choice.called for choice in spec.rows}
    everything = FigureRows(paper, name, spec, tuple(rows), rule, costs)
    best = [row for row in rows if row.name not in called or row is _best(everything, row)]
    if any(called):  # as the figure lists them, wherever the best one stood
        names, datasets = ([getattr(row, key) for row in rows] for key in ("name", "dataset"))
        best.sort(key=lambda row: (names.index(row.name), datasets.index(row.dataset)))
    rest = [row for row in rows if not any(row is kept for kept in best)]
    series = tuple(dict.fromkeys(row.name for row in best))
    runs = {run: plan.runs[run] for row in rows for run in row.cell.runs if run in plan.runs}
    states = Counts[str](read(run).state for run in runs.values())
    return FigureRows(paper, name, spec, tuple(best), rule, costs, tuple(rest), series, states)


def _optional_rows(
    plan: Plan, paper: str, spec: FigureSpec, rows: Iterable[FigureRow], read: Reader, rule: str | None
) -> list[FigureRow]:
    """Optional cells whose method has a row here, on its data set; they share its name where only the best is shown."""
    named = {f"{paper}/{optional}" for optional in spec.optional}
    called = {choice.called for choice in spec.rows}
    optional_rows = []
    for cell in plan.cells.values():
        like = next((r for r in rows if (r.cell.method, r.dataset) == (cell.method, cell.dataset)), None)
        if cell.used_in not in named or like is None:
            continue
        results = [seed.result for seed in (read(plan.runs[run]) for run in cell.runs) if seed.state == "ok"]
        usable = tuple(result for result in results if result and not problem(result, rule, cell.evaluate))
        changed = {key: value for key, value in cell.setting.items() if like.cell.setting.get(key) != value}
        more = ", ".join(f"{key}={str(value).lower()}" for key, value in changed.items())
        same = like.name in called and spec.kind not in PICTURES  # a picture shows the two beside each other
        name = like.name if same else f"{like.name}, {more}"
        optional_rows.append(FigureRow(name, cell.dataset, cell, usable, like.group, like.block, None, like.table))
    return optional_rows


def _sized(plan: Plan, row: FigureRow, count: Counter) -> FigureRow:
    """With its size as its paper counts it, so that it stands where the printed one may."""
    runs = [plan.runs[run] for run in row.cell.runs if run in plan.runs]
    spec = row.results[0].spec if row.results else runs[0] if runs else None
    if row.table is None or spec is None:
        return row
    counted = count(row.table.planned, row.cell, spec.recipe, "params_M", "")
    return replace(row, size=counted[0]) if counted else row


def _best(figure: FigureRows, row: FigureRow) -> FigureRow:
    """Of the rows of one name on one data set the best by `best_by`: measured, else printed."""
    quantity = parse_quantity(figure.spec.best_by or figure.spec.y[0])._replace(ratio=False)
    rows = [one for one in figure.rows if (one.name, one.dataset) == (row.name, row.dataset)]

    def worth(one: FigureRow) -> tuple[bool, float]:
        ours = figure.value(one, quantity)
        number = ours.mean if ours else figure.printed(one, quantity)
        sign = -1 if METRICS.get(quantity.name) == "min" else 1
        return ours is not None, float("-inf") if number is None else sign * number

    return max(rows, key=worth)


def panel_title(figure: FigureRows, dataset: str, block: str = "") -> str:
    blocks = {row.block for row in figure.rows if row.dataset == dataset}
    return dataset_title(dataset) + (f" · {block}" if block and len(blocks) > 1 else "")
