"""Where a table's numbers come from: revisions and dates, the command that makes a run again, every value in force."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from petvr.layout import Layout
from petvr.report.tables.aggregate import MeasuredTable
from petvr.result import Result
from petvr.spec import RunSpec


def footer(table: MeasuredTable) -> list[str]:
    """Git revisions, dates, hardware."""
    results = table.used()
    said = []
    if results:
        revisions = sorted({_revision(result) for result in results})
        days = sorted({result.provenance.finished[:10] for result in results})
        dates = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        hardware = sorted({device(result) for result in results} - {""})
        said.append(
            f"petvr {', '.join(sorted({r.provenance.petvr for r in results}))}, git {', '.join(revisions)}; "
            f"runs finished {dates}" + (f"; {', '.join(hardware)}" if hardware else "") + "."
        )
    return said + origins(table)


def command(table: MeasuredTable) -> str:
    """What makes one of its runs again; empty for a table without runs. The table follows when asked for."""
    runs = (seed.run for row in table.rows for seeds in row.seeds.values() for seed in seeds)
    example = next(runs, None)
    return f"{table.rerun} --force '{Layout(table.results).result(example).as_posix()}'" if example else ""


def device(result: Result) -> str:
    """The card, else the processor."""
    hardware = result.provenance.hardware
    return str(hardware.get("gpu") or hardware.get("cpu") or hardware.get("device") or "")


def _revision(result: Result) -> str:
    revision = (result.provenance.git_revision or "unknown")[:10]
    return f"{revision} (with local changes)" if result.provenance.git_dirty else revision


def sources(table: MeasuredTable) -> list[tuple[str, str, str, str, int]]:
    """Every value in force: key, value, origin, place, how many rows have it; what nobody states comes first."""
    rows: dict[tuple[str, str, str, str], set[int]] = {}
    for index, row in enumerate(table.rows):
        for spec in row.specs.values():
            for key, value in spec.values().items():
                if source := spec.sources.get(key):
                    rows.setdefault((key, _text(value), source.origin, source.where), set()).add(index)
    lines = [(*key, len(users)) for key, users in rows.items()]
    return sorted(lines, key=lambda line: (line[2] != "guess", line))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def origins(table: MeasuredTable) -> list[str]:
    """One sentence: how many values are in force, who states them, and which settings of methods nobody does."""
    specs = [spec for row in table.rows for spec in row.specs.values()]
    stated = [(key, spec.sources[key].origin) for spec in specs for key in spec.values() if key in spec.sources]
    if not stated:
        return []
    counted = Counter(origin for _, origin in stated)
    settings = sorted({key for key, origin in stated if origin == "guess" and not key.startswith("recipe.")})
    named = f"; guessed settings: {', '.join(settings)}" if settings else ""
    each = ", ".join(f"{origin} {number:,}" for origin, number in counted.most_common())
    return [
        f"Values in force: {sum(counted.values()):,}, by origin: {each}{named}; petvr show RUN has each with its place."
    ]


def settings(spec: RunSpec) -> str:
    """`k=3 [paper: RAP section 4.1]; ...`: settings of method and similarity in force, with their sources."""
    named = {key: value for key, value in spec.values().items() if key.startswith(("setting.", "similarity."))}
    where = {key: f" [{source.origin}: {source.where}]" for key, source in spec.sources.items()}
    return "; ".join(
        f"{key.removeprefix('setting.')}={_text(value)}{where.get(key, '')}" for key, value in named.items()
    )
