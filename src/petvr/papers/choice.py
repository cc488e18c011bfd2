"""Which papers, tables, data sets and methods are chosen, and the names that a choice may have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers import NAMES, faults, load_paper, published, readable
from petvr.papers.implemented import Implemented
from petvr.papers.table import Cell, Table


def readable_papers(choice: str | Sequence[str], tables: str | Sequence[str]) -> list[str]:
    """The chosen ones that can be read. Raises PetvrError where there are none, with the fault of the first."""
    names = chosen_names("paper", choice, NAMES)
    if choice == "all":
        of_tables = {table.partition("/")[0] for table in ([tables] if isinstance(tables, str) else tables)}
        names = [name for name in names if name in {*faults(), *published(), *of_tables}]
    usable = [name for name in names if name in readable()]
    if names and not usable:
        raise PetvrError(faults()[names[0]])
    return usable


def chosen_names(what: str, choice: str | Sequence[str], allowed: Collection[str]) -> list[str]:
    """`choice` as a list of known names; "all" means all of them."""
    if choice == "all":
        return list(allowed)
    names = [choice] if isinstance(choice, str) else list(choice)
    for name in names:
        if name not in allowed:
            raise errors.unknown(what, name, [*allowed, "all"])
    return list(dict.fromkeys(names))


def chosen_tables(names: Sequence[str], choice: str | Sequence[str], own_tables: Sequence[Table]) -> list[Table]:
    tables = {table.id: table for name in names for table in load_paper(name).tables.values()}
    tables |= {table.id: table for table in own_tables}
    for id in [choice] if isinstance(choice, str) else choice:
        if id.partition("/")[0] in faults():
            raise PetvrError(f"{id}: {faults()[id.partition('/')[0]]}")
    if choice == "all":
        return [table for table in tables.values() if not table.on_request]
    return [tables[id] for id in chosen_names("table", choice, tables)]


def all_datasets(implemented: Implemented) -> list[str]:
    shown = {dataset for paper in readable().values() for t in paper.tables.values() for dataset in t.datasets}
    return sorted(shown | set(implemented.datasets or ()))


def all_methods(implemented: Implemented) -> list[str]:
    """Those that exist, and those the tables name, compositions and their parts."""
    names = set(implemented.methods or ())
    for cell in all_cells():
        names.update([cell.method, *cell.method.split("+")] if cell.method else [])
    return sorted(names)


def all_cells() -> Iterator[Cell]:
    """Every cell of every paper that can be read, unplanned; first those of its tables, then the optional ones."""
    for paper in readable().values():
        for table in paper.tables.values():
            yield from (cell for row in table.rows for cell in row.cells.values())
        yield from paper.optional


def check_override_names(overrides: Mapping[str, Any], implemented: Implemented, datasets: Sequence[str]) -> None:
    """A misspelt paper, data set or method would silently override nothing."""
    allowed = {"papers": NAMES, "datasets": datasets, "methods": all_methods(implemented)}
    for level, names in allowed.items():
        for name in overrides.get(level) or {}:
            if name not in names:
                raise errors.unknown(level.removesuffix("s"), name, names, f"recipe.{level}")
