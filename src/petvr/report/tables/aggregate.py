"""From a plan's table and the result files to a table whose every number is computed or says why not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from petvr.errors import PetvrError, unknown
from petvr.papers import Cell, Column, Row, Table, load_paper
from petvr.papers.plan import REPORTED, Plan
from petvr.report.tables.brackets import brackets
from petvr.report.tables.estimate import (
    Estimate,
    compare_to_paper,
    estimate,
    pooled_deviation,
    ranks,
)
from petvr.report.tables.measured import Entry, MeasuredRow, MeasuredTable, rows_done
from petvr.report.tables.read_results import Reader, SeedResult, problem, result_reader, value_of
from petvr.spec import Recipe, RunSpec

# metric -> decimals shown; None: as many as the size of the value asks for
DECIMALS: dict[str, int | None] = {
    "R@1": 1, "R@5": 1, "R@10": 1, "RSum": 1, "MdR": 1, "MnR": 1, "params_M": None, "params_percent": None,
    "trains_M": None, "adapter_MB": None, "memory_G": 1, "forward_gmacs": 1, "forward_gflops": 1, "pairs_s": 0,
    "video_ms": None, "text_ms": None, "lr_clip": None, "lr_new": None, "lr_head": None,
}  # fmt: skip
SIZES = ("params_M", "params_percent")
COUNTED = (*SIZES, "forward_gmacs", "trains_M")  # known before any run; the last one is measured where one is there
Counter = Callable[[Table, Cell, Recipe, str, str], tuple[float, str] | None]
NOT_RUN = "not run"  # how a cell says that its data set cannot be had


def measure_table(
    plan: Plan,
    name: str,
    results: str | Path,
    *,
    rule: str | None = None,
    mixed_data: bool = False,
    rerun: str = "snakemake --cores all",
    read: Reader | None = None,
    not_run: Mapping[str, str] | None = None,
    locks: Mapping[str, str] | None = None,
    unavailable: Mapping[str, str] | None = None,
    count: Counter | None = None,
    against: str | None = None,
    intervals: bool = False,
    search: str = "",
) -> MeasuredTable:
    """Read every result under `results/runs` that the table `name` of a plan asks for, and compute all numbers.

    `rule`: a selection rule instead of the recipes' own. `read`: share `result_reader(results)` between tables.
    `not_run`: run -> why it cannot be made here; a cell of such runs alone says so instead of waiting for them.
    `locks`: data set -> frozen identity, to be compared with the results'. `unavailable`: data set -> why it cannot be
    had. `count`: (number, verdict on the printed one) of a cell for one of COUNTED, counted as the paper of the table
    counts; without it these columns stay empty. `against`: the row that others are compared with
    (petvr.report.tables.uncertainty). `intervals`: show them in every format.
    `search`: stands below own videos that were tuned.
    Raises PetvrError for an unknown table, and where cells of one data set stand on different test data, unless
    `mixed_data`; a result that is broken, missing or stale only empties its own cell.
    """
    if name not in plan.tables:
        raise unknown("table", name, plan.tables)
    table, results = _without(plan.tables[name], not_run or {}), Path(results)
    read = read or result_reader(results)
    rows = [_measure_row(plan, table, row, read, rule, count) for row in table.rows]
    mixed = tuple(_mixed(rows))
    if mixed and not mixed_data:
        raise PetvrError(f"table {name}: cells stand on different data: {'; '.join(mixed)}")
    from petvr.report.tables.uncertainty import add_uncertainty  # scipy; the workflow's parsing imports this file

    measured = MeasuredTable(
        table, tuple(rows), rule, results, rerun, mixed, locks or {}, unavailable or {}, search=search
    )
    measured = replace(measured, intervals=intervals or table.intervals, ends=brackets(plan, table, read, rule))
    return add_uncertainty(replace(measured, rows=tuple(_with_gains(_ranked(_compared(measured))))), against)


def completeness(
    plan: Plan, name: str, read: Reader, rule: str | None = None, not_run: Mapping[str, str] | None = None
) -> tuple[int, int]:
    """Of the table `measure_table` would give: rows with every seed done, and all rows that are run here."""
    table = _without(plan.tables[name], not_run or {})
    return rows_done(_measure_row(plan, table, row, read, rule, None) for row in table.rows)


def _without(table: Table, not_run: Mapping[str, str]) -> Table:
    """The table in which cells whose runs cannot be made have none."""
    rows = []
    for row in table.rows:
        cells = dict(row.cells)
        for dataset, cell in cells.items():
            if cell.runs and all(run in not_run for run in cell.runs):
                reason = f"{NOT_RUN}: {not_run[cell.runs[0]]}"
                cells[dataset] = cell.model_copy(update={"runs": (), "unavailable": reason})
        rows.append(row.model_copy(update={"cells": cells}))
    return table.model_copy(update={"rows": tuple(rows)})


def _measure_row(
    plan: Plan, table: Table, row: Row, read: Reader, rule: str | None, count: Counter | None
) -> MeasuredRow:
    seeds, specs = {}, _specs(plan, row)
    recipes = {dataset: spec.recipe for dataset, spec in specs.items()}
    for dataset, cell in row.cells.items():
        if cell.unavailable == REPORTED and cell.method:  # what it would train is known all the same
            paper = load_paper(cell.paper)
            recipes[dataset], _ = paper.recipe(dataset, cell.method, cell.setting, variant=cell.variant)
    for dataset, cell in row.cells.items():
        if cell.runs:
            runs = sorted((plan.runs[id] for id in cell.runs), key=lambda run: run.seed)
            seeds[dataset] = tuple(_usable(read(run), rule, cell.evaluate) for run in runs)
    entries = []
    for column in _columns(table):
        dataset = column.dataset or row.dataset
        numbers: dict[str, dict[int, float]] = {"expected": {}, table.ties: {}}
        for seed in seeds.get(dataset, ()):
            if seed.state == "ok" and seed.result is not None:
                for ties, values in numbers.items():
                    scores = row.cells[dataset].evaluate
                    number = value_of(seed.result, column, rule, scores, ties)
                    if number is not None:
                        values[seed.seed] = number
        values, as_paper = numbers["expected"], estimate(list(numbers[table.ties].values()))
        ours, check, printed = estimate(list(values.values())), "", table.printed_in(row, column)
        if ours is None and count and column.metric in COUNTED and dataset in recipes:
            digits = printed.text if printed else ""
            counted = count(table, row.cells[dataset], recipes[dataset], column.metric, digits)
            if counted:
                ours, check = Estimate(counted[0], None, 0), counted[1]  # n = 0: no run has measured it
                as_paper = ours
        entries.append(Entry(column, dataset, values, ours, printed, as_paper, check))
    row_of_results = MeasuredRow(row, tuple(entries), seeds)
    used = {dataset: results[0].spec for dataset in seeds if (results := row_of_results.used(dataset))}
    return replace(row_of_results, specs=specs | used)


def _specs(plan: Plan, row: Row) -> dict[str, RunSpec]:
    """Data set -> a run of it, also one that cannot be made here."""
    runs = {
        dataset: cell.runs or (plan.cells[cell.id].runs if cell.id in plan.cells else ())
        for dataset, cell in row.cells.items()
    }
    return {dataset: plan.runs[ids[0]] for dataset, ids in runs.items() if ids}


def _columns(table: Table) -> list[Column]:
    """The paper's, and behind its sizes what truly trains."""
    columns = list(table.columns)
    sizes = [position for position, column in enumerate(columns) if column.metric in SIZES]
    if sizes:
        columns.insert(sizes[-1] + 1, Column("trains_M"))
    return columns


