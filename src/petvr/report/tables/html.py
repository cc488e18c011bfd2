"""A table as one HTML file that needs nothing else: reads from file://, links every row to its runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from petvr.layout import Layout
from petvr.report.tables import caption, measure, origin, text
from petvr.report.tables.collect import Seed
from petvr.report.tables.compute import Cell, Line, Table


def render(table: Table, folder: Path) -> str:
    """`folder`: where the file will lie; links to runs are relative to it."""
    return template("table.html.j2").render(
        title=caption.title(table),
        synthetic=table.world == "synthetic",
        header_rows=text.header_rows(table),
        columns=table.model.columns,
        first_of_block=_first_columns(table),
        rows=_rows(table, Path(folder)),
        caption=caption.caption(table),
        notes=caption.notes(table),
        footer=origin.footer(table),
        command=origin.command(table),
        guesses=origin.guesses(table),
        name=table.model.table,
        id=table.model.id,
    )


def template(name: str) -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["superscript"] = superscript
    return environment.get_template(name)


def superscript(name: str) -> Any:
    """`VoP^F` with a raised F, everything else escaped."""
    from markupsafe import Markup, escape

    parts = re.split(r"\^([A-Za-z+]+)", name)
    return Markup("").join(
        Markup("<sup>{}</sup>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def _first_columns(table: Table) -> set[int]:
    """Columns where a new data set or direction begins: they get a rule at their left."""
    keys = [(column.dataset, column.direction) for column in table.model.columns]
    return {index for index, key in enumerate(keys) if index and key != keys[index - 1]}


def _rows(table: Table, folder: Path) -> list[dict[str, Any]]:
    rows, above = [], None
    for line in table.lines:
        head = text.heading(line)
        rows.append(
            {
                "heading": head if head != above else "",
                "name": text.row_name(table, line),
                "note": line.row.note,
                "seeds": _seeds(table, line, folder),
                "state": _state(line),
                "cells": [_cell(line, cell) for cell in line.cells],
                "has_printed": text.has_printed(line),
            }
        )
        above = head
    return rows


def _state(line: Line) -> str:
    states = {seed.state for seeds in line.seeds.values() for seed in seeds}
    if not states:
        return "absent"
    return "ok" if states == {"ok"} else "broken" if "failed" in states else "partial"


def _seeds(table: Table, line: Line, folder: Path) -> list[dict[str, Any]]:
    """Per data set: its title where there are several, how many seeds, and a link to each run."""
    told = text.seeds_by_dataset(line)
    return [
        {
            "dataset": table.model.dataset_title(dataset) if len(told) > 1 else "",
            "text": words,
            "runs": [_run(table, seed, folder) for seed in line.seeds.get(dataset, ())],
        }
        for dataset, words in told.items()
    ]


def _run(table: Table, seed: Seed, folder: Path) -> dict[str, str]:
    there = Layout(table.results).run(seed.run)
    link = quote(Path(os.path.relpath(there, folder)).as_posix()) + "/" if there.exists() else ""
    told = f"{seed.run}: {seed.state}" + (f" ({seed.reason})" if seed.reason else "")
    if seed.result is not None and seed.state == "ok":
        epoch = seed.result.at(measure.rule_of(seed.result, table.rule)).epoch
        told += f", epoch {epoch}, {seed.result.cost.train_seconds:.0f} s of training"
    return {"label": str(seed.seed), "link": link, "told": told}


def _cell(line: Line, cell: Cell) -> dict[str, Any]:
    each = ", ".join(f"seed {seed}: {text.number(value, cell.column)}" for seed, value in sorted(cell.values.items()))
    shown, _, spread = text.measured(cell).partition("±")
    return {
        "mean": shown,
        "spread": spread,
        "place": cell.place,
        "mark": text.class_mark(line, cell),
        "each": each,
        "printed": text.printed(cell),
        "remark": cell.printed.remark if cell.printed else "",
        "difference": text.compared(cell),
        "verdict": cell.verdict or "",
    }
