"""A table in long form, as a pandas DataFrame and as CSV: a line per cell, metric and seed, then one with the
aggregate; nothing is rounded."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from petvr.papers.schema import Value
from petvr.report.tables import caption, provenance, text
from petvr.report.tables.aggregate import Entry, MeasuredRow, MeasuredTable
from petvr.report.tables.read_results import SeedResult, rule_of

if TYPE_CHECKING:
    import pandas

FIELDS = (
    "paper", "table", "row_order", "row", "note", "notes", "table_note", "settings", "group", "block", "dataset",
    "backbone", "direction", "metric", "kind", "seed", "value", "std", "n", "seeds_wanted", "state", "reason",
    "printed", "printed_std", "printed_text", "printed_emphasis", "printed_reconstructed", "size_check", "gain",
    "printed_gain", "difference", "verdict", "low", "high", "queries_low", "queries_high", "letters", "versus_row",
    "versus_difference", "versus_low", "versus_high", "versus_p", "place", "mark", "rule", "epoch", "scores", "run",
    "world", "data_digest", "data_manifest", "data_class", "git_revision", "spec_digest", "finished",
)  # fmt: skip


def frame(table: MeasuredTable) -> pandas.DataFrame:
    """Columns as in `fields_of`; what does not apply to a line is None. `kind` is "seed" or "aggregate" (ddof=1)."""
    import pandas

    return pandas.DataFrame(lines_of(table), columns=fields_of(table), dtype=object)


def render(table: MeasuredTable) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fields_of(table), lineterminator="\n")  # without the import of pandas
    writer.writeheader()
    writer.writerows({key: "" if value != value else value for key, value in line.items()} for line in lines_of(table))
    return out.getvalue()


def fields_of(table: MeasuredTable) -> list[str]:
    """FIELDS, behind `row` those with which the paper labels its rows."""
    behind = FIELDS.index("row") + 1
    return [*FIELDS[:behind], *table.planned.label_columns, *FIELDS[behind:]]


def lines_of(table: MeasuredTable) -> list[dict[str, Value]]:
    lines: list[dict[str, Value]] = []
    notes = caption.notes(table)
    for order, row in enumerate(table.rows, start=1):
        of_row = {"notes": " ".join(notes.numbered[number - 1] for number in notes.marks[order - 1])}
        of_row |= dict(zip(table.planned.label_columns, row.planned.labels, strict=True))
        for entry in row.entries:
            common = _common(table, order, row, entry) | of_row
            lines += [common | _seed(table, entry, seed) for seed in row.seeds.get(entry.dataset, ())]
            lines.append(common | _aggregate(row, entry))
    return lines


def _common(table: MeasuredTable, order: int, row: MeasuredRow, entry: Entry) -> dict[str, Value]:
    cell = row.planned.cells.get(entry.dataset)
    return {
        "paper": table.planned.paper,
        "table": table.planned.name,
        "row_order": order,
        "row": row.planned.name,
        "note": row.planned.note,
        "table_note": table.planned.note,
        "group": row.planned.group,
        "block": row.planned.block,
        "dataset": entry.dataset,
        "direction": entry.column.direction or "none",
        "metric": entry.column.metric,
        "scores": cell.evaluate if cell else "",
        "rule": table.rule or "",
    }


def _seed(table: MeasuredTable, entry: Entry, seed: SeedResult) -> dict[str, Value]:
    common: dict[str, Value] = {
        "kind": "seed",
        "seed": seed.seed,
        "state": seed.state,
        "reason": seed.reason,
        "run": seed.run,
    }
    if seed.state != "ok" or seed.result is None:
        return common
    result, rule = seed.result, rule_of(seed.result, table.rule)
    return common | {
        "value": entry.values.get(seed.seed, ""),
        "n": 1,
        "rule": rule,
        "epoch": result.at(rule).epoch,
        "backbone": result.spec.backbone,
        "world": result.data.world,
        "data_digest": result.data.digest,
        "data_manifest": result.data.manifest,
        "data_class": result.data.data_class,
        "git_revision": result.provenance.git_revision or "",
        "spec_digest": result.provenance.spec_digest,
        "finished": result.provenance.finished,
    }


def _aggregate(row: MeasuredRow, entry: Entry) -> dict[str, Value]:
    cell, seeds = row.planned.cells.get(entry.dataset), row.seeds.get(entry.dataset, ())
    ours, paper = entry.ours, entry.printed
    states = sorted({seed.state for seed in seeds})
    return {
        "kind": "aggregate",
        "value": ours.mean if ours else "",
        "std": ours.std if ours and ours.std is not None else "",
        "n": ours.n if ours else 0,
        "seeds_wanted": len(seeds),
        "state": " ".join(states) if seeds else (cell.unavailable if cell else ""),
        "backbone": next((seed.result.spec.backbone for seed in seeds if seed.result), ""),
        "printed": paper.value if paper and paper.value is not None else "",
        "printed_std": paper.std if paper and paper.std is not None else "",
        "printed_text": paper.digits if paper else "",
        "printed_emphasis": text.emphasised(entry),
        "printed_reconstructed": bool(paper and paper.reconstructed),
        "size_check": entry.check,
        "gain": entry.gain if entry.gain is not None else "",
        "printed_gain": paper.gain if paper else "",
        "settings": provenance.settings(row.specs[entry.dataset]) if entry.dataset in row.specs else "",
        "difference": entry.difference if entry.difference is not None else "",
        "verdict": text.verdict(entry),
        "place": entry.rank or "",
        "mark": text.mark(row, entry),
        **_uncertainty(entry),
    }


def _uncertainty(entry: Entry) -> dict[str, Value]:
    """Intervals of 95 %: by queries and seeds (`low`), by queries alone; the difference to the row compared with."""
    known = entry.uncertainty
    if known is None:
        return {}
    fields: dict[str, Value] = {
        "queries_low": known.queries[0],
        "queries_high": known.queries[1],
        "letters": known.letters,
    }
    if known.both:
        fields |= {"low": known.both[0], "high": known.both[1]}
    if known.versus:
        fields |= {"versus_row": known.versus_row}
        versus = {"difference": known.versus.value, "low": known.versus.low, "high": known.versus.high}
        fields |= {f"versus_{key}": value for key, value in versus.items()}
    return fields if known.versus_p is None else fields | {"versus_p": known.versus_p}
