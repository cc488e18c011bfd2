"""From a table's description and the result files to a table whose every cell is computed or says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from petvr.errors import PetvrError
from petvr.report.tables import measure
from petvr.report.tables.collect import Seed, reader
from petvr.report.tables.estimate import Estimate, Verdict, estimate, places, verdict
from petvr.report.tables.model import METRICS, Column, Planned, Printed, Row, TableModel
from petvr.result import Result


@dataclass(frozen=True)
class Cell:
    """A number of the table: ours, the paper's, and how they compare. `place`: 1 best, 2 second best, 0 neither."""

    column: Column
    dataset: str
    values: dict[int, float]  # seed -> value
    ours: Estimate | None
    printed: Printed | None
    difference: float | None = None
    verdict: Verdict | None = None
    place: int = 0


@dataclass(frozen=True)
class Line:
    """A row with its cells and, per data set, the seeds behind them."""

    row: Row
    cells: tuple[Cell, ...]
    seeds: dict[str, tuple[Seed, ...]]

    def used(self, dataset: str | None = None) -> list[Seed]:
        chosen = self.seeds.values() if dataset is None else [self.seeds.get(dataset, ())]
        return [seed for seeds in chosen for seed in seeds if seed.state == "ok"]

    @property
    def done(self) -> bool:
        """Every seed of every data set is measured, or the row is not run here at all."""
        return all(seed.state == "ok" for seeds in self.seeds.values() for seed in seeds)


@dataclass(frozen=True)
class Table:
    model: TableModel
    lines: tuple[Line, ...]
    rule: str | None  # None: as each recipe says
    results: Path
    rerun: str  # command that makes a file of results again
    mixed: tuple[str, ...] = ()  # what differs between the data of its cells, if that was allowed
    locks: Mapping[str, str] = field(default_factory=dict)  # data set -> identity that is frozen today
    cannot: Mapping[str, str] = field(default_factory=dict)  # data set that cannot be had -> why, and what to do

    @property
    def world(self) -> str:
        return "synthetic" if any(result.data.world == "synthetic" for result in self.used()) else "real"

    def used(self) -> list[Result]:
        return [seed.result for line in self.lines for seed in line.used() if seed.result is not None]

    @property
    def completeness(self) -> tuple[int, int]:
        """Rows with every seed done, and all rows that are run here."""
        run_here = [line for line in self.lines if line.seeds]
        return sum(line.done for line in run_here), len(run_here)


def build(
    model: TableModel,
    results: str | Path,
    *,
    rule: str | None = None,
    mixed_data: bool = False,
    rerun: str = "snakemake --cores all",
    read: Callable[[int, Planned], Seed] | None = None,
    locks: Mapping[str, str] | None = None,
    cannot: Mapping[str, str] | None = None,
) -> Table:
    """Read every result under `results/runs` the table asks for and compute all cells.

    `rule`: a selection rule instead of the recipes' own. `read`: share `collect.reader(results)` between tables.
    `locks`: data set -> frozen identity, to be compared with the results'. `cannot`: data set -> why it cannot be had.
    Raises PetvrError where cells of one data set stand on different test data, unless `mixed_data`; a result
    that is broken, missing or stale only empties its own cell.
    """
    results = Path(results)
    read = read or reader(results)
    lines = [_line(model, index, row, read, rule) for index, row in enumerate(model.rows)]
    mixed = tuple(_mixed(lines))
    if mixed and not mixed_data:
        raise PetvrError(f"table {model.id}: cells stand on different data: {'; '.join(mixed)}")
    table = Table(model, tuple(lines), rule, results, rerun, mixed, locks or {}, cannot or {})
    return replace(table, lines=tuple(_placed(_compared(table))))


def _line(model: TableModel, index: int, row: Row, read: Callable[[int, Planned], Seed], rule: str | None) -> Line:
    seeds = {
        dataset: tuple(_usable(read(seed, planned), rule, want.scores) for seed, planned in sorted(want.runs.items()))
        for dataset, want in row.wants.items()
        if want.runs
    }
    cells = []
    for column in model.columns:
        dataset = column.dataset or row.dataset
        values = {}
        for seed in seeds.get(dataset, ()):
            if seed.state == "ok" and seed.result is not None:
                scores = row.wants[dataset].scores
                number = measure.value(seed.result, column, rule, scores, model.percent_of)
                if number is not None:
                    values[seed.seed] = number
        printed = model.printed.get((index, column.key))
        cells.append(Cell(column, dataset, values, estimate(list(values.values())), printed))
    return Line(row, tuple(cells), seeds)


