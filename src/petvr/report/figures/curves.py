"""R@1 and the training loss over the epochs, with a band of one standard deviation over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from petvr.report.figures import points, style
from petvr.report.figures.label import mathtext
from petvr.report.figures.scatter import empty
from petvr.report.tables import MeasuredTable, caption
from petvr.report.tables.estimate import Estimate
from petvr.report.tables.text import DIRECTION_NAMES


def draw(table: MeasuredTable, path: Path, metric: str = "R@1") -> None:
    """One line of two panels per data set; rows that train nothing are level lines."""
    panels = points.panels(table)
    direction = points.direction(table)
    with style.figure(max(len(panels), 1), 2, 9.2, 3.3 * max(len(panels), 1) + 0.4) as (drawn, axes):
        drawn.suptitle(caption.title(table), fontsize=9, x=0.01, ha="left")
        if not panels:
            empty(axes[0][0])
            axes[0][1].axis("off")
        for (left, right), (title, rows) in zip(axes, panels.items(), strict=False):
            for row in rows:
                course = row.course(direction, metric)
                if len(course) == 1:
                    left.axhline(
                        course[0][1].mean, color=style.colour(row.index), linestyle=style.dashes(row.index),
                        label=mathtext(row.name), linewidth=1,
                    )  # fmt: skip
                else:
                    _line(left, course, row)
                _line(right, row.losses(), row)
            left.set_title(title)
            left.set_ylabel(f"{DIRECTION_NAMES[direction]} {metric} (%)")
            right.set_ylabel("training loss")
            for axis in (left, right):
                axis.set_xlabel("epoch")
                axis.xaxis.get_major_locator().set_params(integer=True)
            handles, labels = left.get_legend_handles_labels()
            right.legend(
                handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1.02), borderaxespad=0, handlelength=3.2
            )
        if panels:
            note = "mean over seeds; bands: sample standard deviation"
            drawn.supxlabel(note, fontsize=7.5, color=style.SOFT, x=0.01, ha="left")
        style.save(drawn, path)


def _line(axis: Any, course: list[tuple[int, Estimate]], row: points.Curve) -> None:
    if not course:
        return
    epochs = [epoch for epoch, _ in course]
    means = [value.mean for _, value in course]
    spread = [value.std or 0.0 for _, value in course]
    colour = style.colour(row.index)
    axis.plot(
        epochs, means, color=colour, linestyle=style.dashes(row.index), marker=style.marker(row.index), markersize=3.5,
        label=mathtext(row.name),
    )  # fmt: skip
    if any(spread):
        low = [mean - std for mean, std in zip(means, spread, strict=True)]
        high = [mean + std for mean, std in zip(means, spread, strict=True)]
        axis.fill_between(epochs, low, high, color=colour, alpha=0.16, linewidth=0)
