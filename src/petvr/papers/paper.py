"""One paper, read from its folder."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petvr import errors
from petvr.papers import printed, recipe, schema, table
from petvr.papers.printed import Printed, PrintedKey
from petvr.papers.schema import OptionalSpec, Value
from petvr.papers.table import Cell, Table
from petvr.spec import Recipe, Source


class Paper:
    """Raises PetvrError, naming file and key, if a file of the folder is missing or malformed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self._recipe = schema.read(folder / "recipe.yaml", schema.RecipeFile)
        self._tables = schema.read(folder / "tables.yaml", schema.TablesFile)
        datasets = {dataset for spec in self._tables.tables.values() for dataset in spec.datasets}
        recipe.check(folder / "recipe.yaml", self._recipe, datasets)

    @property
    def title(self) -> str:
        return self._recipe.title

    @property
    def year(self) -> int:
        return self._recipe.year

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds the paper names; empty if none."""
        return tuple(self._recipe.seeds)

    @property
    def percent_of(self) -> dict[str, int]:
        """Backbone -> parameters that count as 100 % in this paper; empty where it prints no percentages."""
        return {backbone: int(leaf.value) for backbone, leaf in self._recipe.percent_of.items()}

    @functools.cached_property
    def open_questions(self) -> str:
        """open.md: what the paper leaves open or contradicts."""
        return (self.folder / "open.md").read_text(encoding="utf-8")

    @functools.cached_property
    def tables(self) -> dict[str, Table]:
        """`table_3` -> Table, in the order of the file."""
        file = self.folder / "tables.yaml"
        return {name: table.table(self.name, file, name, spec) for name, spec in self._tables.tables.items()}

    @functools.cached_property
    def optional(self) -> list[tuple[OptionalSpec, Cell]]:
        """Cells no table shows: what figures need beyond them, and the candidates of a choice."""
        return table.optional(self.name, self.folder / "tables.yaml", self._tables.optional)

    def printed(self, table: str) -> dict[PrintedKey, Printed]:
        """The paper's printed cells of one table, by (row key, data set, direction, metric)."""
        if table not in self.tables:
            raise errors.unknown("table", table, self.tables, self.name)
        return self._printed.get(table, {})

    @functools.cached_property
    def _printed(self) -> dict[str, dict[PrintedKey, Printed]]:
        return printed.read(self.folder / "printed.csv")

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

        Order, later wins: base and rules of recipe.yaml, `overrides` of the configuration ({default, papers,
        datasets, methods}: {field: value}), `variant` of the cell. A similarity named by the last two starts from its
        own defaults. Sources are keyed "recipe.<field>" and "setting.<key>".
        Raises PetvrError for unknown fields and values that do not fit.
        """
        return recipe.resolve(
            self.name,
            self.folder / "recipe.yaml",
            self._recipe,
            dataset,
            method,
            setting or {},
            overrides or {},
            variant or {},
            variant_source or f"{self.name}/tables.yaml",
        )
