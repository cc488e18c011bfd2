"""A table on the screen."""

from __future__ import annotations

from typing import Any

from petvr.report.tables import caption, text
from petvr.report.tables.aggregate import Entry, MeasuredRow, MeasuredTable


def show_table(table: MeasuredTable, console: Any = None, *, notes: bool = True) -> None:
    """Print with rich: our values, the paper's below them, the caption and the notes.

    On a narrow screen the last columns are left out, and it says so: half a number is worse than none.
    """
    from rich.console import Console

    console = console or Console()
    width = len(table.planned.columns)
    unlimited = console.options.update(max_width=10_000)
    while width > 1 and console.measure(grid(table, width), options=unlimited).maximum > console.width:
        width -= 1
    console.print(grid(table, width))
    said = [*caption.caption(table), *(caption.notes(table) if notes else [])]
    if width < len(table.planned.columns):
        hidden = [text.column_title(column) for column in table.planned.columns[width:]]
        said.insert(0, f"The screen is too narrow for {', '.join(hidden)}.")
    for sentence in said:
        console.print(sentence, style="dim", markup=False, highlight=False)


def grid(table: MeasuredTable, width: int | None = None) -> Any:
    """The rich table, with the first `width` columns."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    title = Text(caption.title(table), style="bold")
    out = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    out.add_column("", no_wrap=True)
    for column in table.planned.columns[:width]:
        out.add_column(Text(text.column_title(column)), justify="right", no_wrap=True)
    out.add_column("Seeds", overflow="fold", max_width=24)
    above = None
    for row in table.rows:
        head = text.heading(row)
        if head and head != above:
            out.add_row(Text(head, style="italic dim"))
        above = head
        cells = [_measured(row, entry) for entry in row.entries[:width]]
        out.add_row(Text(row.planned.name), *cells, Text(text.seeds(row)))
        if text.has_printed(row):
            out.add_row(Text("  paper", style="dim"), *(_printed(entry) for entry in row.entries[:width]))
    return out


def _measured(row: MeasuredRow, entry: Entry) -> Any:
    from rich.text import Text

    style = {0: "", 1: "bold", 2: "underline"}[entry.rank]
    return Text(text.measured(entry), style=style) + Text(text.class_mark(row, entry))


def _printed(entry: Entry) -> Any:
    from rich.text import Text

    difference = text.compared(entry)
    return Text(text.printed(entry) + (f" ({difference})" if difference else ""), style="dim")
