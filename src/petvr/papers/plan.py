"""From papers and a choice of tables to runs: what must be trained, and which table shows which run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers import NAMES, load
from petvr.papers.table import OWN, Cell, Table
from petvr.papers.views import CellView, Known, Plan, PlannedCell, RowView, TableView
from petvr.spec import Recipe, RunSpec, SettingOverride, Source

__all__ = ["CellView", "Known", "Plan", "PlannedCell", "RowView", "TableView", "expand"]


def expand(
    papers: str | Sequence[str] = "all",
    tables: str | Sequence[str] = "all",
    datasets: str | Sequence[str] = "all",
    methods: str | Sequence[str] = "all",
    seeds: Sequence[int] = (0, 1, 2),
    backbones: Mapping[str, str] | None = None,
    optional: bool = False,
    quoted: bool = False,
    overrides: Mapping[str, Any] | None = None,
    known: Known | None = None,
    own: Sequence[Table] = (),
    setting_overrides: Sequence[SettingOverride] = (),
) -> Plan:
    """All cells and runs the chosen tables need.

    tables: "vop/table_3" names; data sets outside `datasets` and methods (compositions by their full name) outside
    `methods` stay in their tables as "not selected".
    backbones: the paper's backbone -> the one used; what is not named stays.
    optional: also the cells only figures show. quoted: also run the rows that papers only report, where a method
    is named. overrides: see Paper.recipe. A cell without training runs with the first seed alone, since nothing is
    drawn. own: tables of a user's data sets (petvr.papers.own), which name their methods themselves.
    setting_overrides: settings used in place of printed ones. A cell that several rows, tables or papers share is one
    run. Raises PetvrError for unknown names, empty or repeated seeds, bad overrides, and cells of one id with
    different recipes.
    """
    names = _chosen("paper", papers, NAMES)
    chosen = _chosen_tables(names, tables, own)
    if not seeds or len(set(seeds)) != len(seeds):
        raise PetvrError(f"seeds: needs at least one seed and each only once, given {list(seeds)}")
    known = known or Known()
    existing = sorted({*_all_datasets(known), *(name for table in own for name in table.datasets)})
    allowed = None if datasets == "all" else set(_chosen("data set", datasets, existing))
    _check_override_names(overrides or {}, known, existing)
    wanted = None if methods == "all" else set(_chosen("method", methods, _all_methods(known)))
    builder = _Builder(
        tuple(seeds), dict(backbones or {}), quoted, overrides or {}, known, allowed, wanted, setting_overrides
    )
    views = {table.id: builder.table(table) for table in chosen}
    if optional:
        for name in names:
            for spec, cell in load(name).optional:
                builder.cell(cell, table="", used_in=f"{name}/{spec.used_in}" if spec.used_in else spec.status)
    return Plan(builder.planned(), builder.runs, views)


class _Builder:
    """Collects cells and runs; recipes are resolved once per cell and shared by its seeds."""

    def __init__(
        self,
        seeds: tuple[int, ...],
        backbones: dict[str, str],
        quoted: bool,
        overrides: Mapping[str, Any],
        known: Known,
        allowed: set[str] | None,
        wanted: set[str] | None,
        setting_overrides: Sequence[SettingOverride],
    ) -> None:
        self.setting_overrides = setting_overrides
        self.seeds, self.backbones, self.quoted = seeds, backbones, quoted
        self.overrides, self.known, self.allowed, self.wanted = overrides, known, allowed, wanted
        self.cells: dict[str, PlannedCell] = {}
        self.recipes: dict[str, Recipe] = {}
        self.tables_of: dict[str, list[str]] = {}
        self.runs: dict[str, RunSpec] = {}

    def table(self, table: Table) -> TableView:
        rows = tuple(
            RowView(
                row.key,
                row.name,
                row.note,
                row.group,
                row.block,
                {dataset: self.cell(cell, table.id) for dataset, cell in row.cells.items()},
            )
            for row in table.rows
        )
        return TableView(table.paper, table.name, table.title, table.note, table.datasets, table.columns, rows)

    def cell(self, cell: Cell, table: str, used_in: str = "") -> CellView:
        copied = cell.quoted or cell.reported_only
        if cell.reported_only is not None and not (self.quoted and cell.method):
            return CellView("reported only", evaluate=cell.evaluate, quoted=copied)
        if self.allowed is not None and cell.dataset not in self.allowed:
            return CellView("not selected", evaluate=cell.evaluate, quoted=copied)
        planned = self._planned(cell, table, used_in)
        shown = planned.id if planned.status == "run" else ""
        return CellView(planned.status, shown, planned.runs, cell.evaluate, copied)

    def planned(self) -> dict[str, PlannedCell]:
        return {
            id: PlannedCell(**{**vars(cell), "tables": tuple(self.tables_of.get(id, ()))})
            for id, cell in self.cells.items()
        }

    def _planned(self, cell: Cell, table: str, used_in: str) -> PlannedCell:
        assert cell.method is not None
        used = {
            each.key: each.used
            for each in self.setting_overrides
            if each.method in cell.method.split("+") and cell.setting.get(each.key) == each.printed
        }
        cell = replace(cell, setting=cell.setting | used)
        recipe, sources = load(cell.paper).recipe(
            cell.dataset, cell.method, cell.setting, self.overrides, cell.variant, table or used_in
        )
        sources |= {f"setting.{key}": Source(origin="config", where="setting_overrides") for key in used}
        status = self.known.missing(cell.dataset, cell.method, recipe.similarity)
        listed = table.startswith(f"{OWN}/")  # its methods are listed by the user already
        if not status and self.wanted is not None and not listed and cell.method not in self.wanted:
            status = "not selected"
        first = self._run(cell, self.seeds[0], recipe, sources, with_versions=not status)
        if table and table not in self.tables_of.setdefault(first.cell, []):
            self.tables_of[first.cell].append(table)
        if first.cell in self.cells:
            if self.recipes[first.cell] != recipe:
                raise PetvrError(f"{table or used_in}: {first.cell}: two cells of this id have different recipes")
            return self.cells[first.cell]
        runs: list[RunSpec] = []
        if not status:
            seeds = self.seeds if cell.train else self.seeds[:1]
            runs = [first, *(first.model_copy(update={"seed": seed}) for seed in seeds[1:])]
            self.runs.update((run.id, run) for run in runs)
        self.recipes[first.cell] = recipe
        self.cells[first.cell] = PlannedCell(
            id=first.cell,
            paper=cell.paper,
            dataset=cell.dataset,
            backbone=first.backbone,
            method=cell.method,
            setting=cell.setting,
            train=cell.train,
            status=status or "run",
            runs=tuple(run.id for run in runs),
            tables=(),
            used_in=used_in,
        )
        return self.cells[first.cell]

    def _run(
        self, cell: Cell, seed: int, recipe: Recipe, sources: dict[str, Source], *, with_versions: bool
    ) -> RunSpec:
        assert cell.method is not None
        options = self.known.options.get(cell.dataset, {})
        chosen_by = {f"options.{key}": source for key, (_, source) in options.items()}
        return RunSpec(
            paper=cell.paper,
            dataset=cell.dataset,
            backbone=self.backbones.get(cell.backbone, cell.backbone),
            method=cell.method,
            setting=cell.setting,
            variant=cell.variant,
            seed=seed,
            train=cell.train,
            recipe=recipe,
            options={key: value for key, (value, _) in options.items()},
            sources=sources | chosen_by,
            versions=self.known.versions(cell.method, recipe.similarity) if with_versions else {},
        )


def _chosen(what: str, given: str | Sequence[str], allowed: Collection[str]) -> list[str]:
    """`given` as a list of known names; "all" means all of them."""
    if given == "all":
        return list(allowed)
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in allowed:
            raise errors.unknown(what, name, [*allowed, "all"])
    return list(dict.fromkeys(names))


def _chosen_tables(papers: Sequence[str], given: str | Sequence[str], own: Sequence[Table]) -> list[Table]:
    tables = {table.id: table for name in papers for table in load(name).tables.values()}
    tables |= {table.id: table for table in own}
    return [tables[id] for id in _chosen("table", given, tables)]


def _all_datasets(known: Known) -> list[str]:
    shown = {dataset for name in NAMES for table in load(name).tables.values() for dataset in table.datasets}
    return sorted(shown | set(known.datasets or ()))


def _all_methods(known: Known) -> list[str]:
    """Those that exist, and those the tables name, compositions and their parts."""
    found = set(known.methods or ())
    for name in NAMES:
        paper = load(name)
        cells = [cell for table in paper.tables.values() for row in table.rows for cell in row.cells.values()]
        for cell in cells + [cell for _, cell in paper.optional]:
            found.update([cell.method, *cell.method.split("+")] if cell.method else [])
    return sorted(found)


def _check_override_names(overrides: Mapping[str, Any], known: Known, datasets: Sequence[str]) -> None:
    """A misspelt paper, data set or method would silently override nothing."""
    allowed = {"papers": NAMES, "datasets": datasets, "methods": _all_methods(known)}
    for level, names in allowed.items():
        for name in overrides.get(level) or {}:
            if name not in names:
                raise errors.unknown(level.removesuffix("s"), name, names, f"recipe.{level}")
