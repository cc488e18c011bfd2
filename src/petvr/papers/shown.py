"""What a plan's figures and examples are drawn from."""

from __future__ import annotations

import functools

from petvr.errors import unknown
from petvr.papers import NAMES, load_paper
from petvr.papers.figures import FigureSpec, table_figures
from petvr.papers.plan import Plan


@functools.lru_cache(maxsize=2)
def figures(planned: Plan) -> dict[str, FigureSpec]:
    """Every figure of the chosen papers by its id: those of figures.yaml, then those of each chosen table."""
    named = dict.fromkeys(table.paper for table in planned.tables.values() if table.paper in NAMES)
    known = {f"{name}/{key}": spec for name in named for key, spec in load_paper(name).figures.items()}
    for one in planned.tables.values():
        known |= {f"{one.paper}/{key}": spec for key, spec in table_figures(one).items()}
    return known


@functools.lru_cache(maxsize=1000)
def figure_runs(planned: Plan, id: str) -> list[str]:
    """The planned runs that a figure is drawn from. Raises PetvrError for a figure that does not exist."""
    known = figures(planned)
    if id not in known:
        raise unknown("figure", id, known)
    spec = known[id]
    paper = id.partition("/")[0]
    optional = {f"{paper}/{name}" for name in spec.optional}
    cells = [cell for cell in planned.cells.values() if cell.used_in in optional]
    for choice in spec.rows:
        if one := planned.tables.get(f"{paper}/{choice.table}"):
            rows = [row for row in one.rows if not choice.rows or row.name in choice.rows]
            cells += [cell for row in rows for name, cell in row.cells.items() if name in (spec.datasets or row.cells)]
    return list(dict.fromkeys(run for cell in cells for run in cell.runs))


def example_runs(planned: Plan) -> dict[str, tuple[str, str]]:
    """Paper -> the two runs whose examples belong to its report: the first and the last row that trains, of its first
    chosen table that has two such rows on one data set; their first seed.
    """
    chosen: dict[str, tuple[str, str]] = {}
    for one in planned.tables.values():
        for dataset in one.datasets:
            cells = [row.cells[dataset] for row in one.rows if dataset in row.cells]
            runs = list(dict.fromkeys(cell.runs[0] for cell in cells if cell.runs and cell.train))
            if len(runs) > 1:
                chosen.setdefault(one.paper, (runs[0], runs[-1]))
    return chosen
