"""One paper, read from its folder."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers import recipe, schema
from petvr.papers.claims import Claim, read_claims
from petvr.papers.contents import Contents
from petvr.papers.figures import FigureSpec, read_figures
from petvr.papers.printed import Printed, PrintedKey, read_printed
from petvr.papers.schema import Value
from petvr.papers.table import Cell, Table, make_table, optional_cells
from petvr.spec import Recipe, Source

FILES = {
    "recipe.yaml": "how it trains and counts, each value with its source",
    "tables.yaml": "its tables, row by row, and what only its figures show",
    "printed.csv": "every number it prints in a table",
    "claims.yaml": "what it says in words about its numbers",
    "contents.yaml": "its sections, tables and figures, which citations may name",
    "open.md": "what it leaves open or contradicts: `# What ... leaves open` and a list",
}
FIGURES = "figures.yaml"  # beside them, for a paper that draws figures of its own


class Paper:
    """Raises PetvrError, naming file and key, if a file of the folder is missing or malformed.

    `papers`: the names that a cell may give; by default any.
    """

    def __init__(self, folder: Path, papers: Sequence[str] | None = None) -> None:
        self.folder = folder
        self.name = folder.name
        absent = [name for name in FILES if not (folder / name).is_file()]
        if absent:
            raise PetvrError(f"{folder}: no {', '.join(absent)}; a paper's folder holds {', '.join(FILES)}")
        self._recipe = schema.read_yaml(folder / "recipe.yaml", schema.RecipeFile)
        self._tables = schema.read_yaml(folder / "tables.yaml", schema.TablesFile)
        datasets = {dataset for spec in self._tables.tables.values() for dataset in spec.datasets}
        recipe.check_recipe(folder / "recipe.yaml", self._recipe, datasets)
        self.contents = schema.read_yaml(folder / "contents.yaml", Contents)
        self.tables: dict[str, Table] = self._read_tables()  # by name, in the order of the file
        # what figures need beyond the tables, and the candidates of a choice
        self.optional: list[Cell] = optional_cells(self.name, folder / "tables.yaml", self._tables.optional)
        self._check_names()
        self._check_citations()
        if papers is not None:
            self._check_papers(papers)

    @property
    def kind(self) -> str:
        """paper, or protocol: our own."""
        return self._recipe.kind

    @property
    def title(self) -> str:
        return self._recipe.title

    @property
    def short_title(self) -> str:
        """Stands before the number of a table."""
        return self._recipe.short_title

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

    @property
    def counting(self) -> schema.Counting:
        """How the parameters it prints are counted."""
        return self._recipe.counting

    @property
    def printed_tables(self) -> dict[str, dict[PrintedKey, Printed]]:
        return {name: table.printed for name, table in self.tables.items()}

    @functools.cached_property
    def figures(self) -> dict[str, FigureSpec]:
        """figures.yaml, by name; empty where there is no such file."""
        return read_figures(self.folder / FIGURES, self.tables, self.optional)

    @functools.cached_property
    def claims(self) -> list[Claim]:
        """claims.yaml: what the paper says in words about its numbers."""
        claims = read_claims(self.folder / "claims.yaml", self.printed_tables)
        for claim in claims:
            self.contents.check(claim.where, f"{self.folder / 'claims.yaml'}: {claim.id}.where")
        return claims

    @property
    def claims_digest(self) -> str:
        """Changes when a claim or a printed number does."""
        files = (self.folder / name for name in ("claims.yaml", "printed.csv"))
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]

    def printed(self, table: str) -> dict[PrintedKey, Printed]:
        """The paper's printed cells of one table, by (row key, data set, direction, metric)."""
        if table not in self.tables:
            raise errors.unknown("table", table, self.tables, self.name)
        return self.tables[table].printed

    def _read_tables(self) -> dict[str, Table]:
        file, printed = self.folder / "tables.yaml", read_printed(self.folder / "printed.csv")
        for name in printed:
            if name not in self._tables.tables:
                raise errors.unknown("table", name, self._tables.tables, str(self.folder / "printed.csv"))
        return {
            name: make_table(
                self.name, file, name, spec, paper_title=self.short_title, printed=printed.get(name, {}),
                ties=self._recipe.ties.value,
            )
            for name, spec in self._tables.tables.items()
        }  # fmt: skip

    def _check_citations(self) -> None:
        """What recipe.yaml and the rows of tables.yaml say of this paper."""
        file = self._recipe
        sourced: dict[str, schema.SettingSource] = {f"recipe.yaml: base.{key}": one for key, one in file.base.items()}
        for number, rule in enumerate(file.rules):
            sourced |= {f"recipe.yaml: rules.{number}.set.{key}": one for key, one in rule.set.items()}
        for method, settings in file.settings.items():
            sourced |= {f"recipe.yaml: settings.{method}.{key}": one for key, one in settings.items()}
        for table in self.tables.values():
            for row in table.rows:
                for cell in row.cells.values():
                    place = f"tables.yaml: {table.name}.rows.{row.key}.sources"
                    sourced |= {f"{place}.{key}": one for key, one in cell.sources.items()}
        for place, one in sourced.items():
            if one.origin == "paper":
                self.contents.check(one.where, f"{self.folder}/{place}.where")

    def _cells(self) -> list[Cell]:
        rows = [row for table in self.tables.values() for row in table.rows]
        return [*(cell for row in rows for cell in row.cells.values()), *self.optional]

    def _check_names(self) -> None:
        """What recipe.yaml says of a method or a setting that no row has would silently change nothing."""
        if any(table.other_methods for table in self.tables.values()):
            return  # any method may have a row
        cells, file = [cell for cell in self._cells() if cell.method], self._recipe
        methods = {name for cell in cells for name in (str(cell.method), *str(cell.method).split("+"))}
        settings = {key for cell in cells for key in cell.setting}
        named = {f"rules.{number}.when.method": rule.when.method or [] for number, rule in enumerate(file.rules)}
        named |= {"settings": list(file.settings), "counting.remarks": list(file.counting.remarks)}
        for place, names in named.items():
            for name in names:
                if name not in methods:
                    raise errors.unknown("method of a row", name, methods, f"{self.folder}/recipe.yaml: {place}")
        for number, rule in enumerate(file.rules):
            for key in rule.when.setting:
                if key not in settings:
                    where = f"{self.folder}/recipe.yaml: rules.{number}.when.setting"
                    raise errors.unknown("setting of a row", key, settings, where)

    def _check_papers(self, papers: Sequence[str]) -> None:
        for cell in self._cells():
            if cell.paper not in papers:
                where = f"{self.folder / 'tables.yaml'}: {cell.method} on {cell.dataset}: paper"
                raise errors.unknown("paper", cell.paper, papers, where)

    def recipe(
        self,
        dataset: str,
        method: str,
        setting: Mapping[str, Value] | None = None,
        overrides: Mapping[str, Any] | None = None,
        variant: Mapping[str, Value] | None = None,
        named_by: Source | None = None,
        own_sources: Mapping[str, Source] | None = None,
        needed_similarity: str | None = None,
    ) -> tuple[Recipe, dict[str, Source]]:
        """How this paper trains `method` on `dataset`, and the source of every value.

        Order, later wins: base of recipe.yaml, the similarity that the method cannot do without, rules of recipe.yaml,
        `overrides` of the configuration ({default, papers, datasets, methods}: {field: value}), `variant` of the cell.
        A similarity named by the last two, or by the method, starts from its own defaults. `setting` and `variant` are
        `named_by` a table (the default) or a user, and a row may have `own_sources` for some of its values. Sources are
        keyed "recipe.<field>", "setting.<key>" and "similarity.<key>". Raises PetvrError for unknown fields, for values
        that do not fit, and for another similarity than the needed one.
        """
        return recipe.resolve_recipe(
            self.name,
            self.folder / "recipe.yaml",
            self._recipe,
            dataset,
            method,
            setting or {},
            overrides or {},
            variant or {},
            named_by or Source(origin="paper", where="its tables"),
            own_sources or {},
            needed_similarity,
        )

    def setting_source(self, method: str, key: str) -> Source | None:
        """What recipe.yaml says of a method's setting; None where it says nothing."""
        return recipe.setting_source(self._recipe, method, key)
