"""A table as Markdown: one line per row, the paper's values in a second line below it."""

from __future__ import annotations

import re

from petvr.report.tables import caption, origin, text
from petvr.report.tables.compute import Cell, Line, Table


def render(table: Table) -> str:
    columns = table.model.columns
    heads = ["", *(text.column_title(table, column) for column in columns), "Seeds"]
    lines = [f"### {escape(caption.title(table))}", ""]
    lines += [_line(map(escape, heads)), _line([":--", *["--:"] * len(columns), ":--"])]
    above = None
    for line in table.lines:
        head = text.heading(line)
        if head != above and head:
            lines.append(_line([f"*{escape(head)}*", *[""] * (len(columns) + 1)]))
        above = head
        lines.append(
            _line(
                [
                    escape(text.row_name(table, line)),
                    *(_measured(line, cell) for cell in line.cells),
                    escape(text.seeds(table, line)),
                ]
            )
        )
        if text.has_printed(line):
            lines.append(_line(["↳ paper", *(_printed(cell) for cell in line.cells), ""]))
    lines += ["", *_paragraph(caption.caption(table))]
    notes = caption.notes(table)
    if notes:
        lines += ["", "Notes:", "", *(f"- {escape(note)}" for note in notes)]
    lines += ["", *_paragraph(origin.footer(table))]
    command = origin.command(table)
    if command:
        lines += ["", f"Run one again: `{command}`, then ask for this table."]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _line(cells) -> str:
    return "| " + " | ".join(cells) + " |"


def _paragraph(sentences: list[str]) -> list[str]:
    return [" ".join(escape(sentence) for sentence in sentences)] if sentences else []


def _measured(line: Line, cell: Cell) -> str:
    shown = text.measured(cell)
    shown = {0: shown, 1: f"**{shown}**", 2: f"<u>{shown}</u>"}[cell.place]
    return shown + text.class_mark(line, cell)


def _printed(cell: Cell) -> str:
    difference = text.compared(cell)
    return f"{text.printed(cell)} ({difference})" if difference else text.printed(cell)


def escape(string: str) -> str:
    """Characters that Markdown or a Markdown table would read as markup."""
    string = string.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|*_`\[\]#])", r"\\\1", " ".join(string.split()))
