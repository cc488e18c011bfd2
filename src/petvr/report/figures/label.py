"""Names beside points, moved until they neither cover each other nor a point."""

from __future__ import annotations

import re
from typing import Any

# (dx, dy) in points, horizontal and vertical alignment; the first that fits is taken
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
)


def mathtext(name: str) -> str:
    """`VoP^F` with a raised F; a dollar sign stays one."""
    return re.sub(r"\^([A-Za-z+]+)", r"$^{\\mathrm{\1}}$", name.replace("$", r"\$"))


def place_labels(drawn: Any, panels: list[tuple[Any, list[tuple[float, float, str]]]]) -> None:
    """`panels`: (axis, [(x, y, label)]) in data coordinates. Call it last: the layout is settled first and kept."""
    from matplotlib.transforms import Bbox

    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")
    renderer = drawn.canvas.get_renderer()
    for axis, spots in panels:
        taken = []
        for x, y, _ in spots:
            px, py = axis.transData.transform((x, y))
            taken.append(Bbox.from_extents(px - 5, py - 5, px + 5, py + 5))
        for spot in sorted(spots, key=lambda spot: (-spot[1], spot[0])):
            taken.append(_place(axis, *spot, taken, renderer))


def _place(axis: Any, x: float, y: float, label: str, taken: list[Any], renderer: Any) -> Any:
    inside = axis.get_window_extent(renderer)
    best = None
    for dx, dy, ha, va in _PLACES:
        text = axis.annotate(
            label, (x, y), xytext=(dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=7.5,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": "#9aa3ad"} if abs(dy) > 8 else None,
        )  # fmt: skip
        box = text.get_window_extent(renderer)
        cost = sum(box.overlaps(other) for other in taken)
        cost += not (inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1)
        if best is None or cost < best[0]:
            if best is not None:
                best[1].remove()
            best = (cost, text, box)
        else:
            text.remove()
        if best[0] == 0:
            break
    assert best is not None
    return best[2]
