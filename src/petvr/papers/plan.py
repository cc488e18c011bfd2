"""From papers and a choice of tables to runs: what must be trained, and which table shows which run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers import faults, load_paper
from petvr.papers.choice import (
    all_datasets,
    all_methods,
    check_override_names,
    chosen_names,
    chosen_tables,
    readable_papers,
)
from petvr.papers.implemented import Implemented
from petvr.papers.recipe import check_overrides
from petvr.papers.table import OWN, Cell, Table
from petvr.spec import Recipe, RunSpec, SettingOverride, Source

TUNED_ROW = "guesses tuned"  # stands behind the name of a row whose guesses are replaced
REPORTED = "reported only"  # how a cell says that its printed values are copied and nothing is run for them


@dataclass(frozen=True, eq=False)
class Plan:
    cells: dict[str, Cell]  # the distinct ones by their id, also those that cannot run
    runs: dict[str, RunSpec]
    tables: dict[str, Table]  # "vop/table_3" -> table whose cells name their runs
    tables_of: dict[str, tuple[str, ...]]  # cell -> tables that show it; none for optional cells

    @property
    def training_runs(self) -> list[RunSpec]:
        return [run for run in self.runs.values() if run.train]

    def table(self, name: str) -> Table:
        if name not in self.tables:
            raise errors.unknown("table", name, self.tables)
        return self.tables[name]


def expand(
    papers: str | Sequence[str] = "all",
    tables: str | Sequence[str] = "all",
    datasets: str | Sequence[str] = "all",
    methods: str | Sequence[str] = "all",
    seeds: Sequence[int] = (0, 1, 2),
    backbones: Mapping[str, str] | None = None,
    optional: bool | Collection[str] = False,
    quoted: bool = False,
    overrides: Mapping[str, Any] | None = None,
    implemented: Implemented | None = None,
    own_tables: Sequence[Table] = (),
    setting_overrides: Sequence[SettingOverride] = (),
) -> Plan:
    """All cells and runs the chosen tables need.

    papers, tables: "all" leaves out our own protocols and tables that are `on_request`; one that is named brings its
    paper along.
    tables: "vop/table_3" names; data sets outside `datasets` and methods (compositions by their full name) outside
    `methods` stay in their tables as "not selected".
    backbones: the paper's backbone -> the one used; what is not named stays.
    optional: also the cells only figures show, all or those of some names (`used_in`).
    quoted: also run the rows that papers only report, where a method
    is named. overrides: see Paper.recipe. A cell without training runs with the first seed alone, since nothing is
    drawn. own_tables: those of a user's data sets (petvr.papers.own), which name their methods themselves.
    setting_overrides: settings used in place of printed ones. A cell that several rows, tables or papers share is one
    run. A paper that cannot be read is left out, unless no other is asked for. Raises PetvrError for unknown names,
    empty or repeated seeds, bad overrides, and cells of one id with different recipes.
    """
    names = readable_papers(papers, tables)
    chosen = chosen_tables(names, tables, own_tables)
    if not seeds or len(set(seeds)) != len(seeds):
        raise PetvrError(f"seeds: needs at least one seed and each only once, given {list(seeds)}")
    implemented = implemented or Implemented()
    existing = sorted({*all_datasets(implemented), *(name for table in own_tables for name in table.datasets)})
    allowed = None if datasets == "all" else set(chosen_names("data set", datasets, existing))
    check_overrides(overrides or {}, implemented.similarities)
    check_override_names(overrides or {}, implemented, existing)
    wanted = None if methods == "all" else set(chosen_names("method", methods, all_methods(implemented)))
    planner = _Planner(
        tuple(seeds), dict(backbones or {}), quoted, overrides or {}, implemented, allowed, wanted, setting_overrides
    )
    planned = {table.id: planner.plan_table(table) for table in chosen}
    if optional:
        cells = [cell for name in names for cell in load_paper(name).optional]
        known = dict.fromkeys(cell.used_in for cell in cells)
        for used_in in () if isinstance(optional, bool) else optional:
            if used_in not in known:
                raise errors.unknown("name of optional cells", used_in, known, "optional")
        for cell in cells:
            if optional is True or (not isinstance(optional, bool) and cell.used_in in optional):
                planner.plan_cell(cell, table="")
    tables_of = {id: tuple(names) for id, names in planner.tables_of.items()}
    return Plan(planner.cells, planner.runs, planned, tables_of)


@dataclass
class _Planner:
    """Collects cells and runs; recipes are resolved once per cell and shared by its seeds."""

    seeds: tuple[int, ...]
    backbones: dict[str, str]
    quoted: bool
    overrides: Mapping[str, Any]
    implemented: Implemented
    allowed: set[str] | None
    wanted: set[str] | None
    setting_overrides: Sequence[SettingOverride]
    cells: dict[str, Cell] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    tables_of: dict[str, list[str]] = field(default_factory=dict)
    runs: dict[str, RunSpec] = field(default_factory=dict)

    def plan_table(self, table: Table) -> Table:
        rows, table = [], table.with_methods(sorted(self.implemented.methods or ()))
        if table.other_methods and self.allowed is not None:  # nothing is printed that would stand there
            table = table.only_of(self.allowed)
        for row in table.rows:
            cells = {dataset: self.plan_cell(cell, table.id, row.key) for dataset, cell in row.cells.items()}
            chosen = self.wanted is None or any(cell.method in self.wanted for cell in cells.values())
            if chosen or not table.other_methods:  # a table of all methods shows those of `methods` alone
                rows.append(row.model_copy(update={"cells": cells}))
            if tuned := {name: one for name, cell in cells.items() if (one := self.plan_variant(cell, table.id))}:
                facts = {"name": f"{row.name} ({TUNED_ROW})", "cells": tuned, "gain_over": "", "as_guessed": row.key}
                rows.append(row.model_copy(update=facts))
        return table.model_copy(update={"rows": tuple(rows)})

    def plan_cell(self, cell: Cell, table: str, row: str = "") -> Cell:
        """The cell with its id and runs, or with the reason why it has none."""
        backbone = self.backbones.get(cell.backbone, cell.backbone)
        if cell.method is None or (cell.reported_only is not None and not self.quoted):
            return cell.model_copy(update={"unavailable": REPORTED, "backbone": backbone})
        if self.allowed is not None and cell.dataset not in self.allowed:
            return cell.model_copy(update={"unavailable": "not selected"})
        if cell.paper in faults():
            return cell.model_copy(update={"unavailable": f"recipe cannot be read: {cell.paper}"})
        used = {
            override.key: override.used
            for override in self.setting_overrides
            if override.method in cell.method.split("+") and cell.setting.get(override.key) == override.printed
        }
        method, setting = cell.method, self.implemented.typed(cell.method, cell.setting | used)
        cell = cell.model_copy(update={"setting": setting, "backbone": backbone})
        recipe, sources = load_paper(cell.paper).recipe(
            cell.dataset,
            method,
            cell.setting,
            self.overrides,
            cell.variant,
            named_by(table or cell.used_in, cell.paper),
            {key: Source(**dict(source)) for key, source in cell.sources.items()},
            self.implemented.needed_similarity(method),
        )
        sources |= {f"setting.{key}": Source(origin="config", where="setting_overrides") for key in used}
        unavailable = self.implemented.unavailable(cell.dataset, method, recipe.similarity)
        listed = table.startswith(f"{OWN}/")  # its methods are listed by the user already
        if not unavailable and self.wanted is not None and not listed and method not in self.wanted:
            unavailable = "not selected"
        if not unavailable:
            try:
                self.implemented.check(method, cell.setting, recipe, backbone, cell.dataset if cell.train else "")
            except PetvrError as error:
                chosen = [one.where for key, one in sources.items() if one.origin == "config" and key in str(error)]
                raise PetvrError(f"{chosen[0] if chosen else _place(table, row) or cell.used_in}: {error}") from error
        first = self.implemented.run_of(cell, self.seeds[0], recipe, sources, exists=not unavailable)
        if not unavailable:
            first = self.implemented.tuned(first)
        if table and table not in self.tables_of.setdefault(first.cell, []):
            self.tables_of[first.cell].append(table)
        if first.cell not in self.cells:
            runs: list[RunSpec] = []
            if not unavailable:
                seeds = self.seeds if cell.train else self.seeds[:1]
                runs = [first, *(first.model_copy(update={"seed": seed}) for seed in seeds[1:])]
                self.runs.update((run.id, run) for run in runs)
            ids = tuple(run.id for run in runs)
            self.recipes[first.cell] = recipe
            self.cells[first.cell] = cell.model_copy(update={"id": first.cell, "runs": ids, "unavailable": unavailable})
        elif self.recipes[first.cell] != recipe:
            raise PetvrError(f"{table or cell.used_in}: {first.cell}: two cells of this id have different recipes")
        planned = self.cells[first.cell]
        return cell.model_copy(update={"id": planned.id, "runs": planned.runs, "unavailable": planned.unavailable})

    def plan_variant(self, cell: Cell, table: str) -> Cell | None:
        """The cell with tuned values in place of its guesses, under an id of its own; None where it has no such."""
        first = self.implemented.guesses_tuned(self.runs[cell.runs[0]]) if cell.runs else None
        if first is None:
            return None
        runs = [first.model_copy(update={"seed": self.runs[run].seed}) for run in cell.runs]
        self.runs.update((run.id, run) for run in runs)
        variant = cell.model_copy(update={"id": first.cell, "runs": tuple(run.id for run in runs)})
        if table not in self.tables_of.setdefault(first.cell, []):
            self.tables_of[first.cell].append(table)
        return self.cells.setdefault(first.cell, variant)


def _place(table: str, row: str) -> str:
    """`.../rap/tables.yaml: table_4.rows.RAP`; the table alone where a user's configuration has its rows."""
    paper, _, name = table.partition("/")
    return f"{load_paper(paper).folder / 'tables.yaml'}: {name}.rows.{row}" if row and paper != OWN else table


def named_by(shown_in: str, paper: str) -> Source:
    """`rap/table_4` as the source of what its rows name; of another paper's cell with that table's paper."""
    table_paper, _, name = shown_in.rpartition("/")
    if table_paper == OWN:
        return Source(origin="config", where=f"custom_datasets.{name}.methods")
    of = f" of {load_paper(table_paper).short_title}" if table_paper not in ("", paper) else ""
    if table_paper and load_paper(table_paper).kind == "protocol":
        return Source(origin="protocol", where=f"named by the rows of {shown_in}")
    return Source(origin="paper", where=f"{name.replace('_', ' ')}{of}")
