"""One paper as read from its folder: resolved recipes with their sources, tables, printed values."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers import schema
from petvr.papers.schema import CellSpec, Copied, OptionalSpec, RowSpec, TableSpec, Value
from petvr.spec import Recipe, Source

LOW_IS_GOOD = ("MnR", "MdR")
COSTS = ("params_M", "params_percent", "memory_G", "gflops")  # columns that belong to no direction


class Column(NamedTuple):
    """`dataset` is None where every row has its own data set; direction is "none" for the COSTS."""

    dataset: str | None
    direction: str
    metric: str
    better: str  # "high", "low", or "" where nothing is marked

    @property
    def key(self) -> str:
        """`params_M`, `t2v:R@1`, `didemo:t2v:R@1`"""
        direction = None if self.direction == "none" else self.direction
        return ":".join(part for part in (self.dataset, direction, self.metric) if part)


class Printed(NamedTuple):
    """A printed number. `value` is None where the cell is a dash or damaged beyond proof.

    `text` holds the number's own digits, or the dash or damage that stands there; `cell` the whole printed cell,
    which may feed several columns (`47.7/208.2`).
    """

    value: float | None
    std: float | None
    text: str
    cell: str
    emphasised: str  # "bold", "underline", or "" (also where emphasis was lost)
    remark: str


PrintedKey = tuple[str, str, str, str]  # row key, data set, direction, metric


@dataclass(frozen=True)
class Cell:
    """What one row shows for one data set; `variant` holds the recipe fields set by this cell alone."""

    paper: str
    dataset: str
    backbone: str
    method: str | None
    setting: dict[str, Value]
    variant: dict[str, Value]
    train: bool
    evaluate: str
    quoted: Copied | None
    reported_only: Copied | None


@dataclass(frozen=True)
class Row:
    key: str
    name: str
    note: str
    group: str
    block: str
    cells: dict[str, Cell]  # by data set


@dataclass(frozen=True)
class Table:
    paper: str
    name: str
    title: str
    note: str
    datasets: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def id(self) -> str:
        """`vop/table_3`"""
        return f"{self.paper}/{self.name}"

    def printed_keys(self) -> set[PrintedKey]:
        """Every (row, data set, direction, metric) this table shows: the join with printed.csv."""
        return {
            (row.key, dataset, column.direction, column.metric)
            for row in self.rows
            for dataset in row.cells
            for column in self.columns
            if column.dataset in (None, dataset)
        }


class Paper:
    """Raises PetvrError, naming file and key, if a file of the folder is missing or malformed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self._recipe_file = folder / "recipe.yaml"
        self._recipe = schema.read(self._recipe_file, schema.RecipeFile)
        self._check_recipe()

    title = property(lambda self: self._recipe.title)
    year = property(lambda self: self._recipe.year)
    seeds = property(lambda self: tuple(self._recipe.seeds), doc="The seeds the paper names; empty if none.")

    @property
    def percent_of(self) -> dict[str, int]:
        """Backbone -> parameters that count as 100 % in this paper; empty where it prints no percentages."""
        return {backbone: int(leaf.value) for backbone, leaf in self._recipe.percent_of.items()}

    @functools.cached_property
    def open_questions(self) -> str:
        """open.md: what the paper leaves open or contradicts."""
        return (self.folder / "open.md").read_text(encoding="utf-8")

    # recipes

    def recipe(
        self,
        dataset: str,
        method: str,
        setting: Mapping[str, Value] | None = None,
        overrides: Mapping[str, Any] | None = None,
        variant: Mapping[str, Value] | None = None,
        variant_source: str = "",
    ) -> tuple[Recipe, dict[str, Source]]:
        """How this paper trains `method` on `dataset`, and the source of every value.

        Order, later wins: base, rules of recipe.yaml, `overrides` of the configuration
        ({default, papers, datasets, methods}: {field: value}), `variant` of the cell.
        Sources are keyed "recipe.<field>" and "setting.<key>". Raises PetvrError for unknown fields or bad values.
        """
        leaves: dict[str, tuple[Any, Source]] = {}
        for key, leaf in self._recipe.base.items():
            leaves[key] = leaf.value, _source(leaf)
        parts = {method, *method.split("+")}
        for rule in self._recipe.rules:
            if _applies(rule.when, dataset, parts, setting or {}):
                for key, leaf in rule.set.items():
                    leaves[key] = leaf.value, _source(leaf)
        for where, given in _config_overrides(overrides or {}, self.name, dataset, method):
            for key in given:
                _known_field(key, where)
            _replace(leaves, given, Source(origin="config", where=where))
        _replace(leaves, variant or {}, Source(origin="paper", where=variant_source or f"{self.name}/tables.yaml"))
        recipe = schema.validated(Recipe, {k: v for k, (v, _) in leaves.items()}, f"{self._recipe_file}: recipe")
        sources = {f"recipe.{key}": source for key, (_, source) in leaves.items()}
        for key in setting or {}:
            sources[f"setting.{key}"] = self.setting_source(method, key)
        return recipe, sources

    def setting_source(self, method: str, key: str) -> Source:
        """Where the value of a method's setting comes from; the rows of the tables unless recipe.yaml says more."""
        for name in (method, *method.split("+")):
            where = self._recipe.settings.get(name, {}).get(key)
            if where is not None:
                return Source(origin=where.origin, where=where.where)
        return Source(origin="paper", where=f"rows of {self.name}/tables.yaml")

    def _check_recipe(self) -> None:
        file, fields = str(self._recipe_file), set(Recipe.model_fields)
        for key in self._recipe.base:
            _known_field(key, f"{file}: base")
        missing = sorted(fields - set(self._recipe.base))
        if missing:
            raise PetvrError(f"{file}: base: missing {', '.join(missing)}")
        base = {key: leaf.value for key, leaf in self._recipe.base.items()}
        schema.validated(Recipe, base, f"{file}: base")
        shown = {dataset for table in self._tables_file.tables.values() for dataset in table.datasets}
        for number, rule in enumerate(self._recipe.rules):
            where = f"{file}: rules.{number}"
            for key in rule.set:
                _known_field(key, f"{where}.set")
            for dataset in rule.when.dataset or []:
                if dataset not in shown:
                    raise errors.unknown("data set", dataset, shown, f"{where}.when.dataset")
            changed = {key: leaf.value for key, leaf in rule.set.items()}
            schema.validated(Recipe, base | changed, f"{where}.set")

    # tables

    @functools.cached_property
    def _tables_file(self) -> schema.TablesFile:
        return schema.read(self.folder / "tables.yaml", schema.TablesFile)

    @functools.cached_property
    def tables(self) -> dict[str, Table]:
        """`table_3` -> Table, in the order of the file."""
        return {name: self._table(name, spec) for name, spec in self._tables_file.tables.items()}

    @functools.cached_property
    def optional(self) -> list[tuple[OptionalSpec, Cell]]:
        """Cells behind the switch: what figures show beyond the tables, and the candidates of a choice."""
        return [
            (spec, self._cell(spec.model_copy(update={"setting": setting}), dataset, "vit-b-32", f"optional.{number}"))
            for number, spec in enumerate(self._tables_file.optional)
            for dataset in spec.datasets
            for setting in _grid(spec.setting)
        ]

    def _table(self, name: str, spec: TableSpec) -> Table:
        rows, seen = [], set()
        for row in spec.rows:
            where = f"{name}.rows.{row.key}"
            if row.key in seen:
                raise PetvrError(f"{self.folder / 'tables.yaml'}: {where}: the row stands there twice")
            seen.add(row.key)
            chosen = row.datasets if row.datasets is not None else spec.datasets
            cells = {}
            for dataset in chosen:
                own = chosen[dataset] if isinstance(chosen, dict) else {}
                cells[dataset] = self._cell(self._merged(row, own, where), dataset, spec.backbone, where)
            rows.append(Row(row.key, row.name, row.note, row.group, row.block, cells))
        columns = tuple(_columns(spec))
        return Table(self.name, name, spec.title, spec.note, tuple(spec.datasets), columns, tuple(rows))

    def _merged(self, row: RowSpec, own: Mapping[str, Any], where: str) -> CellSpec:
        if not own:
            return row
        given = schema.validated(CellSpec, own, f"{self.folder / 'tables.yaml'}: {where}")
        changed = {key: getattr(given, key) for key in given.model_fields_set}
        changed["setting"] = row.setting | given.setting
        return row.model_copy(update=changed)

    def _cell(self, spec: CellSpec, dataset: str, backbone: str, where: str) -> Cell:
        where = f"{self.folder / 'tables.yaml'}: {where}"
        if spec.method is None and spec.reported_only is None:
            raise PetvrError(f"{where}: needs `method`, or `reported_only` with its evidence")
        for key in spec.recipe:
            _known_field(key, where)
        return Cell(
            paper=spec.paper or self.name,
            dataset=dataset,
            backbone=spec.backbone or backbone,
            method=spec.method,
            setting=dict(spec.setting),
            variant=dict(spec.recipe),
            train=spec.train,
            evaluate=spec.evaluate,
            quoted=spec.quoted,
            reported_only=spec.reported_only,
        )

    # printed values

    def printed(self, table: str) -> dict[PrintedKey, Printed]:
        """The paper's printed cells of one table, by (row key, data set, direction, metric)."""
        if table not in self.tables:
            raise errors.unknown("table", table, self.tables, self.name)
        return self._printed.get(table, {})

    @functools.cached_property
    def _printed(self) -> dict[str, dict[PrintedKey, Printed]]:
        path = self.folder / "printed.csv"
        tables: dict[str, dict[PrintedKey, Printed]] = {}
        with open(path, newline="", encoding="utf-8") as stream:
            for line, row in enumerate(csv.DictReader(stream), start=2):
                key = (row["row"], row["dataset"], row["direction"], row["metric"])
                cells = tables.setdefault(row["table"], {})
                if key in cells:
                    raise PetvrError(f"{path}: line {line}: {'/'.join(key)} stands there twice")
                try:
                    value, std = (float(row[name]) if row[name] else None for name in ("value", "std"))
                except ValueError as error:
                    raise PetvrError(f"{path}: line {line}: value and std must be numbers or empty") from error
                text = row["value"] or row["printed"]
                cells[key] = Printed(value, std, text, row["printed"], row["emphasised"], row["remark"])
        return tables


