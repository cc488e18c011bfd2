"""Courses of training: a small panel per row and data set, R@1 as bars by epoch, the training loss as a line by step.

All panels share their axes, so that 40 rows compare as two do.
"""

from __future__ import annotations

import textwrap
from typing import Any

from petvr.papers.figures import parse_quantity
from petvr.report.figures import style
from petvr.report.figures.label import mathtext
from petvr.report.figures.rows import FigureRow, FigureRows, panel_title

BAR, LOSS = style.COLOURS[4], style.COLOURS[1]


def compose(figure: FigureRows) -> Any:
    rows = [row for row in figure.rows if row.results]
    count = max(len(rows), 1)
    across = count if count <= 3 else min(6, max(3, round((1.4 * count) ** 0.5)))
    down = -(-count // across)
    wide, high = (3.4, 2.4) if count <= 3 else (2.1, 1.5)
    # in inches: titles above the panels, room for the shared numbers at the sides
    left, right, top, bottom, gap = 0.75, 0.75, 0.95, 0.85, 0.5
    width, height = left + right + wide * across, top + bottom + high * down
    with style.figure(down, across, width, height, layout=None) as (drawn, axes):
        drawn.subplots_adjust(
            left=left / width, right=1 - right / width, bottom=bottom / height, top=1 - top / height, wspace=0.08,
            hspace=gap / (high - gap),
        )  # fmt: skip
        style.head(drawn, figure, y=1 - 0.12 / height)
        cells = list(axes.flat)
        for axis in cells[len(rows) :]:
            axis.axis("off")
        if not rows:
            style.say_nothing(cells[0])
            return drawn
        quantity = parse_quantity(figure.spec.y[0])
        highest, losses, epochs = _extent(figure, rows)
        for number, (axis, row) in enumerate(zip(cells, rows, strict=False)):
            loss_axis = _panel(figure, axis, row, highest, losses)
            axis.set_xlim(-0.6, epochs + 0.6)
            axis.set_xticks(range(0, epochs + 1, max(round(epochs / 5), 1)))
            axis.set_title(_title(figure, row, int(wide * 15)), fontsize=7.5, pad=3)
            axis.tick_params(labelleft=number % across == 0, labelbottom=number + across >= len(rows), labelsize=7)
            last = number % across == across - 1 or number == len(rows) - 1
            loss_axis.tick_params(labelright=last, labelsize=7, colors=LOSS)
        drawn.text(0.12 / width, 0.5, f"{style.axis_label(quantity)}, bars", rotation=90, va="center", fontsize=8)
        drawn.text(
            1 - 0.12 / width, 0.5, "training loss, line", rotation=90, va="center", ha="right", fontsize=8, color=LOSS
        )
        drawn.text(0.5, 0.42 / height, "epoch", ha="center", fontsize=8)
        notes = figure.seeds_note
        printed = any(figure.drawn_printed(row, quantity) is not None for row in rows)
        style.foot(drawn, notes + (["dashed: as the paper prints it"] if printed else []), figure, y=0.1 / height)
        return drawn


def _extent(figure: FigureRows, rows: list[FigureRow]) -> tuple[float, float, int]:
    """The largest metric, the largest loss, the last epoch."""
    quantity = parse_quantity(figure.spec.y[0])
    metrics = [value.mean + (value.std or 0) for row in rows for _, value in row.epochs(quantity)]
    losses = [value.mean for row in rows for _, value in row.losses()]
    printed = [figure.drawn_printed(row, quantity) or 0.0 for row in rows]
    last = max((epoch for row in rows for epoch, _ in row.epochs(quantity)), default=0)
    return max([*metrics, *printed, 1.0]) * 1.05, max([*losses, 1e-6]) * 1.08, last


def _panel(figure: FigureRows, axis: Any, row: FigureRow, highest: float, losses: float) -> Any:
    quantity = parse_quantity(figure.spec.y[0])
    course = row.epochs(quantity)
    if course:
        errors = [value.std or 0 for _, value in course]
        axis.bar(
            [epoch for epoch, _ in course], [value.mean for _, value in course], color=BAR, width=0.7,
            yerr=errors if any(errors) else None, error_kw={"elinewidth": 0.8, "capsize": 1.5, "ecolor": style.SOFT},
        )  # fmt: skip
    printed = figure.drawn_printed(row, quantity)
    if printed is not None:
        axis.axhline(printed, color=style.COLOURS[0], linestyle=(0, (4, 3)), linewidth=0.8)
    axis.set_ylim(0, highest)
    axis.grid(False, axis="x")
    beside = axis.twinx()
    trained = row.losses()
    if trained:
        beside.plot(
            [epoch for epoch, _ in trained],
            [value.mean for _, value in trained],
            color=LOSS,
            marker="o" if len(trained) < 30 else "",
            markersize=2.5,
            linewidth=1,
        )
    beside.set_ylim(0, losses)
    beside.grid(False)
    return beside


def _title(figure: FigureRows, row: FigureRow, wide: int) -> str:
    lines = textwrap.wrap(row.name, wide)
    place = panel_title(figure, row.dataset, row.block)
    if len({(one.dataset, one.block) for one in figure.rows}) > 1:
        lines.append(place)
    return "\n".join(mathtext(line) for line in lines[:2] if line)
