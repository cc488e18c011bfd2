"""One look for all figures: colours and marks that do not rely on red against green, same bytes for same numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from petvr import atomic

# Okabe and Ito's palette: told apart with every common colour vision, yellow left out (too pale on white)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
SOFT = "#6b7480"

_RC: Any = {  # its keys' own type is a list of all keys of matplotlib
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "grid.color": "#e3e7eb",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "svg.hashsalt": "petvr",
    "savefig.dpi": 160,
}


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Shifted by one when the colours begin again: each pair of colour and mark is used once in 49."""
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]


def dashes(index: int) -> Any:
    """Changes when the colours begin again, so that no two of 21 lines look alike."""
    return DASHES[index // len(COLOURS) % len(DASHES)]


@contextlib.contextmanager
def figure(rows: int, columns: int, width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A matplotlib figure and its axes [rows, columns], without any window or global state left behind."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        drawn = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn, drawn.subplots(rows, columns, squeeze=False)


def save(drawn: Any, path: Path) -> None:
    """SVG, PNG or PDF by the suffix, without a date inside."""
    suffix = path.suffix.lstrip(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix, {"Software": None})
    with atomic.replacing(path) as temporary:
        drawn.savefig(temporary, format=suffix, metadata=metadata, bbox_inches="tight")