def _replace(leaves: dict[str, tuple[Any, Source]], given: Mapping[str, Any], source: Source) -> None:
    """Another similarity starts from its own defaults, since the old one's setting would not fit it."""
    if "similarity" in given and given["similarity"] != leaves["similarity"][0]:
        leaves["similarity_setting"] = {}, source
    leaves.update((key, (value, source)) for key, value in given.items())


def _source(leaf: schema.Leaf) -> Source:
    return Source(origin=leaf.origin, where=leaf.where)


def _applies(when: schema.When, dataset: str, parts: set[str], setting: Mapping[str, Value]) -> bool:
    return (
        (when.dataset is None or dataset in when.dataset)
        and (when.method is None or bool(parts.intersection(when.method)))
        and all(key in setting and setting[key] == value for key, value in when.setting.items())
    )


def _known_field(key: str, where: str) -> None:
    if key not in Recipe.model_fields:
        raise errors.unknown("recipe field", key, Recipe.model_fields, where)


OVERRIDE_LEVELS = ("default", "papers", "datasets", "methods")


def _config_overrides(
    overrides: Mapping[str, Any], paper: str, dataset: str, method: str
) -> list[tuple[str, Mapping[str, Any]]]:
    """The applicable parts of the configuration's overrides, general ones first, each with its place."""
    for level in overrides:
        if level not in OVERRIDE_LEVELS:
            raise errors.unknown("key", level, OVERRIDE_LEVELS, "overrides")
    found = [("overrides.default", overrides.get("default") or {})]
    names = {"papers": [paper], "datasets": [dataset], "methods": [*dict.fromkeys([*method.split("+"), method])]}
    for level, candidates in names.items():
        given = overrides.get(level) or {}
        found += [(f"overrides.{level}.{name}", given[name] or {}) for name in candidates if name in given]
    return found


def _columns(spec: TableSpec) -> list[Column]:
    columns = []
    for dataset in spec.datasets if spec.per_dataset else [None]:
        for text in spec.columns:
            direction, _, metrics = text.rpartition(":")
            for metric in metrics.split():
                better = "low" if metric in LOW_IS_GOOD else "high"
                if metric in COSTS:
                    better = "low" if spec.mark_params and metric == "params_percent" else ""
                columns.append(Column(dataset, direction or "none", metric, better))
    return columns


def _grid(setting: Mapping[str, Any]) -> list[dict[str, Value]]:
    """{r: [2, 4], ds: 16} -> [{r: 2, ds: 16}, {r: 4, ds: 16}]"""
    points: list[dict[str, Value]] = [{}]
    for key, value in setting.items():
        values = value if isinstance(value, list) else [value]
        points = [point | {key: one} for point in points for one in values]
    return points
