"""A table as Markdown: one line per row, the paper's values in a second line below it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from petvr.report.tables import caption, provenance, text
from petvr.report.tables.aggregate import Entry, MeasuredRow, MeasuredTable


def render(table: MeasuredTable) -> str:
    front, columns, notes = text.front_headings(table), table.columns, caption.notes(table)
    heads = [*front, *(text.column_title(column) for column in columns), "Seeds"]
    lines = [f"### {escape(caption.title(table))}", ""]
    lines += [_line(map(escape, heads)), _line([":--", *[":-:"] * (len(front) - 1), *["--:"] * len(columns), ":--"])]
    blank, above = [""] * (len(front) - 1), None
    for row, marks in zip(table.rows, notes.marks, strict=True):
        head = text.heading(row)
        if head != above and head:
            lines.append(_line([f"*{escape(head)}*", *blank, *[""] * (len(columns) + 1)]))
        above = head
        name, *labels = text.front(table, row)
        name = escape(name) + (f"<sup>{', '.join(map(str, marks))}</sup>" if marks else "")
        cells = [name, *map(escape, labels), *(_measured(row, entry) for entry in row.entries)]
        lines.append(_line([*cells, escape(text.seeds(row))]))
        if text.has_printed(row):
            lines.append(_line(["↳ paper", *blank, *(_printed(entry) for entry in row.entries), ""]))
        for what, texts in text.more_lines(table, row):
            lines.append(_line([f"↳ {escape(what)}", *blank, *map(escape, texts), ""]))
    lines += ["", *_paragraph(caption.caption(table))]
    if notes.general or notes.numbered:
        lines += ["", "Notes:", "", *(f"- {escape(note)}" for note in notes.general)]
        lines += [f"- <sup>{number}</sup> {escape(note)}" for number, note in enumerate(notes.numbered, start=1)]
    lines += ["", *_paragraph(provenance.footer(table))]
    if table.search:
        lines += ["", f"{caption.BEST}: `{table.search}`"]
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
    gain = text.gain(entry)
    return shown + text.mark(row, entry) + (f" {gain}" if gain else "")


def _printed(entry: Entry) -> str:
    shown, difference = escape(text.printed(entry)), text.compared(entry)
    shown = {"bold": f"**{shown}**", "underline": f"<u>{shown}</u>"}.get(text.emphasised(entry), shown)
    return f"{shown} ({difference})" if difference else shown


def escape(string: str) -> str:
    """Characters that Markdown or a Markdown table would read as markup."""
    string = string.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|*_`\[\]#])", r"\\\1", " ".join(string.split()))
