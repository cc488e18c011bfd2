"""A table as Markdown: one line per row, the paper's values in a second line below it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from petvr.report.tables import caption, provenance, text
from petvr.report.tables.aggregate import Entry, MeasuredRow, MeasuredTable


def render(table: MeasuredTable) -> str:
    columns = table.planned.columns
    heads = ["", *(text.column_title(column) for column in columns), "Seeds"]
    lines = [f"### {escape(caption.title(table))}", ""]
    lines += [_line(map(escape, heads)), _line([":--", *["--:"] * len(columns), ":--"])]
    above = None
    for row in table.rows:
        head = text.heading(row)
        if head != above and head:
            lines.append(_line([f"*{escape(head)}*", *[""] * (len(columns) + 1)]))
        above = head
        lines.append(
            _line(
                [
                    escape(row.planned.name),
                    *(_measured(row, entry) for entry in row.entries),
                    escape(text.seeds(row)),
                ]
            )
        )
        if text.has_printed(row):
            lines.append(_line(["↳ paper", *(_printed(entry) for entry in row.entries), ""]))
        for what, texts in text.more_lines(table, row):
            lines.append(_line([f"↳ {escape(what)}", *map(escape, texts), ""]))
    lines += ["", *_paragraph(caption.caption(table))]
    notes = caption.notes(table)
    if notes:
        lines += ["", "Notes:", "", *(f"- {escape(note)}" for note in notes)]
    lines += ["", *_paragraph(provenance.footer(table))]
    command = provenance.command(table)
    if command:
        lines += ["", f"Run one again: `{command}`, then ask for this table."]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _paragraph(sentences: list[str]) -> list[str]:
    return [" ".join(escape(sentence) for sentence in sentences)] if sentences else []


def _measured(row: MeasuredRow, entry: Entry) -> str:
    shown = text.measured(entry)
    shown = {0: shown, 1: f"**{shown}**", 2: f"<u>{shown}</u>"}[entry.rank]
    return shown + text.class_mark(row, entry)


def _printed(entry: Entry) -> str:
    difference = text.compared(entry)
    return f"{text.printed(entry)} ({difference})" if difference else text.printed(entry)


def escape(string: str) -> str:
    """Characters that Markdown or a Markdown table would read as markup."""
    string = string.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|*_`\[\]#])", r"\\\1", " ".join(string.split()))
