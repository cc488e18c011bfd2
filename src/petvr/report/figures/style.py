"""One look for all figures: colours and marks that do not rely on red against green, same bytes for same numbers."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from petvr import atomic
from petvr.papers.figures import Quantity
from petvr.report.figures.label import mathtext
from petvr.report.figures.spent import OF_RUNS, Costs
from petvr.report.tables.text import DIRECTION_NAMES

if TYPE_CHECKING:
    from petvr.report.figures.rows import FigureRows

# Okabe and Ito's palette: told apart with every common colour vision, yellow left out (too pale on white)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", ">", "<")  # none that a white edge eats up
SOFT = "#6b7480"

_RC: Any = {  # its keys' own type is a list of all keys of matplotlib
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.axisbelow": True,
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


@contextlib.contextmanager
def figure(
    rows: int, columns: int, width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Iterator[tuple[Any, Any]]:
    """A matplotlib figure and its axes [rows, columns], without any window or global state left behind."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        drawn = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(drawn)
        yield drawn, drawn.subplots(rows, columns, squeeze=False)


def save(drawn: Any, path: Path) -> None:
    """SVG, PNG or PDF by the suffix, without a date inside."""
    import matplotlib

    suffix = path.suffix.lstrip(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix, {"Software": None})
    with matplotlib.rc_context(_RC), atomic.replacing(path) as temporary:
        drawn.savefig(temporary, format=suffix, metadata=metadata, bbox_inches="tight")


def head(drawn: Any, figure: FigureRows, **place: float) -> None:
    """Paper, number and title; what the world is."""
    title = f"{figure.paper_title}, {figure.name.replace('_', ' ').replace('.', ', ')}: {figure.spec.title}"
    title += " [synthetic world]" if figure.world == "synthetic" else ""
    lines = textwrap.wrap(title, int(drawn.get_figwidth() * 11), break_on_hyphens=False)
    drawn.suptitle(mathtext("\n".join(lines)), fontsize=9.5, fontweight="bold", x=0.01, ha="left", **place)


def foot(drawn: Any, notes: list[str], figure: FigureRows, y: float | None = None) -> None:
    """How the drawing is read; the figure's own note below it."""
    place = {} if y is None else {"y": y}
    wide = int(drawn.get_figwidth() * 15)
    lacks = f"not in it: {figure.lacks}" if figure.lacks else ""
    lines = [line for text in ("; ".join(notes), figure.spec.note, lacks) for line in textwrap.wrap(text, wide)]
    drawn.supxlabel(mathtext("\n".join(lines)), fontsize=7.5, color=SOFT, x=0.01, ha="left", **place)


def key(drawn: Any, names: Mapping[str, int], lines: bool = False) -> None:
    """Names with their colours and marks, in columns beside the panels, which keep their width. After the head."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker=marker(i), color=colour(i), linestyle="-" if lines else "", markersize=5, linewidth=1,
               label=mathtext(name)) for name, i in names.items()
    ]  # fmt: skip
    columns = -(-len(names) // max(int(drawn.get_figheight() / 0.19) - 3, 1))
    drawn.set_figwidth(drawn.get_figwidth() + columns * (0.5 + 0.068 * max(map(len, names), default=0)))
    drawn.legend(handles=handles, loc="outside right upper", ncols=columns, fontsize=7.5)


def level(axis: Any, value: float, printed: bool) -> None:
    """A row that trains nothing has no place on a logarithmic axis: a line across it."""
    axis.axhline(value, color=SOFT, linestyle=(0, (1, 2)) if printed else (0, (4, 3)), linewidth=1)


def logarithmic(axis: Any, values: list[float] | None = None) -> None:
    """`values`: the only ones that are marked, those of a setting."""
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    low, high = axis.get_xlim()
    # where the axis spans little, the powers of ten alone would leave it without numbers
    narrow = high / max(low, 1e-12) < 20
    axis.xaxis.set_minor_formatter(lambda x, _: f"{x:g}" if narrow and f"{x:e}"[0] in "25" else "")
    if values is not None:
        # of two values that stand close to each other the second would cover the first
        apart = [x for x, before in zip(values, [0.0, *values], strict=False) if x > 1.2 * before]
        axis.set_xticks(apart, [f"{x:g}" for x in apart])
        axis.minorticks_off()


def say_nothing(axis: Any) -> None:
    axis.clear()
    axis.axis("off")
    axis.text(0.5, 0.5, "nothing measured yet", ha="center", va="center", color=SOFT, transform=axis.transAxes)


def axis_label(quantity: Quantity, costs: Costs | None = None, direction: bool = True) -> str:
    """`text → video R@1 (%)`, `trained parameters (millions)`, `peak memory, full tuning = 1`"""
    if quantity.setting:
        return quantity.name
    if quantity.direction is None:
        labels = {"params_M": "trained parameters (millions)", **OF_RUNS}
        label = costs.label(quantity.name) if costs and quantity.name in OF_RUNS else labels[quantity.name]
    else:
        unit = "" if quantity.name in ("MdR", "MnR") or quantity.ratio else " (%)"
        label = f"{DIRECTION_NAMES[quantity.direction]} {quantity.name}{unit}" if direction else quantity.name + unit
    return f"{label}, full tuning = 1" if quantity.ratio else label
