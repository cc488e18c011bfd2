"""What recipe.yaml and tables.yaml may hold; docs/papers.md is written from it.

Unknown keys are errors that name the file and the nearest known key.
"""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from petvr import errors
from petvr.errors import PetvrError
from petvr.spec import Origin
from petvr.yaml_files import read_yaml_file

Value = str | int | float | bool
M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class SettingSource(_Strict):
    """Where a method's setting comes from; the value itself stands in a row of tables.yaml or is the default."""

    origin: Origin = Field(
        description="who says so; guess: nobody does, protocol: we chose it for all methods; `where` gives the reason"
    )
    where: str = Field(description="section, table, repository, or the reason of a guess or of a protocol's choice")


class SourcedValue(SettingSource):
    """A value and where it comes from."""

    value: Any = Field(description="as YAML has it")


class Condition(_Strict):
    """All conditions that are given must hold."""

    dataset: list[str] | None = Field(default=None, description="one of these data sets")
    method: list[str] | None = Field(default=None, description="one of these methods, alone or in a composition")
    setting: dict[str, Value] = Field(default={}, description="the cell's setting has these values")


class Rule(_Strict):
    """Values that replace those of the base where its condition holds."""

    when: Condition = Field(description="where it applies")
    set: dict[str, SourcedValue] = Field(description="recipe field -> value")


class Counting(_Strict):
    """How the paper counts the parameters that it prints; by default every trained number, and all of CLIP as whole."""

    modules: Literal["all", "leaf"] = Field(
        default="all",
        description="leaf: only numbers in leaf modules of OpenAI's CLIP",
    )
    head: bool = Field(default=True, description="whether the similarity's numbers count")
    never: list[str] = Field(default=[], description="parameters that are not counted although they train")
    whole_without: list[str] = Field(default=[], description="parts of CLIP left out of 100 %, by their names' start")
    full_is_whole: bool = Field(default=False, description="a row that trains all of CLIP is printed as 100 %")
    percent_of_rounded: bool = Field(default=False, description="percentages are formed from rounded millions")
    remarks: dict[str, str] = Field(default={}, description="method -> why no count meets its printed figure")


class TieCounting(SourcedValue):
    """How the paper's code counts candidates that score exactly as the true one does."""

    value: Literal["expected", "released"] = Field(
        description="released: CLIP4Clip's metric, where a tied query enters once per tied place; expected: any order, "
        "as of code that sorts"
    )


class RecipeFile(_Strict):
    """recipe.yaml: how the paper trains; later rules win over earlier ones, rules win over the base."""

    kind: Literal["paper", "protocol"] = Field(
        default="paper",
        description="protocol: a comparison of our own, with nothing printed, which `papers: all` of the configuration "
        "leaves out",
    )
    title: str = Field(description="of the paper")
    short_title: str = Field(description="stands before the number of a table")
    year: int = Field(description="of publication")
    seeds: list[int] = Field(default=[], description="the seeds the paper names")
    counting: Counting = Field(default=Counting(), description="how its printed parameters are counted")
    ties: TieCounting = Field(
        default=TieCounting(value="expected", origin="guess", where="nothing says otherwise"),
        description="how its code counts tied candidates: so ours are counted for the difference to its numbers",
    )
    percent_of: dict[str, SourcedValue] = Field(default={}, description="backbone -> parameters that are 100 %")
    base: dict[str, SourcedValue] = Field(description="one value for every recipe field")
    rules: list[Rule] = Field(default=[], description="what differs by data set, method or setting")
    settings: dict[str, dict[str, SettingSource]] = Field(
        default={}, description="method -> setting -> its source, for this paper's rows"
    )


class Copied(_Strict):
    """Printed values which the paper took from elsewhere."""

    evidence: str = Field(description="how one can tell")
    certainty: Literal["sure", "likely", "guess"] = Field(default="sure", description="of the evidence")


class CellSpec(_Strict):
    """What makes a cell: a row says it for all its data sets, a data set of the row may say otherwise."""

    paper: str | None = Field(default=None, description="whose recipe trains it; default: the paper of the table")
    method: str | None = Field(default=None, description="a file of petvr.methods, or several joined by +")
    setting: dict[str, Any] = Field(default={}, description="the method's; lists in `optional` span a grid")
    variant: dict[str, Value] = Field(default={}, alias="recipe", description="recipe fields it alone sets; in its id")
    sources: dict[str, SettingSource] = Field(
        default={},
        description="setting or recipe field -> its source; default: that of recipe.yaml's `settings`, or the table",
    )
    backbone: str | None = Field(default=None, description="default: that of the table")
    train: bool = Field(default=True, description="false: evaluated as it is")
    evaluate: Literal["plain", "dsl"] = Field(default="plain", description="dsl: scores with dual-softmax")
    quoted: Copied | None = Field(default=None, description="printed values seem copied; run all the same")
    reported_only: Copied | None = Field(default=None, description="printed values are copied or absent; not run")


