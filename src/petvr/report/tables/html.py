"""A table as one HTML file that needs nothing else: reads from file://, links every row to its runs."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from petvr.layout import Layout
from petvr.report.tables import caption, provenance, text
from petvr.report.tables.aggregate import Entry, MeasuredRow, MeasuredTable
from petvr.report.tables.read_results import SeedResult, rule_of


def render(table: MeasuredTable, folder: Path, name: str) -> str:
    """`folder` and `name`: where the file will lie; its links are relative to that."""
    notes = caption.notes(table)
    return template("table.html.j2").render(
        title=caption.title(table),
        synthetic=table.world == "synthetic",
        header_rows=text.header_rows(table),
        front=text.front_headings(table),
        headings=[text.column_heading(column) for column in table.columns],
        first_of_block=_first_columns(table),
        rows=_rows(table, Path(folder), notes),
        caption=caption.caption(table),
        notes=notes,
        footer=provenance.footer(table),
        command=provenance.command(table),
        search=table.search,
        best=caption.BEST,
        sources=provenance.sources(table),
        columns=[text.column_title(column) for column in table.columns if column.direction],
        versus=" or ".join(table.versus),
        name=name,
        id=table.planned.id,
    )


@cache
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


def _first_columns(table: MeasuredTable) -> set[int]:
    """Columns where a new data set or direction begins: they get a rule at their left."""
    keys = [(column.dataset, column.direction) for column in table.columns]
    return {index for index, key in enumerate(keys) if index and key != keys[index - 1]}


def _rows(table: MeasuredTable, folder: Path, notes: caption.Notes) -> list[dict[str, Any]]:
    rows, above = [], None
    for row, marks in zip(table.rows, notes.marks, strict=True):
        name, *labels = text.front(table, row)
        head = text.heading(row)
        rows.append(
            {
                "heading": head if head != above else "",
                "name": name,
                "title": table.planned.label(row.planned),
                "other": f", minus {text.AS_GUESSED}" if row.planned.as_guessed else "",
                "labels": labels,
                "marks": ", ".join(map(str, marks)),
                "note": " ".join(notes.numbered[number - 1] for number in marks),
                "seeds": _seeds(table, row, folder),
                "state": _state(row),
                "entries": [_entry(row, entry) for entry in row.entries],
                "has_printed": text.has_printed(row),
                "has_interval": any(entry.uncertainty for entry in row.entries),
            }
        )
        above = head
    return rows


def _state(row: MeasuredRow) -> str:
    states = {seed.state for seeds in row.seeds.values() for seed in seeds}
    if not states:
        return "absent"
    return "ok" if states == {"ok"} else "broken" if "failed" in states else "partial"


def _seeds(table: MeasuredTable, row: MeasuredRow, folder: Path) -> list[dict[str, Any]]:
    """Per data set: its title where there are several, how many seeds, and a link to each run."""
    texts = text.seeds_by_dataset(row)
    return [
        {
            "dataset": text.dataset_title(dataset) if len(texts) > 1 else "",
            "text": shown,
            "runs": [_run(table, seed, folder) for seed in row.seeds.get(dataset, ())],
        }
        for dataset, shown in texts.items()
    ]


def _run(table: MeasuredTable, seed: SeedResult, folder: Path) -> dict[str, str]:
    folder_of_run = Layout(table.results).run(seed.run)
    link = quote(Path(os.path.relpath(folder_of_run, folder)).as_posix()) + "/" if folder_of_run.exists() else ""
    summary = f"{seed.run}: {seed.state}" + (f" ({seed.reason})" if seed.reason else "")
    if seed.result is not None and seed.state == "ok":
        epoch = seed.result.at(rule_of(seed.result, table.rule)).epoch
        summary += f", epoch {epoch}, {seed.result.cost.train_seconds:.0f} s of training"
    return {"label": str(seed.seed), "link": link, "summary": summary}


def _entry(row: MeasuredRow, entry: Entry) -> dict[str, Any]:
    each = ", ".join(f"seed {seed}: {text.number(value, entry.column)}" for seed, value in sorted(entry.values.items()))
    shown, _, spread = text.measured(entry).partition("±")
    return {
        "mean": shown,
        "spread": spread,
        "rank": entry.rank,
        "mark": text.mark(row, entry),
        "each": each,
        "gain": text.gain(entry),
        "printed": text.printed(entry),
        "emphasised": text.emphasised(entry),
        "remark": entry.printed.remark if entry.printed else "",
        "difference": text.compared(entry),
        "comparison": entry.comparison or "",
        "verdict": text.verdict(entry),
        "interval": text.interval(entry),
        "retrieval": entry.column.direction is not None,
        "versus": text.versus(entry),
        "differs": bool(entry.uncertainty and entry.uncertainty.differs),
    }
