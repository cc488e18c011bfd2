"""A table in long form, as a pandas DataFrame and as CSV: a line per cell, metric and seed, then one with the
aggregate; nothing is rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from petvr.report.tables import measure
from petvr.report.tables.compute import Cell, Line, Table

if TYPE_CHECKING:
    import pandas

FIELDS = (
    "paper", "table", "row_order", "row", "note", "group", "block", "dataset", "backbone", "direction", "metric",
    "kind", "seed", "value", "std", "n", "seeds_wanted", "state", "reason", "printed", "printed_std", "printed_text",
    "difference", "verdict", "place", "rule", "epoch", "scores", "run", "world", "data_digest", "data_manifest",
    "data_class",
    "git_revision", "spec_digest", "finished",
)  # fmt: skip


def frame(table: Table) -> pandas.DataFrame:
    """Columns FIELDS; what does not apply to a line is None. `kind` is "seed" or "aggregate" (ddof=1)."""
    import pandas

    lines = []
    for order, line in enumerate(table.lines, start=1):
        for cell in line.cells:
            common = _common(table, order, line, cell)
            lines += [common | _seed(table, line, cell, seed) for seed in line.seeds.get(cell.dataset, ())]
            lines.append(common | _aggregate(line, cell))
    return pandas.DataFrame(lines, columns=list(FIELDS), dtype=object)


def render(table: Table) -> str:
    return frame(table).to_csv(index=False, lineterminator="\n")


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
        "data_manifest": result.data.manifest,
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
