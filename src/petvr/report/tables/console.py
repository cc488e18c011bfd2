"""A table on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petvr.report.tables import caption, text
from petvr.report.tables.aggregate import Entry, MeasuredRow, MeasuredTable
from petvr.screen import screen


def show_table(table: MeasuredTable, console: Any = None, *, notes: bool = True) -> None:
    """Print with rich: our values, the paper's below them, the caption and the notes.

    On a narrow screen what truly trains and the last columns are left out, and it says so: half a number is worse than
    none.
    """
    console = console or screen()
    columns = table.columns
    shown = list(range(len(columns)))
    unlimited = console.options.update(max_width=10_000)
    while len(shown) > 1 and console.measure(grid(table, shown), options=unlimited).maximum > console.width:
        shown.remove(next((position for position in shown if columns[position].metric == "trains_M"), shown[-1]))
    console.print(grid(table, shown))
    said, known = caption.caption(table), caption.notes(table)
    if notes:
        said = [*said, *known.general, *(f"({n}) {note}" for n, note in enumerate(known.numbered, start=1))]
    hidden = [text.column_title(column) for position, column in enumerate(columns) if position not in shown]
    if hidden:
        said.insert(0, f"The screen is too narrow for {', '.join(hidden)}.")
    for sentence in said:
        console.print(sentence, style="dim", markup=False, highlight=False)


def grid(table: MeasuredTable, shown: Sequence[int]) -> Any:
    """The rich table, with the columns at these positions."""
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    title = Text(caption.title(table), style="bold")
    out = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in text.front_headings(table):
        out.add_column(Text(name), no_wrap=True)
    for position in shown:
        out.add_column(Text(text.column_title(table.columns[position])), justify="right", no_wrap=True)
    out.add_column("Seeds", overflow="fold", max_width=24)
    blank, above = [""] * (len(text.front_headings(table)) - 1), None
    for row, marks in zip(table.rows, caption.notes(table).marks, strict=True):
        head = text.heading(row)
        if head and head != above:
            out.add_row(Text(head, style="italic dim"))
        above = head
        entries = [row.entries[position] for position in shown]
        cells = [_measured(row, entry) for entry in entries]
        name, *labels = text.front(table, row)
        name += f" ({', '.join(map(str, marks))})" if marks else ""
        out.add_row(Text(name), *map(Text, labels), *cells, Text(text.seeds(row)))
        if text.has_printed(row):
            out.add_row(Text("  paper", style="dim"), *blank, *(_printed(entry) for entry in entries))
    return out


def _measured(row: MeasuredRow, entry: Entry) -> Any:
    from rich.text import Text

    style = {0: "", 1: "bold", 2: "underline"}[entry.rank]
    gain = text.gain(entry)
    return Text(text.measured(entry), style=style) + Text(text.mark(row, entry) + (f" {gain}" if gain else ""))


def _printed(entry: Entry) -> Any:
    from rich.text import Text

    difference = text.compared(entry)
    style = {"bold": "dim bold", "underline": "dim underline"}.get(text.emphasised(entry), "dim")
    return Text(text.printed(entry), style=style) + Text(f" ({difference})" if difference else "", style="dim")
