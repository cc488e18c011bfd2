"""R@1 against the number of trained parameters: one point per row, a bar for the standard deviation over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from petvr.papers.table import Direction
from petvr.report.figures import points, style
from petvr.report.figures.label import mathtext, place_labels
from petvr.report.tables import MeasuredTable, caption
from petvr.report.tables.text import DIRECTION_NAMES


def draw(table: MeasuredTable, path: Path, metric: str = "R@1") -> None:
    """A panel per data set. Rows that train nothing are dashed lines, since they have no place on a log axis."""
    panels = points.panels(table)
    direction = points.direction(table)
    across = min(max(len(panels), 1), 3)
    down = -(-max(len(panels), 1) // across)
    with style.figure(down, across, 5.0 * across + 0.6, 3.9 * down + 0.4) as (drawn, axes):
        drawn.suptitle(caption.title(table), fontsize=9, x=0.01, ha="left")
        cells = list(axes.flat)
        if not panels:
            empty(cells[0])
        groups = list(dict.fromkeys(row.group for rows in panels.values() for row in rows))
        if len(groups) > 1:
            _legend(drawn, groups)
        spots = []
        for axis, (title, rows) in zip(cells, panels.items(), strict=False):
            spots.append((axis, _panel(axis, table, rows, direction, metric, groups)))
            axis.set_title(title)
            axis.set_xlabel("trained parameters (millions)")
            axis.set_ylabel(f"{DIRECTION_NAMES[direction]} {metric} (%)")
        for axis in cells[max(len(panels), 1) :]:
            axis.axis("off")
        if panels:
            note = "mean over seeds; bars: sample standard deviation"
            drawn.supxlabel(note, fontsize=7.5, color=style.SOFT, x=0.01, ha="left")
        place_labels(drawn, spots)
        style.save(drawn, path)


def _legend(drawn: Any, groups: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], marker=style.marker(i), color=style.colour(i), linestyle="", markersize=5.5, label=name or "other"
        )
        for i, name in enumerate(groups)
    ]
    drawn.legend(handles=handles, loc="outside lower right", ncols=len(groups))


def empty(axis: Any) -> None:
    axis.axis("off")
    axis.text(0.5, 0.5, "nothing measured yet", ha="center", va="center", color=style.SOFT, transform=axis.transAxes)


def _panel(
    axis: Any, table: MeasuredTable, rows: list[points.Curve], direction: Direction, metric: str, groups: list[str]
) -> list[tuple[float, float, str]]:
    """Draws the points; returns (x, y, name) of what needs a label."""
    spots = []
    for row in rows:
        value = row.chosen(direction, metric, table.rule)
        if value is None:
            continue
        kind = groups.index(row.group) if len(groups) > 1 else row.index
        if row.trainable() == 0:
            axis.axhline(value.mean, color=style.SOFT, linestyle=(0, (4, 3)), linewidth=1)
            axis.annotate(
                mathtext(row.name), (0.99, value.mean), xycoords=("axes fraction", "data"), xytext=(0, 2),
                textcoords="offset points", ha="right", va="bottom", fontsize=7.5, color=style.SOFT,
            )  # fmt: skip
            continue
        axis.errorbar(
            row.trainable(), value.mean, yerr=value.std, fmt=style.marker(kind), color=style.colour(kind),
            markersize=6, markeredgecolor="white", markeredgewidth=0.6, capsize=2.5, elinewidth=1, zorder=3,
        )  # fmt: skip
        spots.append((row.trainable(), value.mean, mathtext(row.name)))
    if spots:
        axis.set_xscale("log")
        axis.margins(x=0.2, y=0.14)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        low, high = axis.get_xlim()
        narrow = high / low < 20  # then the powers of ten alone would leave the axis without numbers
        axis.xaxis.set_minor_formatter(lambda x, _: f"{x:g}" if narrow and f"{x:e}"[0] in "25" else "")
    return spots
