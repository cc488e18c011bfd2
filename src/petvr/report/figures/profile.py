"""One quantity over several data sets: a line per data set and direction, a mark per row, hollow where printed."""

from __future__ import annotations

from typing import Any

from petvr.papers.figures import Quantity, parse_quantity
from petvr.report.figures import style
from petvr.report.figures.label import mathtext
from petvr.report.figures.rows import FigureRow, FigureRows, panel_title
from petvr.report.tables.text import DIRECTION_SHORT


def compose(figure: FigureRows) -> Any:
    """Left the profile; right, for the first data set, the first `x`, where the figure's printed data have it."""
    quantities = [parse_quantity(text) for text in figure.spec.y]
    places = [(dataset, quantity) for dataset in figure.datasets for quantity in quantities]
    beside = parse_quantity(figure.spec.x[0]) if figure.spec.x[0] in figure.spec.printed else None
    many = len(figure.series)
    each = min(max(0.42, 0.1 * many), 1.3)
    height = max(each * len(places), 0.19 * many if beside else 0, 0.16 * many / 2) + 1.5
    with style.figure(1, 2 if beside else 1, 10.6 if beside else 8.6, height) as (drawn, axes):
        style.head(drawn, figure)
        hollow = _profile(figure, axes[0][0], places, quantities)
        if beside:
            hollow |= _amounts(figure, axes[0][1], beside)
        if figure.world == "nothing" and not hollow:
            style.say_nothing(axes[0][0])
        else:
            style.key(drawn, {name: index for index, name in enumerate(figure.series)})
        notes = figure.seeds_note
        style.foot(drawn, notes + (["hollow: as the paper prints it"] if hollow else []), figure)
        return drawn


def _profile(figure: FigureRows, axis: Any, places: list[tuple[str, Quantity]], quantities: list[Quantity]) -> bool:
    spread, hollow = 0.76 / max(len(figure.series), 2), False
    for height, (dataset, quantity) in enumerate(reversed(places)):
        for row in figure.rows:
            if row.dataset == dataset:
                index = figure.series.index(row.name)
                at = height + 0.38 - spread * (index + 0.5)
                hollow |= _mark(figure, axis, row, quantity, at, index)
        axis.axhline(height + 0.5, color="#e3e7eb", linewidth=0.6)
    directions = {quantity.direction for quantity in quantities}
    names = [
        panel_title(figure, dataset) + (f" {DIRECTION_SHORT.get(q.direction or '', '')}" if len(directions) > 1 else "")
        for dataset, q in reversed(places)
    ]
    axis.set_yticks(range(len(places)), names)
    axis.set_ylim(-0.5, len(places) - 0.5)
    axis.grid(False, axis="y")
    axis.margins(x=0.08)
    axis.set_xlabel(style.axis_label(quantities[0], figure.costs, direction=len(directions) == 1))
    if quantities[0].ratio:
        axis.axvline(1, color=style.SOFT, linestyle=(0, (4, 3)), linewidth=1)
    return hollow


def _amounts(figure: FigureRows, axis: Any, quantity: Quantity) -> bool:
    """A line per row."""
    dataset, hollow = figure.datasets[0] if figure.datasets else "", False
    for row in figure.rows:
        if row.dataset == dataset:
            index = figure.series.index(row.name)
            hollow |= _mark(figure, axis, row, quantity, -index, index)
    style.logarithmic(axis)
    axis.set_yticks([-index for index in range(len(figure.series))], [mathtext(name) for name in figure.series])
    axis.margins(x=0.15, y=0.08)
    axis.set_title(panel_title(figure, dataset) if dataset else "")
    axis.set_xlabel(style.axis_label(quantity, figure.costs))
    return hollow


def _mark(figure: FigureRows, axis: Any, row: FigureRow, quantity: Quantity, at: float, index: int) -> bool:
    """Ours and the printed one at height `at`; whether there is a printed one."""
    ours, printed = figure.value(row, quantity), figure.drawn_printed(row, quantity)
    look = {"marker": style.marker(index), "color": style.colour(index), "linestyle": "", "markersize": 6}
    if printed is not None:
        axis.plot(printed, at, markerfacecolor="none", alpha=0.7, **look)
    if ours is not None:
        axis.errorbar(ours.mean, at, xerr=ours.std, capsize=2, elinewidth=1, zorder=3, **look)
    return printed is not None
