"""Names beside points, moved until they neither cover each other nor a point."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

# (dx, dy) in points, horizontal and vertical alignment; the first that fits is taken; from 9 points on with a line
_PLACES = (
    (6, 4, "left", "bottom"),
    (6, -4, "left", "top"),
    (-6, 4, "right", "bottom"),
    (-6, -4, "right", "top"),
    (0, 8, "center", "bottom"),
    (0, -8, "center", "top"),
    (10, 13, "left", "bottom"),
    (10, -13, "left", "top"),
    (-10, 13, "right", "bottom"),
    (-10, -13, "right", "top"),
    (14, 23, "left", "bottom"),
    (14, -23, "left", "top"),
    (-14, 23, "right", "bottom"),
    (-14, -23, "right", "top"),
    (0, 34, "center", "bottom"),
    (0, -34, "center", "top"),
    (24, 44, "left", "bottom"),
    (24, -44, "left", "top"),
    (-24, 44, "right", "bottom"),
    (-24, -44, "right", "top"),
)
_GAP = 1.5  # points that two names stay apart


def mathtext(name: str) -> str:
    """`VoP^F` with a raised F; a dollar sign stays one."""
    return re.sub(r"\^([A-Za-z+]+)", r"$^{\\mathrm{\1}}$", name.replace("$", r"\$"))


class Spot(NamedTuple):
    """A point in data coordinates, its name ("" for none), and the diameter of its mark in points.

    bars: how far its error bars reach, in data coordinates. x None: a line across the panel, named at one of its ends.
    """

    x: float | None
    y: float
    name: str
    size: float
    bars: tuple[float, float] = (0.0, 0.0)


def place_labels(drawn: Any, panels: list[tuple[Any, list[Spot]]]) -> int:
    """Names go where they cover nothing; how many found no such place and are left out.

    Call it last: the layout is settled first and kept.
    """
    from matplotlib.transforms import Bbox

    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")
    renderer, left_out = drawn.canvas.get_renderer(), 0
    for axis, spots in panels:
        at = axis.transData.transform
        marks = [at((spot.x, spot.y)) for spot in spots if spot.x is not None]
        taken = [text.get_window_extent(renderer) for text in axis.texts]
        for spot in spots:
            if spot.x is None:
                continue
            half = spot.size / 2 * drawn.dpi / 72
            taken.append(Bbox([at((spot.x, spot.y)) - half, at((spot.x, spot.y)) + half]))
            for bar in ((spot.bars[0], 0.0), (0.0, spot.bars[1])):
                taken += [
                    Bbox([at((spot.x - bar[0], spot.y - bar[1])) - 1, at((spot.x + bar[0], spot.y + bar[1])) + 1])
                ]
        # the names of lines have the fewest places
        for spot in sorted(
            (spot for spot in spots if spot.name), key=lambda spot: (spot.x is not None, -spot.y, spot.x)
        ):
            place = _place_at_end if spot.x is None else _place
            box = place(axis, spot, taken, marks, renderer)
            left_out += box is None
            taken += [] if box is None else [box.padded(_GAP * drawn.dpi / 72)]
    return left_out


def _place_at_end(axis: Any, spot: Spot, taken: list[Any], marks: list[Any], renderer: Any) -> Any:
    """The box of a line's name, above or below one of its ends; None where none is free."""
    for x, ha in ((0.99, "right"), (0.01, "left")):
        for dy, va in ((2, "bottom"), (-2, "top")):
            text = axis.annotate(
                spot.name, (x, spot.y), xycoords=("axes fraction", "data"), xytext=(0, dy), ha=ha, va=va,
                textcoords="offset points", fontsize=7.5, color="#5b6570",
            )  # fmt: skip
            box = text.get_window_extent(renderer)
            if not any(box.overlaps(other) for other in taken):
                return box
            text.remove()
    return None


def _place(axis: Any, spot: Spot, taken: list[Any], marks: list[Any], renderer: Any) -> Any:
    """The box of the placed name; None where none of the places is free. Without a line that leads to it a name
    stands nowhere nearer to another mark than to its own."""
    from matplotlib.text import Text

    own = axis.transData.transform((spot.x, spot.y))
    inside = axis.get_window_extent(renderer)
    away = max(spot.size / 2 - 3, 0)
    for dx, dy, ha, va in _PLACES:
        led = abs(dy) > 8
        side = (dx > 0) - (dx < 0), (dy > 0) - (dy < 0)
        text = axis.annotate(
            spot.name, (spot.x, spot.y), xytext=(dx + side[0] * away, dy + side[1] * away),
            textcoords="offset points", ha=ha, va=va, fontsize=7.5,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": "#5b6570"} if led else None,
        )  # fmt: skip
        text.update_positions(renderer)
        box = Text.get_window_extent(text, renderer)  # an annotation's own has the line, which begins at the mark
        fits = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        clear = led or min(_distance(box, mark) for mark in marks) >= _distance(box, own) - 0.01
        clear = clear and not any(box.overlaps(other) for other in taken)
        if fits and clear and not (led and _crosses(own, box, taken)):
            return box
        text.remove()
    return None


def _crosses(own: Any, box: Any, taken: list[Any]) -> bool:
    """Whether the line from a mark to its name runs over another mark or name."""
    end = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2  # where matplotlib aims
    line = [(own[0] + (end[0] - own[0]) * part / 20, own[1] + (end[1] - own[1]) * part / 20) for part in range(20)]
    return any(other.contains(*at) for other in taken if not other.contains(*own) for at in line)


def _distance(box: Any, mark: Any) -> float:
    """Pixels from a mark's centre to the nearest edge of a box."""
    across = max(box.x0 - mark[0], 0, mark[0] - box.x1)
    return math.hypot(across, max(box.y0 - mark[1], 0, mark[1] - box.y1))
