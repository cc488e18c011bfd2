"""From result.json files to tables: Markdown, LaTeX, CSV, HTML, the console, and the page that links them all."""

from __future__ import annotations

from pathlib import Path

from petvr import atomic
from petvr.errors import unknown
from petvr.report.tables import html, latex, longform, markdown
from petvr.report.tables.aggregate import Entry, MeasuredRow, MeasuredTable, completeness, measure_table
from petvr.report.tables.console import show_table
from petvr.report.tables.index import write_index
from petvr.report.tables.longform import frame
from petvr.report.tables.read_results import result_reader
from petvr.report.tables.show import show_run

__all__ = [
    "FORMATS", "Entry", "MeasuredRow", "MeasuredTable", "completeness", "frame", "measure_table", "render",
    "result_reader", "show_run", "show_table", "write_index", "write_table",
]  # fmt: skip

VERSION = 9  # raised when a table would look different: the workflow then builds all tables anew
FORMATS = ("md", "tex", "csv", "html")


def render(table: MeasuredTable, suffix: str, folder: str | Path = ".", name: str | None = None) -> str:
    """One of FORMATS as text; `folder` and `name` say where an HTML file will lie, for its links."""
    match suffix:
        case "md":
            return markdown.render(table)
        case "tex":
            return latex.render(table)
        case "csv":
            return longform.render(table)
        case "html":
            return html.render(table, Path(folder), name or table.planned.name)
    raise unknown("format", suffix, FORMATS)


def write_table(table: MeasuredTable, folder: str | Path, *, partial: bool = False) -> list[Path]:
    """`<folder>/<paper>/<table>.<format>` for every format, atomically; the paths written.

    A table that waits for runs is `<table>.partial.<format>`, so that the workflow sees that the table itself is still
    to come; only one of the two is there.
    """
    home = Path(folder) / table.planned.paper
    whole, part = table.planned.name, f"{table.planned.name}.partial"
    name, other = (part, whole) if partial else (whole, part)
    for suffix in FORMATS:
        atomic.write_text(home / f"{name}.{suffix}", render(table, suffix, home, name))
        (home / f"{other}.{suffix}").unlink(missing_ok=True)
    return [home / f"{name}.{suffix}" for suffix in FORMATS]