class RowSpec(CellSpec):
    """A row of a table: what makes its cells, and how it is shown."""

    name: str = Field(description="as printed")
    note: str = Field(default="", description="what a reader must know of it")
    labels: tuple[str, ...] = Field(default=(), description="one text for each of the table's `label_columns`")
    gain_over: str = Field(default="", description="row over which the paper prints gains: `45.4(↑0.5)`")
    group: str = Field(default="", description="heading above the row")
    block: str = Field(default="", description="best and second best are marked within a block")
    datasets: tuple[str, ...] | dict[str, dict[str, Any]] | None = Field(
        default=None, description="names, or name -> what its cell says otherwise; default: those of the table"
    )

    @property
    def key(self) -> str:
        """Unique in its table, and the column `row` of printed.csv: the name, with the block where there is one."""
        return f"{self.name} [{self.block}]" if self.block else self.name


class TableSpec(_Strict):
    """A table as the paper prints it."""

    title: str = Field(description="what it shows")
    note: str = Field(default="", description="what a reader must know of it")
    datasets: tuple[str, ...] = Field(description="its data sets, in the order of the columns")
    backbone: str = Field(description="of its rows")
    column_groups: tuple[str, ...] = Field(
        alias="columns", description='"params_M", or "t2v: R@1 R@5" for several metrics of one direction'
    )
    per_dataset: bool = Field(default=False, description="the columns repeat for every data set")
    row_heading: str = Field(default="Method", description="above the rows' names; empty: these are not shown")
    label_columns: tuple[str, ...] = Field(default=(), description="more columns that say what a row is, as printed")
    against: str = Field(
        default="", description="name of the row that others are compared with; default: full tuning, or the first"
    )
    mark_params: bool = Field(default=False, description="the paper marks the smallest share of parameters as well")
    figures: tuple[Literal["scatter", "curves", "costs"], ...] = Field(
        default=("scatter", "curves"), description="what `petvr figure` draws of it"
    )
    rows: tuple[RowSpec, ...] = Field(description="from top to bottom")
    other_methods: str = Field(
        default="",
        description="heading above further rows, one for each method that no row has alone; empty: there are none",
    )
    intervals: bool = Field(default=False, description="every format shows intervals, whatever the configuration says")
    on_request: bool = Field(default=False, description="`tables: all` of the configuration leaves it out")


class OptionalSpec(CellSpec):
    """Cells no table shows: points of figures, and the candidates among which a paper chose."""

    status: Literal["figure_assumed", "figure_only", "selection_only"] = Field(
        description="assumed: the figure's points are not all named"
    )
    used_in: str = Field(default="", description="its name in the `optional` of figures.yaml")
    backbone: str = Field(description="of its cells")
    datasets: tuple[str, ...] = Field(description="one cell for each")


class TablesFile(_Strict):
    """tables.yaml: the paper's tables, row by row."""

    tables: dict[str, TableSpec] = Field(description="name, e.g. table_3 -> table")
    optional: tuple[OptionalSpec, ...] = Field(default=(), description="cells that run with `optional: true`")
    blocks: Any = Field(default=None, description="YAML anchors that several tables share; not read")


def read_yaml(path: Path, model: type[M]) -> M:
    """Read and validate a YAML file. Raises PetvrError with the file, the key and what is allowed."""
    return validated(model, read_yaml_file(path), str(path))


def validated(model: type[M], data: Any, where: str) -> M:
    """Raises PetvrError that names `where`, the key, and what is allowed."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # a misspelt key is often reported as a missing one as well: say what stands there first
        mistakes = error.errors()
        first = min(mistakes, key=lambda one: one["type"] != "extra_forbidden")
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            allowed = _fields(model, first["loc"][:-1])
            raise errors.unknown("key", key.rpartition(".")[2], allowed, f"{where}: {key}") from error
        # of several kinds that a value may have each is reported, by its name behind the key
        kinds = [one for one in mistakes if one["loc"][:-1] == first["loc"][:-1] and one["input"] is first["input"]]
        words = errors.mistake_in_words(first, _fields(model, first["loc"]) if first["type"] == "model_type" else ())
        if len(kinds) > 1 and first["type"] != "missing":
            others = [errors.mistake_in_words(one).partition("allowed: ")[2] for one in kinds[1:]]
            key, words = key.rpartition(".")[0], ", ".join(dict.fromkeys([words, *filter(None, others)]))
        raise PetvrError(f"{where}: {key or 'the file'}: {words}") from error


def _fields(model: Any, loc: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model that is reached by walking `loc` from `model`."""
    for step in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and step in model.model_fields:
            model = model.model_fields[str(step)].annotation
        model = _inner(model)
    return [field.alias or name for name, field in getattr(model, "model_fields", {}).items()]


def _inner(annotation: Any) -> Any:
    """The model inside list[Model], dict[str, Model], Model | None; the annotation itself otherwise."""
    if typing.get_origin(annotation) in (list, tuple, dict, types.UnionType, typing.Union):
        for argument in typing.get_args(annotation):
            inner = _inner(argument)
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                return inner
    return annotation
