"""R@1 against the time and the memory of training, both relative to full tuning (Cross-Modal Adapter, figure 5).

Time and memory are those of a file that `petvr costs --format csv` wrote: measured steps where it was called with
--measure, else counted operations and activations. Without a file they are those of the runs themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petvr.errors import PetvrError
from petvr.papers.cells import parse_id, split_method
from petvr.report.figures import points, style
from petvr.report.figures.label import mathtext, place_labels
from petvr.report.figures.scatter import empty
from petvr.report.tables import MeasuredRow, MeasuredTable, caption
from petvr.report.tables.text import DIRECTION_NAMES
from petvr.text_files import read_table

# what is read from the file, best first, and what stands at the axis then
TIMES = {"step_ms": "time of a measured step", "step_gflops": "counted operations of a step"}
MEMORIES = {"peak_mb": "peak memory of a measured step", "activations_mb": "activations kept for the backward pass"}
REFERENCE = "full"
FEW = 12  # more names than these stand beside the panels, not beside their points


@dataclass(frozen=True)
class Point:
    """r1: ours where there is a result, else the printed one. time, memory: those of the first row named full are 1."""

    name: str
    time: float
    memory: float
    r1: float
    printed: bool


def read_costs(path: str | Path) -> list[dict[str, str]]:
    """Lines of `petvr costs --format csv`. PetvrError for a file that is none."""
    needed = ("method", "backbone", "similarity", "step_gflops", "activations_mb")
    try:
        lines = list(read_table(Path(path), needed).values())
    except PetvrError as error:
        raise PetvrError(f"{error}; it is written by petvr costs --format csv") from error
    if not lines:
        raise PetvrError(f"{path}: has no line; it is written by petvr costs --format csv")
    return lines


def draw(table: MeasuredTable, path: Path, costs: list[dict[str, str]] | None = None) -> None:
    """Two panels, for the table's first data set. Hollow points: R@1 as printed, nothing is measured yet."""
    drawn_points, axes_of = collect(table, costs)
    with style.figure(1, 2, 10.6, 4.3) as (drawn, axes):
        drawn.suptitle(caption.title(table), fontsize=9, x=0.01, ha="left")
        spots = []
        for axis, key, label in zip(axes.flat, ("time", "memory"), axes_of, strict=True):
            if not drawn_points:
                empty(axis)
                continue
            spots.append((axis, _panel(axis, drawn_points, key)))
            axis.set_xlabel(f"{label}, full tuning = 1")
            axis.set_ylabel(f"{DIRECTION_NAMES[points.direction(table)]} R@1 (%)")
        if len(drawn_points) > FEW:
            handles, names = axes.flat[0].get_legend_handles_labels()
            axes.flat[1].legend(handles, names, loc="upper left", bbox_to_anchor=(1.02, 1.02), fontsize=7)
            spots = []
        if any(point.printed for point in drawn_points):
            note = "hollow: R@1 as the paper prints it"
            drawn.supxlabel(note, fontsize=7.5, color=style.SOFT, x=0.01, ha="left")
        place_labels(drawn, spots)
        style.save(drawn, path)


def _panel(axis: Any, drawn_points: list[Point], key: str) -> list[tuple[float, float, str]]:
    spots = []
    for index, point in enumerate(drawn_points):
        x, colour = getattr(point, key), style.colour(index)
        face = "none" if point.printed else colour
        look = {"marker": style.marker(index), "markerfacecolor": face, "markeredgecolor": colour, "markersize": 6}
        axis.plot(x, point.r1, label=mathtext(point.name), linestyle="", zorder=3, clip_on=False, **look)
        spots.append((x, point.r1, mathtext(point.name)))
    axis.axvline(1, color=style.SOFT, linestyle=(0, (4, 3)), linewidth=1)
    axis.margins(x=0.2, y=0.14)
    axis.set_xlim(left=0)
    return spots


def collect(table: MeasuredTable, costs: list[dict[str, str]] | None = None) -> tuple[list[Point], tuple[str, str]]:
    """The points, and what stands at the two axes. Rows without time, memory or R@1 are left out."""
    columns = ("training time of a pair", "peak memory")
    keys: tuple[str, ...] = ()
    if costs is not None:
        keys = tuple(next(k for k in kinds if all(line.get(k) for line in costs)) for kinds in (TIMES, MEMORIES))
        columns = (TIMES[keys[0]], MEMORIES[keys[1]])
    rows = []
    for row in table.rows:
        runs = [run for cell in list(row.planned.cells.values())[:1] for run in cell.runs]
        if not runs:
            continue
        spent = _of_run(row) if costs is None else _of_file(runs[0], costs, keys)
        r1, printed = _r1(row)
        if spent is not None and r1 is not None:
            rows.append((row.planned.name, parse_id(runs[0]).method, *spent, r1, printed))
    whole = next((row for row in rows if row[1] == REFERENCE), None)
    if whole is None:
        return [], columns
    return [Point(name, t / whole[2], m / whole[3], r1, printed) for name, _, t, m, r1, printed in rows], columns


def _of_run(row: MeasuredRow) -> tuple[float, float] | None:
    """Seconds a pair and bytes of the first seed that has both."""
    for result in row.used(row.planned.dataset):
        cost = result.cost
        if cost.pairs_per_second and cost.peak_memory_bytes:
            return 1 / cost.pairs_per_second, float(cost.peak_memory_bytes)
    return None


def _of_file(run: str, costs: Iterable[dict[str, str]], keys: tuple[str, ...]) -> tuple[float, float] | None:
    """The line of the run's backbone, method and setting; a run's id may also name fields of its recipe."""
    parts = parse_id(run)
    given = set(parts.setting.items())
    best, most = None, -1
    for line in costs:
        method, written = split_method(line["method"])
        setting = set(written.items())
        similar = parts.setting.get("similarity", line["similarity"]) == line["similarity"]
        if (method, line["backbone"]) == (parts.method, parts.backbone) and setting <= given and similar:
            best, most = (line, len(setting)) if len(setting) > most else (best, most)
    if best is None:
        return None
    time, memory = (float(best[key]) for key in keys)
    return time, memory


def _r1(row: MeasuredRow) -> tuple[float | None, bool]:
    """The first R@1 of the row, and whether it is the printed one."""
    for entry in row.entries:
        if (entry.column.metric, entry.dataset) == ("R@1", row.planned.dataset):
            if entry.ours is not None:
                return entry.ours.mean, False
            return (None if entry.printed is None else entry.printed.value), True
    return None, False
