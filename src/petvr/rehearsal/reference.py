"""What canaries are compared with: zero-shot rows of papers, from their printed.csv, or values that were recorded, of
the demo's world or of another installation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from petvr import atomic, papers
from petvr.data import datasets
from petvr.papers.table import Cell
from petvr.rehearsal.parts import Part
from petvr.result import Directions
from petvr.text_files import read_json, typed

COMPARED = ("R@1", "R@5", "R@10", "MnR")
DEMO_VALUES = Path(__file__).parent / "demo_world.json"
# of printed numbers: what re-encoded clips, other decoders, fp16 and ties come to (docs/rehearsal.md)
POINTS, SHARE = 0.5, 0.03
# of recorded ones under the very same weights: rounding moves a query or two across a rank
SAME_QUERIES, SAME_SHARE = 2, 0.01
# under weights trained anew on another machine: a judgement; rounding alone moves the demo's numbers by several points
ANEW_POINTS, ANEW_SHARE = 12.0, 0.6


@dataclass(frozen=True)
class Reference:
    """What a canary is compared with: numbers with the digits `where` has, and how far ours may be from them.

    points: of R@K; share: of MnR. split: digest of the test split they are of, "" where it is not known. shades: video
    -> mean colours of its frames, where recorded.
    """

    metrics: Directions
    where: str
    points: float
    share: float
    split: str = ""
    shades: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordedCanary:
    """One canary of a file that `petvr rehearse --record` wrote."""

    world: str
    weights: str
    split: str
    queries: Annotated[int, Field(gt=0)]
    metrics: dict[Literal["t2v", "v2t"], dict[str, Annotated[float, Field(ge=0)]]]
    shades: dict[str, Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]]


@dataclass(frozen=True)
class Recorded:
    made_by: str
    canaries: dict[str, RecordedCanary]


class ZeroShotRow(NamedTuple):
    paper: str
    dataset: str
    values: Directions
    where: str


def printed_row(dataset: str) -> ZeroShotRow | None:
    """What papers print of zero-shot with ViT-B/32 on the test set of `dataset`; MSR-VTT's two share theirs."""
    like = {
        dataset,
        *(name for name in datasets.available() if dataset in datasets.available() and _same_test(name, dataset)),
    }
    for paper in papers.readable().values():
        values: Directions = {}
        tables, named = [], ""
        for table in paper.tables.values():
            for row in table.rows:
                for name in sorted(like & row.cells.keys(), key=lambda one: one != dataset):
                    if not _is_zero_shot(row.cells[name]) or named not in ("", name):
                        continue
                    for column in table.columns:
                        printed = table.printed.get((row.key, name, column.direction or "none", column.metric))
                        if column.direction and column.metric in COMPARED and printed and printed.value is not None:
                            values.setdefault(column.direction, {}).setdefault(column.metric, printed.value)
                            named = name
                            tables.append(table.name.removeprefix("table_"))
        if values:
            where = (
                f"{paper.short_title}'s table{'s' if len(set(tables)) > 1 else ''} {', '.join(dict.fromkeys(tables))}"
            )
            return ZeroShotRow(paper.name, named, values, where)
    return None


def _is_zero_shot(cell: Cell) -> bool:
    return cell.method == "zero_shot" and cell.backbone == "vit-b-32"


def _same_test(one: str, other: str) -> bool:
    first, second = datasets.dataset_class(one), datasets.dataset_class(other)
    return first.folder == second.folder and first.counts["test"] == second.counts["test"]


def printed_reference(dataset: str) -> Reference | None:
    row = printed_row(dataset)
    return Reference(row.values, row.where, POINTS, SHARE) if row else None


def recorded_reference(path: Path, canary: str, weights_digest: str, world: str | None = None) -> Reference | None:
    """None where the file has nothing of this canary; of the demo's values, of this world (None: of whatever)."""
    entry = typed(Recorded, read_json(path, dict), path).canaries.get(canary)
    if entry is None or world not in (None, entry.world):
        return None
    same = weights_digest == entry.weights
    points, share = (100 * SAME_QUERIES / entry.queries, SAME_SHARE) if same else (ANEW_POINTS, ANEW_SHARE)
    where = f"values recorded in {path.name}" + ("" if same else ", under other weights")
    return Reference(entry.metrics, where, points, share, entry.split, entry.shades)


def record_values(path: Path, parts: Iterable[Part], made_by: str) -> int:
    """What `--values FILE` compares with, of all canaries that sang; returns how many."""
    canaries: dict[str, Any] = {}
    for part in parts:
        if "metrics" in part.facts:
            keys = ("world", "weights", "split", "queries", "metrics", "shades")
            canaries[part.name.removeprefix("canary-")] = {key: part.facts[key] for key in keys}
    atomic.write_json(path, {"made_by": made_by, "canaries": canaries})
    return len(canaries)
