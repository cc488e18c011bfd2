"""What is drawn: the rows of a table that have results, per data set, with their values over seeds. No matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

from petvr.papers.table import Direction
from petvr.report.tables import MeasuredTable
from petvr.report.tables.estimate import Estimate, estimate
from petvr.report.tables.read_results import rule_of, scores_of
from petvr.report.tables.text import dataset_title
from petvr.result import Result


@dataclass(frozen=True)
class Curve:
    """A row on one data set: its results over seeds, read as its row is read (plain or dual-softmax)."""

    name: str
    index: int  # of its name in the table: keeps its colour in every panel
    group: str
    scores: str
    results: tuple[Result, ...]

    def trainable(self) -> float:
        """In millions."""
        return self.results[0].cost.trainable / 1e6

    def chosen(self, direction: Direction, metric: str, rule: str | None) -> Estimate | None:
        """The number the table shows."""
        values = [self._value(r, r.selected[rule_of(r, rule)], direction, metric) for r in self.results]
        return estimate([value for value in values if value is not None])

    def course(self, direction: Direction, metric: str) -> list[tuple[int, Estimate]]:
        """(epoch, estimate over the seeds that reached it)."""
        values: dict[int, list[float]] = {}
        for result in self.results:
            for index, evaluation in enumerate(result.evaluations):
                value = self._value(result, index, direction, metric)
                if value is not None:
                    values.setdefault(evaluation.epoch, []).append(value)
        return _estimates(values)

    def losses(self) -> list[tuple[int, Estimate]]:
        losses: dict[int, list[float]] = {}
        for result in self.results:
            for evaluation in result.evaluations:
                if evaluation.train_loss is not None:
                    losses.setdefault(evaluation.epoch, []).append(evaluation.train_loss)
        return _estimates(losses)

    def _value(self, result: Result, index: int, direction: Direction, metric: str) -> float | None:
        scores = scores_of(result.evaluations[index], self.scores) or result.evaluations[index].plain
        return scores.get(direction, {}).get(metric)


def _estimates(by_epoch: dict[int, list[float]]) -> list[tuple[int, Estimate]]:
    estimates = ((epoch, estimate(values)) for epoch, values in sorted(by_epoch.items()))
    return [(epoch, value) for epoch, value in estimates if value is not None]


def panels(table: MeasuredTable) -> dict[str, list[Curve]]:
    """Title of a panel (data set, and block where one data set has several) -> rows with at least one usable result."""
    blocks: dict[str, set[str]] = {}
    for row in table.rows:
        for dataset in row.planned.cells:
            blocks.setdefault(dataset, set()).add(row.planned.block)
    names = list(dict.fromkeys(row.planned.name for row in table.rows))
    curves: dict[str, list[Curve]] = {}
    for row in table.rows:
        name, block = row.planned.name, row.planned.block
        for dataset, cell in row.planned.cells.items():
            results = tuple(row.used(dataset))
            if results:
                title = dataset_title(dataset)
                title += f" · {block}" if len(blocks[dataset]) > 1 and block else ""
                curve = Curve(name, names.index(name), row.planned.group, cell.evaluate, results)
                curves.setdefault(title, []).append(curve)
    return curves


def direction(table: MeasuredTable) -> Direction:
    """The first one the table shows."""
    return next((column.direction for column in table.planned.columns if column.direction), "t2v")