def _usable(seed: SeedResult, rule: str | None, scores: str) -> SeedResult:
    if seed.state != "ok" or seed.result is None:
        return seed
    reason = problem(seed.result, rule, scores)
    return replace(seed, state="failed", reason=reason) if reason else seed


def _mixed(rows: Iterable[MeasuredRow]) -> Iterator[str]:
    """One sentence per data set whose cells do not share the data's identity, world, split digest and gallery."""
    splits: dict[str, dict[tuple[str, str, int, int], str]] = {}
    states: dict[str, dict[str, str]] = {}
    for row in rows:
        for dataset in row.seeds:
            for result in row.used(dataset):
                data = result.data
                key = (data.world, data.digest, data.test_videos, data.test_captions)
                splits.setdefault(dataset, {}).setdefault(key, result.id)
                if data.manifest:  # older results do not know theirs
                    states.setdefault(dataset, {}).setdefault(data.manifest, result.id)
    for dataset, runs in states.items():
        if len(runs) > 1:
            each = ", ".join(f"{run} has data {state}" for state, run in runs.items())
            yield f"{dataset}: {each}; train again what is not as `petvr data check {dataset}` finds it"
    for dataset, kinds in splits.items():
        if len(kinds) > 1 and len(states.get(dataset, {})) < 2:
            each = ", ".join(
                f"{run} has {world} data {digest} with {videos} videos and {captions} captions"
                for (world, digest, videos, captions), run in kinds.items()
            )
            yield f"{dataset}: {each}"
    worlds = {key[0]: run for kinds in splits.values() for key, run in kinds.items()}
    if len(worlds) > 1 and not any(len({key[0] for key in kinds}) > 1 for kinds in splits.values()):
        yield f"{worlds['real']} is real data, {worlds['synthetic']} is synthetic"


