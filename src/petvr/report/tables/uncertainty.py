"""What test queries and seeds can tell of a table's numbers: intervals, paired differences to one row, letters.

All from the runs' stored ranks (petvr.retrieval.outcomes), with the gallery as it is. Verdicts and letters use queries
and seeds together: a test over queries alone calls identical methods different far too often.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.report.tables.measured import ALPHA, MeasuredTable, Uncertainty
from petvr.result import metric_range
from petvr.retrieval.outcomes import RankFile, RunOutcomes, require_same_queries
from petvr.retrieval.paired import Difference, all_differences, holm, letters, mean_with_interval, run_letters

if TYPE_CHECKING:
    import numpy as np

MOST_LETTERS = 10  # where a column needs more to be exact, runs of its order are named instead


def add_uncertainty(table: MeasuredTable, against: str | None = None) -> MeasuredTable:
    """`against`: name of the row that others are compared with; else the table's own, full tuning, or a block's first.

    Raises PetvrError for a row that the table has not.
    """
    names = [row.planned.name for row in table.rows]
    table.planned.check_against(against or "", table.planned.id)
    against = against or table.planned.against or None
    outcomes, unread = _outcomes(table)
    by_place: dict[tuple[int, int], Uncertainty] = {}  # (row, column)
    versus: dict[str, None] = {}
    widths: list[float] = []
    for column, members in _columns(table, outcomes):
        reference = _reference(table, members, column, against)
        versus |= {names[reference]: None} if reference is not None else {}
        by_place |= _column(table, outcomes, column, members, _compared_with(table, members, reference), widths)
    rows = []
    for index, row in enumerate(table.rows):
        entries = (replace(entry, uncertainty=by_place.get((index, n))) for n, entry in enumerate(row.entries))
        rows.append(replace(row, entries=tuple(entries)))
    noise = statistics.median(widths) if widths else None
    return replace(table, rows=tuple(rows), versus=tuple(versus), noise=noise, unread=unread)


def _outcomes(table: MeasuredTable) -> tuple[dict[tuple[int, str], RunOutcomes], tuple[str, ...]]:
    """(row, data set) -> its finished seeds; and why some cannot be read."""
    layout, kept, unread = Layout(table.results), dict[tuple[int, str], RunOutcomes](), []
    for index, row in enumerate(table.rows):
        for dataset in row.seeds:
            results = row.used(dataset)
            if not results:
                continue
            files = [RankFile(layout.run(result.id) / "ranks.npz") for result in results]
            measured = RunOutcomes(row.planned.name, results, files)
            try:
                require_same_queries(measured, measured)
                kept[index, dataset] = measured
            except PetvrError as error:
                unread.append(str(error))
    return kept, tuple(unread)


def _columns(table: MeasuredTable, outcomes: dict[tuple[int, str], RunOutcomes]) -> list[tuple[int, list[int]]]:
    """(column, rows that are compared in it): of one block and data set, with a metric that is a mean over queries."""
    groups: dict[tuple[int, str, str], list[int]] = {}
    for index, row in enumerate(table.rows):
        for position, entry in enumerate(row.entries):
            is_mean = entry.column.direction is not None and entry.column.metric != "MdR"
            if is_mean and entry.ours and (index, entry.dataset) in outcomes:
                groups.setdefault((position, entry.dataset, row.planned.block), []).append(index)
    return [(position, rows) for (position, *_), rows in groups.items()]


def _reference(table: MeasuredTable, rows: list[int], column: int, against: str | None) -> int | None:
    dataset = table.rows[rows[0]].entries[column].dataset
    cells = {index: table.rows[index].planned.cells[dataset] for index in rows}
    if against is None:
        chosen = [index for index, cell in cells.items() if cell.method == "full"] or rows
    else:  # in a block that has no such name the row that shows the same runs
        named = [
            row.planned.cells[dataset] for row in table.rows if row.planned.name == against and dataset in row.seeds
        ]
        chosen = [index for index in rows if table.rows[index].planned.name == against]
        chosen = chosen or [index for index, cell in cells.items() if any(cell.runs == one.runs for one in named)]
    return chosen[0] if chosen else None


def _compared_with(table: MeasuredTable, rows: list[int], reference: int | None) -> dict[int, int]:
    """Row -> the one it is compared with: a row whose guesses are tuned with itself as guessed, all others with one."""
    by_key = {table.rows[index].planned.key: index for index in rows}
    guessed = {index: table.rows[index].planned.as_guessed for index in rows}
    others = {index: by_key.get(key) if key else reference for index, key in guessed.items()}
    return {index: other for index, other in others.items() if other is not None and other != index}


def _column(
    table: MeasuredTable,
    outcomes: dict[tuple[int, str], RunOutcomes],
    column: int,
    rows: list[int],
    compared_with: dict[int, int],
    widths: list[float],
) -> dict[tuple[int, int], Uncertainty]:
    entry = table.rows[rows[0]].entries[column]
    direction, metric = str(entry.column.direction), entry.column.metric
    values: dict[int, np.ndarray] = {}
    for index in rows:
        dsl = table.rows[index].planned.cells[entry.dataset].evaluate == "dsl"
        values[index] = outcomes[index, entry.dataset].of(direction, metric, table.rule or "paper", dsl=dsl)
    video = outcomes[rows[0], entry.dataset].videos_of(direction)
    pairs = all_differences(values, video)
    # with several seeds, or nothing trained: another seed would give the same
    repeated = [i for i in rows if len(values[i]) > 1 or not table.rows[i].planned.cells[entry.dataset].train]
    among = {pair: difference for pair, difference in pairs.items() if set(pair) <= set(repeated)}
    if metric == "R@1":
        widths += [(difference.high - difference.low) / 2 for difference in among.values()]
    named = _letters(table, column, repeated, among)
    differences = {index: _from(pairs, index, other) for index, other in compared_with.items()}
    tested = [index for index in differences if index in repeated and compared_with[index] in repeated]
    adjusted = dict(zip(tested, holm([differences[index].p for index in tested]), strict=True))
    return {
        (index, column): Uncertainty(
            queries=_ends(metric, mean_with_interval(values[index].mean(0, keepdims=True), video)),
            both=_ends(metric, mean_with_interval(values[index], video)) if index in repeated else None,
            versus=differences.get(index),
            versus_row=table.rows[compared_with[index]].planned.name if index in differences else "",
            versus_p=adjusted.get(index),
            letters=named.get(index, ""),
        )
        for index in rows
    }


def _letters(
    table: MeasuredTable, column: int, rows: Sequence[int], pairs: dict[tuple[int, int], Difference]
) -> dict[int, str]:
    """None where one row alone has several seeds: it is compared with nothing."""
    if len(rows) < 2:
        return {}
    adjusted = holm([difference.p for difference in pairs.values()])
    differ = {frozenset(pair) for pair, p in zip(pairs, adjusted, strict=True) if p <= ALPHA}

    def value(index: int) -> float:
        ours = table.rows[index].entries[column].ours
        return ours.mean if ours else 0.0

    best = table.rows[rows[0]].entries[column].column.best
    order = sorted(rows, key=value, reverse=best == "max")
    exact = letters(order, differ)
    return exact if len(set().union(*exact.values())) <= MOST_LETTERS else run_letters(order, differ)


def _from(pairs: dict[tuple[int, int], Difference], index: int, reference: int) -> Difference:
    if (index, reference) in pairs:
        return pairs[index, reference]
    turned = pairs[reference, index]
    return Difference(-turned.value, -turned.high, -turned.low, turned.p)


def _ends(metric: str, mean: Difference) -> tuple[float, float]:
    """Within what the metric can be: two seeds far apart give ends beyond it."""
    low, high = metric_range(metric)
    return max(mean.low, low), min(mean.high, high)
