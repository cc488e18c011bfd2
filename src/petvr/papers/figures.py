"""figures.yaml: what a paper's figures show. Kinds are code (petvr.report.figures), figures are data.

Every table has two or three more figures of its own, `table_3.scatter`, `table_3.curves`, `table_3.costs`, which no
file names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers import schema
from petvr.papers.table import DIRECTIONS, METRICS, Cell, Direction, Table

Kind = Literal["points", "profile", "training", "results", "modulation", "correlation"]
PICTURES = ("results", "modulation", "correlation")  # kinds that need the trained run of the first seed
COST_QUANTITIES = ("params_M", "time", "memory")
FORM = (
    f"a direction and a metric (`t2v R@1`), one of {', '.join(COST_QUANTITIES)}, or `setting <key>`; "
    "`ratio` behind it divides by the row that `relative_to` names"
)


class Quantity(NamedTuple):
    """What an axis shows. `name` is params_M, time, memory, a metric, or the key of a setting."""

    text: str
    name: str
    direction: Direction | None = None
    setting: bool = False
    ratio: bool = False


def parse_quantity(text: str, where: str = "") -> Quantity:
    """`t2v RSum ratio`, `params_M`, `setting r`. Raises PetvrError, with `where`, for anything else."""
    parts = text.split()
    ratio = len(parts) > 1 and parts[-1] == "ratio"
    match parts[:-1] if ratio else parts:
        case [name] if name in COST_QUANTITIES:
            return Quantity(text, name, ratio=ratio)
        case ["setting", key] if not ratio:
            return Quantity(text, key, setting=True)
        case [direction, metric] if direction in DIRECTIONS and metric in METRICS:
            return Quantity(text, metric, DIRECTIONS[direction], ratio=ratio)
    raise PetvrError(f"{where}: '{text}' is no quantity; allowed: {FORM}")


class RowChoice(schema._Strict):
    """Rows of one table."""

    table: str = Field(description="a name in tables.yaml")
    rows: tuple[str, ...] = Field(default=(), description="their names, in all blocks; default: all rows")
    called: str = Field(
        default="", alias="as", description="one name for them: of several on a data set the best by `y` is shown"
    )


class FigureSpec(schema._Strict):
    """A figure: which rows, what is on the axes, how it is drawn."""

    title: str = Field(description="what it shows")
    kind: Kind = Field(
        description="points: x against y. profile: y over data sets. training: loss and y by epoch. results: what two "
        "rows find first. modulation: weight of each frame. correlation: similarity of patches"
    )
    note: str = Field(default="", description="what a reader must know of it")
    rows: tuple[RowChoice, ...] = Field(description="rows of the paper's tables")
    best_by: str = Field(default="", description="what is best of several rows under one name; default: the first `y`")
    optional: tuple[str, ...] = Field(default=(), description="and the optional cells of these names (`used_in`)")
    datasets: tuple[str, ...] = Field(default=(), description="some of the rows' data sets; default: all")
    x: tuple[str, ...] = Field(default=("params_M",), description=f"points: {FORM}")
    y: tuple[str, ...] = Field(default=("t2v R@1",), description="in the same form")
    size: str = Field(default="", description="points: what the area of a mark grows with")
    join: bool = Field(default=False, description="points: those of one method are one line")
    front: bool = Field(default=False, description="points: those that none with less or equal x beats are joined")
    values: tuple[str, ...] = Field(default=(), description="what the CSV has beside `x` and `y`")
    count: int = Field(default=2, description="results, modulation, correlation: how many queries or videos", ge=1)
    relative_to: str = Field(default="", description="row that is 1 in a ratio; default: the first of method `full`")
    printed: dict[str, dict[str, dict[str, float]]] = Field(
        default={}, description="quantity -> row -> data set -> what the text prints beside its tables"
    )


class FiguresFile(schema._Strict):
    """figures.yaml: the figures that a paper draws from its numbers."""

    figures: dict[str, FigureSpec] = Field(description="name, e.g. figure_4 -> figure")


def read_figures(path: Path, tables: Mapping[str, Table], optional: Iterable[Cell]) -> dict[str, FigureSpec]:
    """None where the folder has no such file. Raises PetvrError, with the key, for unknown tables, rows and axes."""
    if not path.is_file():
        return {}
    figures = schema.read_yaml(path, FiguresFile).figures
    used_in = {cell.used_in.partition("/")[2] for cell in optional}
    for name, figure in figures.items():
        where = f"{path}: {name}"
        for choice in figure.rows:
            if choice.table not in tables:
                raise errors.unknown("table", choice.table, tables, where)
            names = {row.name for row in tables[choice.table].rows}
            for row in choice.rows:
                if row not in names:
                    raise errors.unknown("row", row, names, f"{where}: {choice.table}")
        for text in (
            *figure.x,
            *figure.y,
            *figure.values,
            *figure.printed,
            *filter(None, [figure.size, figure.best_by]),
        ):
            parse_quantity(text, where)
        for optional_name in figure.optional:
            if optional_name not in used_in:
                raise errors.unknown("name of optional cells", optional_name, used_in, where)
    return figures


def table_figures(table: Table) -> dict[str, FigureSpec]:
    """The figures every table has: name -> figure."""
    direction = next((column.direction for column in table.columns if column.direction), "t2v")
    shown = (f"{direction} R@1",)
    rows = (RowChoice.model_validate({"table": table.name}),)
    drawn = {
        "scatter": FigureSpec(title=f"{table.title}: trained parameters", kind="points", rows=rows, y=shown),
        "curves": FigureSpec(title=f"{table.title}: the course of training", kind="training", rows=rows, y=shown),
        "costs": FigureSpec(
            title=f"{table.title}: time and memory of training", kind="points", rows=rows, y=shown,
            x=("time ratio", "memory ratio"), datasets=table.datasets[:1],
        ),
    }  # fmt: skip
    return {f"{table.name}.{kind}": drawn[kind] for kind in table.figures}
