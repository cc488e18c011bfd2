"""The two ends of a table: what CLIP scores untrained, and what full tuning scores, on the same data."""

from __future__ import annotations

import statistics

from petvr.papers.plan import Plan
from petvr.papers.table import Column, Table
from petvr.report.tables.read_results import Reader, problem, value_of

ENDS = {"zero_shot": "untrained", "full": "full tuning"}
SHOWN = Column("R@1", "t2v")


def brackets(plan: Plan, table: Table, read: Reader, rule: str | None) -> dict[tuple[str, str], dict[str, float]]:
    """(data set, backbone) -> "untrained" and "full tuning" -> text-to-video R@1, the mean of the seeds there are.

    Of the plan's cells the table's own paper's come first; another's recipe is named. A pair is left out where
    one of the two has no result.
    """
    wanted = dict.fromkeys((dataset, cell.backbone) for row in table.rows for dataset, cell in row.cells.items())
    ends: dict[tuple[str, str], dict[str, tuple[str, float]]] = {place: {} for place in wanted}
    for cell in sorted(plan.cells.values(), key=lambda cell: cell.paper != table.paper):
        place = (cell.dataset, cell.backbone)
        name = ENDS.get(cell.method or "")
        if place not in ends or name is None or name in ends[place] or cell.setting.get("freeze"):
            continue  # the last: a part of full tuning is no ceiling
        values = []
        for run in cell.runs:
            seed = read(plan.runs[run])
            if seed.result is not None and seed.state == "ok" and not problem(seed.result, rule, "plain"):
                values.append(value_of(seed.result, SHOWN, rule, "plain"))
        numbers = [value for value in values if value is not None]
        if numbers:
            recipe = "" if cell.paper == table.paper else f" (recipe of {cell.paper})"
            ends[place][name] = name + recipe, statistics.fmean(numbers)
    return {place: dict(both[name] for name in ENDS.values()) for place, both in ends.items() if len(both) == len(ENDS)}
