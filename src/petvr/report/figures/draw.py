"""One figure as SVG, PNG and PDF, with its values as CSV beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.errors import unknown
from petvr.papers.figures import Quantity, parse_quantity
from petvr.report.figures import points, profile, style, training
from petvr.report.figures.rows import FigureRow, FigureRows
from petvr.report.tables.estimate import Estimate

FORMATS = ("svg", "png", "pdf")
KINDS: dict[str, Callable[[FigureRows], Any]] = {
    "points": points.compose,
    "profile": profile.compose,
    "training": training.compose,
}
CSV_COLUMNS = ("dataset", "row", "cell", "quantity", "epoch", "value", "std", "seeds", "printed", "shown")


def compose(figure: FigureRows) -> Any:
    """The drawn matplotlib figure. A figure without results says so."""
    return KINDS[figure.spec.kind](figure)


def write_figure(
    figure: FigureRows,
    folder: str | Path,
    formats: Sequence[str] = ("svg", "png"),
    picture: tuple[Any, list[list[object]]] | None = None,
) -> list[Path]:
    """`<folder>/<paper>/<name>.<format>` and `.csv`. Raises PetvrError for an unknown format.

    `picture`: a figure of another kind, drawn already, with the lines of its CSV (petvr.report.examples.pictures).
    """
    for suffix in formats:
        if suffix not in FORMATS:
            raise unknown("figure format", suffix, FORMATS)
    home = Path(folder) / figure.paper
    paths = [home / f"{figure.name}.{suffix}" for suffix in formats]
    drawn, lines = picture or (compose(figure), values_of(figure))
    for path in paths:
        style.save(drawn, path)
    values = home / f"{figure.name}.csv"
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(lines)
    atomic.write_text(values, stream.getvalue())
    return [*paths, values]


def values_of(figure: FigureRows) -> list[list[object]]:
    """The CSV: a line per row, data set, quantity (and epoch, where the figure shows it); nothing is rounded."""
    lines: list[list[object]] = [list(CSV_COLUMNS)]
    spec = figure.spec
    texts = dict.fromkeys([*spec.x, *spec.y, *spec.values, *filter(None, [spec.size])])
    quantities = [parse_quantity(text) for text in texts]
    for shown, rows in ((True, figure.rows), (False, figure.candidates)):
        for row in rows:
            for quantity in quantities:
                if figure.spec.kind == "training" and quantity.direction is not None:
                    for epoch, value in row.epochs(quantity):
                        lines.append(_line(figure, row, quantity.text, epoch, value, None, shown))
                else:
                    line = _values(figure, row, quantity)
                    lines.append(_line(figure, row, quantity.text, None, *line, shown))
            if figure.spec.kind == "training":
                for part, value in row.losses():
                    lines.append(_line(figure, row, "training loss", part, value, None, shown))
    return lines


def _values(figure: FigureRows, row: FigureRow, quantity: Quantity) -> tuple[Estimate | None, float | None]:
    return figure.value(row, quantity), figure.printed(row, quantity)


def _line(
    figure: FigureRows, row: FigureRow, quantity: str, epoch: float | None, value: Estimate | None,
    printed: float | None, shown: bool,
) -> list[object]:  # fmt: skip
    numbers = ["", "", ""] if value is None else [value.mean, "" if value.std is None else value.std, value.n]
    place = [row.dataset, row.name, row.cell.id.rpartition("/")[2]]
    return [*place, quantity, "" if epoch is None else epoch, *numbers, "" if printed is None else printed, shown]
