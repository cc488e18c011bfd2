"""From papers and a choice of tables to runs: what must be trained, and which table shows which run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers import NAMES, faults, load_paper, published, readable
from petvr.papers.recipe import check_overrides
from petvr.papers.table import OWN, Cell, Table
from petvr.registry import Setting
from petvr.spec import Recipe, RunSpec, SettingOverride, Source, Value

TUNED_ROW = "guesses tuned"  # stands behind the name of a row whose guesses are replaced
REPORTED = "reported only"  # how a cell says that its printed values are copied and nothing is run for them


@dataclass(frozen=True)
class Implemented:
    """What exists, as the caller sees it; None means that everything counts as implemented."""

    methods: Collection[str] | None = None
    similarities: Collection[str] | None = None
    datasets: Collection[str] | None = None
    method_version: Callable[[str], int] = lambda name: 1
    similarity_version: Callable[[str], int] = lambda name: 1
    similarity_of: Callable[[str], str | None] = lambda method: None  # what a method or composition cannot do without
    method_settings: Callable[[str], Mapping[str, Setting]] = lambda name: {}
    similarity_settings: Callable[[str], Mapping[str, Setting]] = lambda name: {}
    # raises PetvrError where method, setting, recipe, backbone and data set cannot go together
    check: Callable[[str, Mapping[str, Any], Recipe, str, str], None] = lambda *run: None
    tuned: Callable[[RunSpec], RunSpec] = lambda run: run  # with the values that tuning chose
    # the variant of a run whose guessed rates are tuned; None: it has none, or nobody asked for it
    guesses_tuned: Callable[[RunSpec], RunSpec | None] = lambda run: None
    parts: Mapping[str, int] = field(default_factory=dict)  # e.g. {"training": 2}: versions every run depends on
    # data set -> option -> (chosen value, who chose it)
    options: Mapping[str, Mapping[str, tuple[str, Source]]] = field(default_factory=dict)

    def unavailable(self, dataset: str, method: str, similarity: str) -> str:
        """Why a cell cannot run: "not implemented: vop_f", "no data set: lsmdc", or "" if it can."""
        absent = [name for name in method.split("+") if self.methods is not None and name not in self.methods]
        if self.similarities is not None and similarity not in self.similarities and similarity not in absent:
            absent.append(similarity)
        if absent:
            return f"not implemented: {', '.join(absent)}"
        if self.datasets is not None and dataset not in self.datasets:
            return f"no data set: {dataset}"
        return ""

    def needed_similarity(self, method: str) -> str | None:
        exists = self.methods is None or all(name in self.methods for name in method.split("+"))
        return self.similarity_of(method) if exists else None

    def unnamed(self, method: str, setting: Mapping[str, Any], recipe: Recipe) -> Iterator[tuple[str, str, Setting]]:
        """(key as in RunSpec.defaults, the method's key or "", declaration) of every setting left at its default."""
        parts = method.split("+")
        for part in parts:
            for key, declared in self.method_settings(part).items():
                if not {key, f"{part}.{key}"} & setting.keys():
                    yield f"setting.{part}.{key}" if len(parts) > 1 else f"setting.{key}", f"{part}.{key}", declared
        for key, declared in self.similarity_settings(recipe.similarity).items():
            if key not in recipe.similarity_setting:
                yield f"similarity.{key}", "", declared

    def versions(self, method: str, similarity: str) -> dict[str, int]:
        versions = {f"methods/{name}": self.method_version(name) for name in method.split("+")}
        return versions | {f"similarity/{similarity}": self.similarity_version(similarity)} | dict(self.parts)


@dataclass(frozen=True, eq=False)
class Plan:
    cells: dict[str, Cell]  # the distinct ones by their id, also those that cannot run
    runs: dict[str, RunSpec]
    tables: dict[str, Table]  # "vop/table_3" -> table whose cells name their runs
    tables_of: dict[str, tuple[str, ...]]  # cell -> tables that show it; none for optional cells

    @property
    def training_runs(self) -> list[RunSpec]:
        return [run for run in self.runs.values() if run.train]


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
    names = _readable_papers(papers, tables)
    chosen = _chosen_tables(names, tables, own_tables)
    if not seeds or len(set(seeds)) != len(seeds):
        raise PetvrError(f"seeds: needs at least one seed and each only once, given {list(seeds)}")
    implemented = implemented or Implemented()
    existing = sorted({*_all_datasets(implemented), *(name for table in own_tables for name in table.datasets)})
    allowed = None if datasets == "all" else set(_chosen("data set", datasets, existing))
    check_overrides(overrides or {}, implemented.similarities)
    _check_override_names(overrides or {}, implemented, existing)
    wanted = None if methods == "all" else set(_chosen("method", methods, _all_methods(implemented)))
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
        for row in table.rows:
            cells = {dataset: self.plan_cell(cell, table.id) for dataset, cell in row.cells.items()}
            chosen = self.wanted is None or any(cell.method in self.wanted for cell in cells.values())
            if chosen or not table.other_methods:  # a table of all methods shows those of `methods` alone
                rows.append(row.model_copy(update={"cells": cells}))
            if tuned := {name: one for name, cell in cells.items() if (one := self.plan_variant(cell, table.id))}:
                facts = {"name": f"{row.name} ({TUNED_ROW})", "cells": tuned, "gain_over": ""}
                rows.append(row.model_copy(update=facts))
        return table.model_copy(update={"rows": tuple(rows)})

    def plan_cell(self, cell: Cell, table: str) -> Cell:
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
        method, cell = cell.method, cell.model_copy(update={"setting": cell.setting | used, "backbone": backbone})
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
                raise PetvrError(f"{chosen[0] if chosen else table or cell.used_in}: {error}") from error
        first = self._run(cell, self.seeds[0], recipe, sources, with_versions=not unavailable)
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

    def _run(
        self, cell: Cell, seed: int, recipe: Recipe, sources: dict[str, Source], *, with_versions: bool
    ) -> RunSpec:
        assert cell.method is not None
        options = self.implemented.options.get(cell.dataset, {})
        chosen_by = {f"options.{key}": source for key, (_, source) in options.items()}
        defaults: dict[str, Value] = {}
        if with_versions:  # it exists
            defaults, declared_by = unnamed_settings(self.implemented, cell.paper, cell.method, cell.setting, recipe)
            chosen_by |= declared_by
        return RunSpec(
            paper=cell.paper,
            dataset=cell.dataset,
            backbone=cell.backbone,
            method=cell.method,
            setting=cell.setting,
            defaults=defaults,
            variant=cell.variant,
            seed=seed,
            train=cell.train,
            recipe=recipe,
            options={key: value for key, (value, _) in options.items()},
            sources=sources | chosen_by,
            versions=self.implemented.versions(cell.method, recipe.similarity) if with_versions else {},
        )


def named_by(shown_in: str, paper: str) -> Source:
    """`rap/table_4` as the source of what its rows name; of another paper's cell with that table's paper."""
    table_paper, _, name = shown_in.rpartition("/")
    if table_paper == OWN:
        return Source(origin="config", where=f"custom_datasets.{name}.methods")
    of = f" of {load_paper(table_paper).short_title}" if table_paper not in ("", paper) else ""
    if table_paper and load_paper(table_paper).kind == "protocol":
        return Source(origin="protocol", where=f"named by the rows of {shown_in}")
    return Source(origin="paper", where=f"{name.replace('_', ' ')}{of}")


def unnamed_settings(
    implemented: Implemented, paper: str, method: str, setting: Mapping[str, Any], recipe: Recipe
) -> tuple[dict[str, Value], dict[str, Source]]:
    """Values and sources of the settings left at their defaults: the paper's word on them, else the declaration's."""
    values, sources = {}, {}
    for key, own_key, declared in implemented.unnamed(method, setting, recipe):
        values[key] = declared.default
        of_paper = load_paper(paper).setting_source(method, own_key) if own_key else None
        sources[key] = of_paper or Source(origin=declared.origin, where=declared.where)
    return values, sources


def _readable_papers(choice: str | Sequence[str], tables: str | Sequence[str]) -> list[str]:
    """The chosen ones that can be read. Raises PetvrError where there are none, with the fault of the first."""
    names = _chosen("paper", choice, NAMES)
    if choice == "all":
        of_tables = {table.partition("/")[0] for table in ([tables] if isinstance(tables, str) else tables)}
        names = [name for name in names if name in {*faults(), *published(), *of_tables}]
    usable = [name for name in names if name in readable()]
    if names and not usable:
        raise PetvrError(faults()[names[0]])
    return usable


def _chosen(what: str, choice: str | Sequence[str], allowed: Collection[str]) -> list[str]:
    """`choice` as a list of known names; "all" means all of them."""
    if choice == "all":
        return list(allowed)
    names = [choice] if isinstance(choice, str) else list(choice)
    for name in names:
        if name not in allowed:
            raise errors.unknown(what, name, [*allowed, "all"])
    return list(dict.fromkeys(names))


def _chosen_tables(names: Sequence[str], choice: str | Sequence[str], own_tables: Sequence[Table]) -> list[Table]:
    tables = {table.id: table for name in names for table in load_paper(name).tables.values()}
    tables |= {table.id: table for table in own_tables}
    for id in [choice] if isinstance(choice, str) else choice:
        if id.partition("/")[0] in faults():
            raise PetvrError(f"{id}: {faults()[id.partition('/')[0]]}")
    if choice == "all":
        return [table for table in tables.values() if not table.on_request]
    return [tables[id] for id in _chosen("table", choice, tables)]


def _all_datasets(implemented: Implemented) -> list[str]:
    shown = {dataset for paper in readable().values() for t in paper.tables.values() for dataset in t.datasets}
    return sorted(shown | set(implemented.datasets or ()))


def _all_methods(implemented: Implemented) -> list[str]:
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


def _check_override_names(overrides: Mapping[str, Any], implemented: Implemented, datasets: Sequence[str]) -> None:
    """A misspelt paper, data set or method would silently override nothing."""
    allowed = {"papers": NAMES, "datasets": datasets, "methods": _all_methods(implemented)}
    for level, names in allowed.items():
        for name in overrides.get(level) or {}:
            if name not in names:
                raise errors.unknown(level.removesuffix("s"), name, names, f"recipe.{level}")
