"""Which figures a table has, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from petvr.errors import unknown
from petvr.figures import curves, scatter
from petvr.tables import Table

KINDS = {"scatter": scatter.draw, "curves": curves.draw}
FORMATS = ("svg", "png", "pdf")


def write(
    table: Table, folder: str | Path, kinds: Sequence[str] = ("scatter", "curves"), suffix: str = "svg"
) -> list[Path]:
    """`<folder>/<paper>/<table>.<kind>.<suffix>` for every kind; a table without results gives a figure that says so.

    Raises PetvrError for an unknown kind or format.
    """
    if suffix not in FORMATS:
        raise unknown("figure format", suffix, FORMATS)
    paths = []
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("figure", kind, KINDS)
        paths.append(Path(folder) / table.model.paper / f"{table.model.table}.{kind}.{suffix}")
        KINDS[kind](table, paths[-1])
    return paths
