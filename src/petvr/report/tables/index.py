"""The page that links all tables, with how much of each is done."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.report.tables import html, markdown
from petvr.report.tables.aggregate import MeasuredTable


def write_index(tables: Iterable[MeasuredTable], folder: str | Path) -> list[Path]:
    """`index.html` and `index.md` in `folder`, beside the papers' folders."""
    tables = list(tables)
    entries = [_entry(table, Path(folder)) for table in tables]
    done, total = sum(entry["done"] for entry in entries), sum(entry["total"] for entry in entries)
    papers = [(paper, list(group)) for paper, group in groupby(entries, key=lambda entry: entry["paper"])]
    synthetic = any(table.world == "synthetic" for table in tables)
    page = html.template("index.html.j2").render(papers=papers, done=done, total=total, synthetic=synthetic)
    lines = ["# petvr: tables" + (" [synthetic world]" if synthetic else ""), ""]
    lines += [f"{done} of {total} rows have every seed measured.", "", "| Table | Shows | Rows done |", "|:--|:--|--:|"]
    for entry in entries:
        link = f"[{markdown.escape(entry['paper'])}, {entry['name']}]({entry['href']}.md)"
        lines.append(f"| {link} | {markdown.escape(entry['title'])} | {entry['done']} / {entry['total']} |")
    paths = [Path(folder) / "index.html", Path(folder) / "index.md"]
    atomic.write_text(paths[0], page)
    atomic.write_text(paths[1], "\n".join(lines) + "\n")
    return paths


def _entry(table: MeasuredTable, folder: Path) -> dict[str, Any]:
    done, total = table.completeness
    planned = table.planned
    partial = f"{planned.paper}/{planned.name}.partial"
    return {
        "paper": planned.paper_title,
        "name": planned.name.replace("_", " "),
        "title": planned.title,
        "href": partial if (folder / f"{partial}.html").exists() else f"{planned.paper}/{planned.name}",
        "done": done,
        "total": total,
        "not_run": len(table.rows) - total,
    }
