"""Where a table's numbers come from: revisions and dates, the command that makes a run again, and every guess."""

from __future__ import annotations

from petvr.layout import Layout
from petvr.report.tables.aggregate import MeasuredTable
from petvr.result import Result


def footer(table: MeasuredTable) -> list[str]:
    """Git revisions, dates, hardware."""
    results = table.used()
    said = []
    if results:
        revisions = sorted({_revision(result) for result in results})
        days = sorted({result.provenance.finished[:10] for result in results})
        dates = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        hardware = sorted({_hardware(result) for result in results} - {""})
        said.append(
            f"petvr {', '.join(sorted({r.provenance.petvr for r in results}))}, git {', '.join(revisions)}; "
            f"runs finished {dates}" + (f"; {', '.join(hardware)}" if hardware else "") + "."
        )
    return said


def command(table: MeasuredTable) -> str:
    """What makes one of its runs again; empty for a table without runs. The table follows when asked for."""
    runs = (seed.run for row in table.rows for seeds in row.seeds.values() for seed in seeds)
    example = next(runs, None)
    return f"{table.rerun} --force '{Layout(table.results).result(example).as_posix()}'" if example else ""


def _hardware(result: Result) -> str:
    """The card, else the processor."""
    hardware = result.provenance.hardware
    return str(hardware.get("gpu") or hardware.get("cpu") or hardware.get("device") or "")


def _revision(result: Result) -> str:
    revision = (result.provenance.git_revision or "unknown")[:10]
    return f"{revision} (with local changes)" if result.provenance.git_dirty else revision


def guesses(table: MeasuredTable) -> list[tuple[str, str, str, int]]:
    """Every recipe or setting value no paper states: key, value, reason, how many rows' runs use it."""
    rows: dict[tuple[str, str, str], set[int]] = {}
    for index, row in enumerate(table.rows):
        for result in row.used():
            values = result.spec.values()
            for key, source in result.spec.sources.items():
                if source.origin == "guess":
                    rows.setdefault((key, str(values.get(key, "")), source.where), set()).add(index)
    return [(*key, len(users)) for key, users in sorted(rows.items())]