def _compared(table: MeasuredTable) -> Iterator[MeasuredRow]:
    """Differences to the paper: none for a synthetic world, none for data of class C or D, no printed value for D."""
    pooled = _pooled(table)
    for row in table.rows:
        entries = []
        for position, entry in enumerate(row.entries):
            kinds = {result.data.data_class for result in row.used(entry.dataset)}
            if table.world == "real" and "D" in kinds:
                entry = replace(entry, printed=None)
            measured = entry.column.direction and kinds <= {"A", "B"}
            comparable = table.world == "real" and (measured or entry.check)
            if comparable and entry.as_paper and entry.printed and entry.printed.value is not None:
                difference = entry.as_paper.mean - entry.printed.value
                deviation = pooled[position, entry.dataset]
                if entry.column.direction:
                    comparison = compare_to_paper(entry.as_paper, entry.printed, entry.column.best, deviation)
                else:
                    comparison = "inside" if entry.check.startswith("agrees") else None
                entry = replace(entry, difference=difference, comparison=comparison)
            why = _incomparable(table, row, entry, kinds) if entry.as_paper and entry.printed else ""
            if why and entry.column.direction:
                entry = replace(entry, comparison=None, incomparable=why)
            entries.append(entry)
        yield replace(row, entries=tuple(entries))


def _pooled(table: MeasuredTable) -> dict[tuple[int, str], tuple[float, int] | None]:
    """(column, data set) -> deviation over seeds of its rows together."""
    groups: dict[tuple[int, str], list[list[float]]] = {}
    for row in table.rows:
        for position, entry in enumerate(row.entries):
            values = list(entry.values.values()) if entry.column.direction else []
            groups.setdefault((position, entry.dataset), []).append(values)
    return {key: pooled_deviation(group) for key, group in groups.items()}


def _incomparable(table: MeasuredTable, row: MeasuredRow, entry: Entry, kinds: Collection[str]) -> str:
    """Why our number and the paper's are not the same quantity; "" where they are."""
    if table.world != "real":
        return "another world"
    if worse := sorted(set(kinds) - {"A", "B"}):
        return f"data of class {', '.join(worse)}"
    own = {result.spec.recipe.selection for result in row.used(entry.dataset)}
    return (
        f"selected by {table.rule}, the paper by {', '.join(sorted(own))}" if table.rule and own != {table.rule} else ""
    )


def _ranked(rows: Iterable[MeasuredRow]) -> list[MeasuredRow]:
    """Best and second best among measured rows of one block, data set and column."""
    rows = list(rows)
    entries = [list(row.entries) for row in rows]
    groups: dict[tuple[int, str, str], list[int]] = {}
    for index, row in enumerate(rows):
        for position, entry in enumerate(row.entries):
            groups.setdefault((position, entry.dataset, row.planned.block), []).append(index)
    for (position, *_), members in groups.items():
        column = entries[members[0]][position].column
        estimates = [entries[index][position].ours for index in members]
        decimals = DECIMALS[column.metric]
        several = any(ours and ours.n > 1 for ours in estimates)  # beside such rows one seed alone is never the best
        fewest = 2 if several and column.direction else 1
        fewest = 0 if column.metric in COUNTED else fewest
        dataset = entries[members[0]][position].dataset
        trains = [rows[index].planned.cells[dataset].train for index in members]  # else another seed gives the same
        pairs = zip(estimates, trains, strict=True)
        means = [ours.mean if ours and (ours.n >= fewest or not train) else None for ours, train in pairs]
        for index, rank in zip(members, ranks(means, column.best, 4 if decimals is None else decimals), strict=True):
            entries[index][position] = replace(entries[index][position], rank=rank)
    return [replace(row, entries=tuple(new)) for row, new in zip(rows, entries, strict=True)]


def _with_gains(rows: list[MeasuredRow]) -> Iterator[MeasuredRow]:
    """Ours over the row over which the paper prints gains; of tuned guesses over the row as guessed."""
    by_key = {row.planned.key: row for row in rows}
    for row in rows:
        base = by_key.get(row.planned.as_guessed or row.planned.gain_over)
        if base is None:
            yield row
            continue
        entries = [
            replace(entry, gain=entry.ours.mean - other.ours.mean)
            if entry.ours and other.ours and entry.column.direction and entry.dataset == other.dataset
            else entry
            for entry, other in zip(row.entries, base.entries, strict=True)
        ]
        yield replace(row, entries=tuple(entries))
