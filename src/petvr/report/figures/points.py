"""What is drawn: the rows of a table that have results, per data set, with their values over seeds. No matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

from petvr.report.tables import Table, measure
from petvr.report.tables.estimate import Estimate, estimate
from petvr.report.tables.text import row_name
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

    def chosen(self, direction: str, metric: str, rule: str | None) -> Estimate | None:
        """The number the table shows."""
        values = [self._value(r, r.selected[measure.rule_of(r, rule)], direction, metric) for r in self.results]
        return estimate([value for value in values if value is not None])

    def course(self, direction: str, metric: str) -> list[tuple[int, Estimate]]:
        """(epoch, estimate over the seeds that reached it)."""
        found: dict[int, list[float]] = {}
        for result in self.results:
            for index, evaluation in enumerate(result.evaluations):
                value = self._value(result, index, direction, metric)
                if value is not None:
                    found.setdefault(evaluation.epoch, []).append(value)
        return _estimates(found)

    def losses(self) -> list[tuple[int, Estimate]]:
        found: dict[int, list[float]] = {}
        for result in self.results:
            for evaluation in result.evaluations:
                if evaluation.train_loss is not None:
                    found.setdefault(evaluation.epoch, []).append(evaluation.train_loss)
        return _estimates(found)

    def _value(self, result: Result, index: int, direction: str, metric: str) -> float | None:
        scores = measure.directions(result.evaluations[index], self.scores) or result.evaluations[index].plain
        return scores.get(direction, {}).get(metric)


def _estimates(found: dict[int, list[float]]) -> list[tuple[int, Estimate]]:
    made = ((epoch, estimate(values)) for epoch, values in sorted(found.items()))
    return [(epoch, value) for epoch, value in made if value is not None]


def panels(table: Table) -> dict[str, list[Curve]]:
    """Title of a panel (data set, and block where one data set has several) -> rows with at least one usable result."""
    blocks: dict[str, set[str]] = {}
    for line in table.lines:
        for dataset in line.row.wants:
            blocks.setdefault(dataset, set()).add(line.row.block)
    names = list(dict.fromkeys(row_name(table, line) for line in table.lines))
    found: dict[str, list[Curve]] = {}
    for line in table.lines:
        name = row_name(table, line)
        for dataset, want in line.row.wants.items():
            results = tuple(seed.result for seed in line.used(dataset) if seed.result is not None)
            if results:
                title = table.model.dataset_title(dataset)
                title += f" · {line.row.block}" if len(blocks[dataset]) > 1 and line.row.block else ""
                curve = Curve(name, names.index(name), line.row.group, want.scores, results)
                found.setdefault(title, []).append(curve)
    return found


def direction(table: Table) -> str:
    """The first one the table shows."""
    return next((column.direction for column in table.model.columns if column.direction), "t2v")
