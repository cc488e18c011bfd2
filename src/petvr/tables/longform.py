"""A table as CSV in long form: one line per cell, metric and seed, then one with the aggregate; nothing is rounded."""

from __future__ import annotations

import csv
import io

from petvr.tables import measure
from petvr.tables.compute import Cell, Line, Table

FIELDS = (
    "paper", "table", "row_order", "row", "note", "group", "block", "dataset", "backbone", "direction", "metric",
    "kind", "seed", "value", "std", "n", "seeds_wanted", "state", "reason", "printed", "printed_std", "printed_text",
    "difference", "verdict", "place", "rule", "epoch", "scores", "run", "world", "data_digest", "data_class",
    "git_revision", "spec_digest", "finished",
)  # fmt: skip


def render(table: Table) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n", restval="")
    writer.writeheader()
    for order, line in enumerate(table.lines, start=1):
        for cell in line.cells:
            common = _common(table, order, line, cell)
            for seed in line.seeds.get(cell.dataset, ()):
                writer.writerow(common | _seed(table, line, cell, seed))
            writer.writerow(common | _aggregate(line, cell))
    return out.getvalue()


def _common(table: Table, order: int, line: Line, cell: Cell) -> dict:
    want = line.row.wants.get(cell.dataset)
    return {
        "paper": table.model.paper,
        "table": table.model.table,
        "row_order": order,
        "row": line.row.name,
        "note": line.row.note,
        "group": line.row.group,
        "block": line.row.block,
        "dataset": cell.dataset,
        "direction": cell.column.direction or "none",
        "metric": cell.column.metric,
        "scores": want.scores if want else "",
        "rule": table.rule or "",
    }


def _seed(table: Table, line: Line, cell: Cell, seed) -> dict:
    found = {"kind": "seed", "seed": seed.seed, "state": seed.state, "reason": seed.reason, "run": seed.run}
    if seed.state != "ok" or seed.result is None:
        return found
    result, rule = seed.result, measure.rule_of(seed.result, table.rule)
    return found | {
        "value": cell.values.get(seed.seed, ""),
        "n": 1,
        "rule": rule,
        "epoch": result.at(rule).epoch,
        "backbone": result.spec.backbone,
        "world": result.data.world,
        "data_digest": result.data.digest,
        "data_class": result.data.data_class,
        "git_revision": result.provenance.git_revision or "",
        "spec_digest": result.provenance.spec_digest,
        "finished": result.provenance.finished,
    }


def _aggregate(line: Line, cell: Cell) -> dict:
    want, seeds = line.row.wants.get(cell.dataset), line.seeds.get(cell.dataset, ())
    ours, paper = cell.ours, cell.printed
    states = sorted({seed.state for seed in seeds})
    return {
        "kind": "aggregate",
        "value": ours.mean if ours else "",
        "std": ours.std if ours and ours.std is not None else "",
        "n": ours.n if ours else 0,
        "seeds_wanted": len(seeds),
        "state": " ".join(states) if seeds else (want.status if want else ""),
        "backbone": next((seed.result.spec.backbone for seed in seeds if seed.result), line.row.backbone),
        "printed": paper.value if paper and paper.value is not None else "",
        "printed_std": paper.std if paper and paper.std is not None else "",
        "printed_text": paper.text if paper else "",
        "difference": cell.difference if cell.difference is not None else "",
        "verdict": cell.verdict or "",
        "place": cell.place or "",
    }
