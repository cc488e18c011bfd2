"""Which figures a table has, and where they go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from petvr.errors import unknown
from petvr.report.figures import costs, curves, scatter
from petvr.report.tables import MeasuredTable

KINDS: dict[str, Callable[[MeasuredTable, Path], None]] = {
    "scatter": scatter.draw,
    "curves": curves.draw,
    "costs": costs.draw,
}
FORMATS = ("svg", "png", "pdf")


def write_figures(
    table: MeasuredTable,
    folder: str | Path,
    kinds: Sequence[str] = ("scatter", "curves"),
    suffix: str = "svg",
    costs_from: str | Path | None = None,
) -> list[Path]:
    """`<folder>/<paper>/<table>.<kind>.<suffix>` for every kind; a table without results gives a figure that says so.

    `costs_from`: what `petvr costs --format csv` wrote, for the kind of that name.
    Raises PetvrError for an unknown kind or format, or a file of costs that is none.
    """
    if suffix not in FORMATS:
        raise unknown("figure format", suffix, FORMATS)
    paths = []
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("figure", kind, KINDS)
        paths.append(Path(folder) / table.planned.paper / f"{table.planned.name}.{kind}.{suffix}")
        if kind == "costs" and costs_from is not None:
            costs.draw(table, paths[-1], costs.read_costs(costs_from))
        else:
            KINDS[kind](table, paths[-1])
    return paths
