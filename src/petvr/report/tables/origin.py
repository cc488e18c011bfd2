"""Where a table's numbers come from: revisions and dates, the command that makes a run again, and every guess."""

from __future__ import annotations

from petvr.layout import Layout
from petvr.report.tables.compute import Table
from petvr.result import Result


def footer(table: Table) -> list[str]:
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


def command(table: Table) -> str:
    """What makes one of its runs again; empty for a table without runs. The table follows when asked for."""
    runs = (seed.run for line in table.lines for seeds in line.seeds.values() for seed in seeds)
    example = next(runs, None)
    return f"{table.rerun} --force '{Layout(table.results).result(example).as_posix()}'" if example else ""


def _hardware(result: Result) -> str:
    """The card, else the processor."""
    found = result.provenance.hardware
    return str(found.get("gpu") or found.get("cpu") or found.get("device") or "")


def _revision(result: Result) -> str:
    revision = (result.provenance.git_revision or "unknown")[:10]
    return f"{revision} (with local changes)" if result.provenance.git_dirty else revision


def guesses(table: Table) -> list[tuple[str, str, str, int]]:
    """Every recipe or setting value no paper states: key, value, reason, how many rows' runs use it."""
    found: dict[tuple[str, str, str], set[int]] = {}
    for index, line in enumerate(table.lines):
        for result in (seed.result for seed in line.used() if seed.result is not None):
            for key, source in result.spec.sources.items():
                if source.origin == "guess":
                    found.setdefault((key, spec_value(result, key), source.where), set()).add(index)
    for guess in table.model.guesses:
        found.setdefault(guess, set())
    return [(*key, len(rows)) for key, rows in sorted(found.items())]


def spec_value(result: Result, key: str) -> str:
    """The value behind a dotted key of `sources`, e.g. `recipe.lr_new` or `setting.tokens`."""
    value = result.spec.model_dump(mode="json")
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return ""
        value = value[part]
    return str(value)
