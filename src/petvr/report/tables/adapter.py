"""From a plan of petvr.papers (what the papers print, and which run shows it) to a TableModel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from petvr.data import datasets
from petvr.errors import unknown
from petvr.report.tables.model import METRICS, NOT_RUN, Column, Planned, Printed, Row, TableModel, Want

BETTER = {"high": "max", "low": "min"}


def all_from_plan(plan: Any) -> dict[str, TableModel]:
    """All tables of a `petvr.papers.plan.Plan`, in its order."""
    return {name: from_plan(plan, name) for name in plan.tables}


def from_plan(plan: Any, table: str, not_run: Mapping[str, str] | None = None) -> TableModel:
    """The table `vop/table_3` of a plan. Raises PetvrError if the plan does not have it.

    not_run: run -> why it cannot be made here; a cell of such runs alone says so instead of waiting for them.
    """
    from petvr import papers

    if table not in plan.tables:
        raise unknown("table", table, plan.tables)
    view = plan.tables[table]
    paper = papers.load(view.paper) if view.paper in papers.NAMES else None  # a user's own table has none
    lookup = paper.printed(view.name) if paper else {}
    columns = tuple(_column(column) for column in view.columns)
    rows, printed = [], {}
    for index, row in enumerate(view.rows):
        wants = {dataset: _want(plan, cell, not_run or {}) for dataset, cell in row.cells.items()}
        rows.append(Row(row.name, wants, row.note, row.group, row.block))
        for source, column in zip(view.columns, columns, strict=True):
            for dataset in [source.dataset] if source.dataset else list(row.cells)[:1]:
                found = lookup.get((row.key, dataset, source.direction, source.metric))
                if found is not None:
                    printed[index, column.key] = Printed(found.value, found.std, digits(found), found.remark)
    whole: dict[str, float] = dict(paper.percent_of) if paper else {}
    return TableModel(view.paper, view.name, view.title, columns, tuple(rows), printed, whole, (), datasets.titles())


def _column(column: Any) -> Column:
    if column.metric not in METRICS:
        raise unknown("metric", column.metric, METRICS, "column")
    direction = None if column.direction == "none" else column.direction
    return Column(column.metric, direction, column.dataset, BETTER.get(column.better))  # type: ignore[arg-type]


def _want(plan: Any, cell: Any, not_run: Mapping[str, str]) -> Want:
    if cell.runs and all(run in not_run for run in cell.runs):
        return Want({}, f"{NOT_RUN}: {not_run[cell.runs[0]]}", "", cell.evaluate)
    runs = {plan.runs[run].seed: Planned(run, plan.runs[run].digest()) for run in cell.runs}
    note = f"{cell.quoted.evidence} ({cell.quoted.certainty})" if cell.quoted else ""
    return Want(runs, "" if runs else cell.status, note, cell.evaluate)


def digits(printed: Any) -> str:
    """The value with the digits the paper prints; a printed cell may hold several numbers (`1.3 (1.1%)`).

    Empty for a dash, `?` for a cell that cannot be read.
    """
    if printed.value is None:
        return "" if printed.text in ("", "-") else "?"
    same = [text for text in re.findall(r"\d+(?:\.\d+)?", printed.text) if float(text) == abs(printed.value)]
    text = max(same, key=len) if same else f"{abs(printed.value):g}"
    text = f"-{text}" if printed.value < 0 else text
    return text if printed.std is None else f"{text}±{printed.std:g}"