def _usable(seed: Seed, rule: str | None, scores: str) -> Seed:
    if seed.state != "ok" or seed.result is None:
        return seed
    reason = measure.problem(seed.result, rule, scores)
    return replace(seed, state="failed", reason=reason) if reason else seed


def _mixed(lines: Iterable[Line]) -> Iterable[str]:
    """One sentence per data set whose cells do not share the data's identity, world, split digest and gallery."""
    found: dict[str, dict[tuple, str]] = {}
    states: dict[str, dict[str, str]] = {}
    for line in lines:
        for dataset in line.seeds:
            for seed in line.used(dataset):
                assert seed.result is not None
                data = seed.result.data
                key = (data.world, data.digest, data.test_videos, data.test_captions)
                found.setdefault(dataset, {}).setdefault(key, seed.run)
                if data.manifest:  # older results do not know theirs
                    states.setdefault(dataset, {}).setdefault(data.manifest, seed.run)
    for dataset, kinds in states.items():
        if len(kinds) > 1:
            told = ", ".join(f"{run} has data {state}" for state, run in kinds.items())
            yield f"{dataset}: {told}; train again what is not as `petvr data check {dataset}` finds it"
    for dataset, kinds in found.items():
        if len(kinds) > 1 and len(states.get(dataset, {})) < 2:
            told = [
                f"{run} has {world} data {digest} with {videos} videos and {captions} captions"
                for (world, digest, videos, captions), run in kinds.items()
            ]
            yield f"{dataset}: {', '.join(told)}"
    worlds = {key[0]: run for kinds in found.values() for key, run in kinds.items()}
    if len(worlds) > 1 and not any(len({key[0] for key in kinds}) > 1 for kinds in found.values()):
        yield f"{worlds['real']} is real data, {worlds['synthetic']} is synthetic"


def _compared(table: Table) -> list[Line]:
    """Differences to the paper: none for a synthetic world, none for data of class C or D, no printed value for D."""
    lines = []
    for line in table.lines:
        cells = []
        for cell in line.cells:
            kinds = {seed.result.data.data_class for seed in line.used(cell.dataset) if seed.result}
            if table.world == "real" and "D" in kinds:
                cell = replace(cell, printed=None)
            comparable = table.world == "real" and kinds <= {"A", "B"} and cell.column.metric not in _NOT_COMPARED
            if comparable and cell.ours and cell.printed and cell.printed.value is not None:
                difference = cell.ours.mean - cell.printed.value
                cell = replace(cell, difference=difference, verdict=_verdict(cell))
            cells.append(cell)
        lines.append(replace(line, cells=tuple(cells)))
    return lines


# what the papers print there depends on their hardware, or counts otherwise than we do
_NOT_COMPARED = {"memory_G", "gflops"}


def _verdict(cell: Cell) -> Verdict | None:
    """Parameters are exact: inside means equal at the digits the paper prints."""
    assert cell.ours is not None and cell.printed is not None and cell.printed.value is not None
    if cell.column.metric in ("params_M", "params_percent"):
        equal = abs(cell.ours.mean - cell.printed.value) <= 0.5 * 10.0**-cell.printed.decimals + 1e-9
        return "inside" if equal else None
    return verdict(cell.ours, cell.printed, cell.column.best)


def _placed(lines: list[Line]) -> list[Line]:
    """Best and second best among measured rows of one block, data set and column."""
    cells = [list(line.cells) for line in lines]
    groups: dict[tuple, list[int]] = {}
    for index, line in enumerate(lines):
        for position, cell in enumerate(line.cells):
            groups.setdefault((position, cell.dataset, line.row.block), []).append(index)
    for (position, *_), members in groups.items():
        column = lines[members[0]].cells[position].column
        means = [cells[i][position].ours.mean if cells[i][position].ours else None for i in members]
        decimals = METRICS[column.metric][1]
        marks = places(means, column.best, 4 if decimals is None else decimals)
        for i, place in zip(members, marks, strict=True):
            cells[i][position] = replace(cells[i][position], place=place)
    return [replace(line, cells=tuple(new)) for line, new in zip(lines, cells, strict=True)]
