"""One quantity against another: a point per row, a bar for the standard deviation over seeds, hollow where printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from petvr.papers.figures import Quantity, parse_quantity
from petvr.papers.table import METRICS
from petvr.report.figures import style
from petvr.report.figures.label import Spot, mathtext, place_labels
from petvr.report.figures.rows import FigureRow, FigureRows, panel_title
from petvr.report.tables.estimate import Estimate

MANY = 14  # more names than these in one panel are numbers, with a key beside the panels


class Panel(NamedTuple):
    title: str
    x: Quantity
    y: Quantity
    rows: Sequence[FigureRow]


class Point(NamedTuple):
    row: FigureRow
    x: Estimate
    y: Estimate
    printed: bool


def compose(figure: FigureRows) -> Any:
    panels = [panel for panel in _panels(figure) if any(_points(figure, panel, row) for row in panel.rows)]
    most = max((len(panel.rows) for panel in panels), default=0)
    keyed = most > MANY and not figure.spec.join
    drawn, overlaps = _draw(figure, panels, keyed)
    if overlaps and not keyed:
        drawn, _ = _draw(figure, panels, keyed=True)
    return drawn


def _panels(figure: FigureRows) -> list[Panel]:
    """One per data set and block, and per pair of x and y."""
    panels = []
    places = dict.fromkeys((row.dataset, row.block) for row in figure.rows)
    for dataset, block in places:
        rows = [row for row in figure.rows if (row.dataset, row.block) == (dataset, block)]
        for x in map(parse_quantity, figure.spec.x):
            varied = [row for row in rows if not x.setting or _only_varied(row, x.name, rows)]
            for y in map(parse_quantity, figure.spec.y):
                panels.append(Panel(panel_title(figure, dataset, block), x, y, varied))
    return panels


def _only_varied(row: FigureRow, key: str, rows: Sequence[FigureRow]) -> bool:
    """All settings but `key` are those of the first row of its method."""
    first = next(one for one in rows if one.cell.method == row.cell.method)
    return {k: v for k, v in row.cell.setting.items() if k != key} == {
        k: v for k, v in first.cell.setting.items() if k != key
    }


def _points(figure: FigureRows, panel: Panel, row: FigureRow) -> list[Point]:
    """Ours and the printed one; what is not printed of two values is ours."""
    x, y = figure.value(row, panel.x), figure.value(row, panel.y)
    points = [Point(row, x, y, printed=False)] if x and y else []
    printed_x, printed_y = figure.drawn_printed(row, panel.x), figure.drawn_printed(row, panel.y)
    over = printed_x if printed_x is not None else x.mean if x else None
    if over is not None and printed_y is not None:
        points.append(Point(row, Estimate(over, None, 0), Estimate(printed_y, None, 0), printed=True))
    return points


def _draw(figure: FigureRows, panels: Sequence[Panel], keyed: bool) -> tuple[Any, int]:
    """The figure, and how many names found no place of their own."""
    count = max(len(panels), 1)
    across = count if count < 4 else 2 if count == 4 else 4
    down = -(-count // across)
    with style.figure(down, across, 4.4 * across, 3.5 * down + 0.8) as (drawn, axes):
        style.head(drawn, figure)
        cells = list(axes.flat)
        for axis in cells[len(panels) :]:
            axis.axis("off")
        if not panels:
            style.say_nothing(cells[0])
        kinds = _kinds(figure, keyed)
        spots, hollow, title = [], False, ""
        first: dict[tuple[str, Quantity], Any] = {}  # panels of one y on the same data share its numbers
        for axis, panel in zip(cells, panels, strict=False):
            labels, printed = _panel(figure, axis, panel, kinds, keyed)
            spots.append((axis, labels))
            hollow |= printed
            axis.set_title(panel.title if panel.title != title else "")
            title = panel.title
            axis.set_xlabel(style.axis_label(panel.x, figure.costs))
            axis.set_ylabel(style.axis_label(panel.y, figure.costs))
            like = first.setdefault((panel.title, panel.y), axis)
            if like is not axis:
                axis.sharey(like)
                axis.autoscale(axis="y")
        _legend(drawn, figure, panels, kinds, keyed)
        notes = figure.seeds_note
        notes += ["hollow or dotted: as the paper prints it"] if hollow else []
        notes += ["area of a mark grows with the trained parameters"] if figure.spec.size else []
        style.foot(drawn, notes if panels else [], figure)
        return drawn, place_labels(drawn, spots)


def _kinds(figure: FigureRows, keyed: bool) -> dict[str, int]:
    """Name of a row -> number of its colour and mark: by method where points are joined, else by group."""
    by_name: dict[str, str] = {}
    groups = list(dict.fromkeys(row.group for row in figure.rows))
    for row in figure.rows:
        if figure.spec.join:
            by_name[row.name] = _line_name(row)
        else:
            by_name[row.name] = row.group if len(groups) > 1 and not keyed else row.name
    order = list(dict.fromkeys(by_name.values()))
    return {name: order.index(kind) for name, kind in by_name.items()}


def _line_name(row: FigureRow) -> str:
    """What the points of one line share: `CoOp / 4 tokens` and `CoOp / 16 tokens` are points of CoOp."""
    return row.name.partition(" / ")[0].partition(",")[0]


def _legend(drawn: Any, figure: FigureRows, panels: Sequence[Panel], kinds: dict[str, int], keyed: bool) -> None:
    drawn_rows = ((row, panel, _points(figure, panel, row)) for panel in panels for row in panel.rows)
    marked = (row.name for row, panel, points in drawn_rows if any(not _is_level(panel, point) for point in points))
    shown = list(dict.fromkeys(marked))
    if figure.spec.join:
        names = {_line_name(row): kinds[row.name] for row in figure.rows if row.name in shown}
        if len(names) > 1:
            style.key(drawn, names, lines=True)
    elif keyed:
        style.key(drawn, {f"{figure.series.index(name) + 1} {name}": kinds[name] for name in shown})
    else:
        groups = {row.group or "other": kinds[row.name] for row in figure.rows if row.name in shown}
        if len(groups) > 1:
            style.key(drawn, groups)


def _panel(figure: FigureRows, axis: Any, panel: Panel, kinds: dict[str, int], keyed: bool) -> tuple[list[Spot], bool]:
    """Draws the points; what needs a name, and whether a hollow one is among them."""
    spots: list[Spot] = []
    joined: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    sizes = _sizes(figure, panel)
    hollow = False
    for row in panel.rows:
        kind, points = kinds[row.name], _points(figure, panel, row)
        name = str(figure.series.index(row.name) + 1) if keyed else mathtext(row.name)
        if len(points) == 2 and not figure.spec.join and not any(_is_level(panel, point) for point in points):
            ends = zip(*((point.x.mean, point.y.mean) for point in points), strict=True)  # which printed one is whose
            axis.plot(*ends, color=style.colour(kind), linewidth=0.7, alpha=0.4, zorder=1)
        for point in points:
            hollow |= point.printed
            named = not point.printed or len(points) == 1
            if _is_level(panel, point):
                style.level(axis, point.y.mean, point.printed)
                spots.append(Spot(None, point.y.mean, mathtext(row.name) if named else "", 0))
                continue
            size, face = sizes.get(row.name, 6), "none" if point.printed else style.colour(kind)
            axis.errorbar(
                point.x.mean, point.y.mean, yerr=point.y.std, xerr=point.x.std, linestyle="", marker=style.marker(kind),
                color=style.colour(kind), markersize=size, markerfacecolor=face,
                markeredgecolor=style.colour(kind) if point.printed else "white", markeredgewidth=0.8,
                capsize=2.5, elinewidth=1, alpha=0.6 if point.printed else 1, zorder=3 - size / 100,
            )  # fmt: skip
            joined.setdefault((_line_name(row), point.printed), []).append((point.x.mean, point.y.mean))
            bars = (point.x.std or 0.0, point.y.std or 0.0)
            spots.append(Spot(point.x.mean, point.y.mean, name if named else "", size, bars))
    if figure.spec.join:
        for (name, printed), line in joined.items():
            kind = next(kinds[row.name] for row in panel.rows if _line_name(row) == name)
            xs, ys = zip(*sorted(line), strict=True)
            axis.plot(xs, ys, color=style.colour(kind), linestyle=":" if printed else "-", linewidth=1, zorder=2)
        spots = [
            spot for spot in spots if spot.x is None
        ]  # the lines have their names in the key, the points theirs in the CSV
    if figure.spec.front:
        _front(figure, axis, panel)
    if _is_logarithmic(panel):
        values = {point.x.mean for row in panel.rows for point in _points(figure, panel, row)}
        style.logarithmic(axis, sorted(values) if panel.x.setting else None)
    axis.margins(x=0.18, y=0.16)
    if panel.x.ratio:
        axis.axvline(1, color=style.SOFT, linestyle=(0, (4, 3)), linewidth=1)
        axis.set_xlim(left=0)
    return spots, hollow


def _is_logarithmic(panel: Panel) -> bool:
    return panel.x.name == "params_M" or panel.x.setting


def _is_level(panel: Panel, point: Point) -> bool:
    """What trains nothing is a line across the panel."""
    return _is_logarithmic(panel) and point.x.mean <= 0


def front(points: Sequence[tuple[float, float]], least: bool = False) -> list[tuple[float, float]]:
    """Of (x, y) those that none with less or equal x beats or equals, by x; `least`: small y are good."""
    kept: list[tuple[float, float]] = []
    sign = -1 if least else 1
    for x, y in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if not kept or sign * y > sign * kept[-1][1]:
            kept.append((x, y))
    return kept


def _front(figure: FigureRows, axis: Any, panel: Panel) -> None:
    """A step line through the front of our points, each with a ring; what trains nothing begins it."""
    ours = [(p.x.mean, p.y.mean) for row in panel.rows for p in _points(figure, panel, row) if not p.printed]
    on = [point for point in front(ours, METRICS.get(panel.y.name) == "min") if point[0] > 0]
    if on:
        xs, ys = zip(*on, strict=True)
        axis.step(xs, ys, where="post", color=style.SOFT, linewidth=1, zorder=1)
        axis.plot(xs, ys, linestyle="", marker="o", markersize=11, markerfacecolor="none", markeredgecolor="black",
                  markeredgewidth=0.9, zorder=4)  # fmt: skip


def _sizes(figure: FigureRows, panel: Panel) -> dict[str, float]:
    """Name -> diameter of its mark in points; the area grows with the root of `size`, which spans five decades."""
    if not figure.spec.size:
        return {}
    quantity = parse_quantity(figure.spec.size)
    numbers = {row.name: figure.value(row, quantity) for row in panel.rows}
    values = {name: value.mean for name, value in numbers.items() if value is not None}
    for row in panel.rows:
        values.setdefault(row.name, figure.drawn_printed(row, quantity) or 0.0)
    most = max(values.values(), default=0.0) or 1.0
    return {name: 5 + 14 * (value / most) ** 0.25 for name, value in values.items()}
