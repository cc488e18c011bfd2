"""What recipe.yaml and tables.yaml may hold. Unknown keys are errors that name the file and the nearest known key."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from petvr import errors
from petvr.errors import PetvrError
from petvr.spec import Origin

Value = str | int | float | bool
M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Leaf(_Strict):
    """A recipe value and where it comes from."""

    value: Any
    origin: Origin
    where: str


class Where(_Strict):
    """Where a method's setting comes from; the value itself stands in the rows of tables.yaml."""

    origin: Origin
    where: str


class When(_Strict):
    """A rule applies where all given conditions hold; a method also matches as a part of a composition."""

    dataset: list[str] | None = None
    method: list[str] | None = None
    setting: dict[str, Value] = {}


class Rule(_Strict):
    when: When
    set: dict[str, Leaf]


class RecipeFile(_Strict):
    """recipe.yaml: how the paper trains; later rules win over earlier ones, rules win over the base."""

    title: str
    year: int
    seeds: list[int] = []  # the seeds the paper names
    percent_of: dict[str, Leaf] = {}  # backbone -> number of parameters that counts as 100 % in the paper
    base: dict[str, Leaf]  # one leaf per field of petvr.spec.Recipe
    rules: list[Rule] = []
    settings: dict[str, dict[str, Where]] = {}  # method -> setting key -> source


class Copied(_Strict):
    """A row, or one data set of it, whose printed values the paper took from elsewhere."""

    evidence: str
    certainty: Literal["sure", "likely", "guess"] = "sure"


class CellSpec(_Strict):
    """Everything that makes a cell; a row gives it, its data sets may override it."""

    paper: str | None = None  # whose recipe; default: the paper of the table
    method: str | None = None
    setting: dict[str, Any] = {}  # lists only in `optional`, where they span a grid
    recipe: dict[str, Value] = {}  # recipe fields this cell sets on its own; they appear in its id
    backbone: str | None = None
    train: bool = True
    evaluate: Literal["plain", "dsl"] = "plain"
    quoted: Copied | None = None  # printed values seem copied, the cell is run all the same
    reported_only: Copied | None = None  # printed values are copied or absent, the cell is not run


class RowSpec(CellSpec):
    name: str
    note: str = ""
    group: str = ""  # heading above the row
    block: str = ""  # best and second best are marked within a block
    datasets: list[str] | dict[str, dict[str, Any]] | None = None  # default: those of the table

    @property
    def key(self) -> str:
        """Unique in its table, and the column `row` of printed.csv: the name, with the block where there is one."""
        return f"{self.name} [{self.block}]" if self.block else self.name


class TableSpec(_Strict):
    title: str
    note: str = ""
    datasets: list[str]
    backbone: str
    columns: list[str]  # "params_M", or "t2v: R@1 R@5" for several metrics of one direction
    per_dataset: bool = False  # the columns repeat for every data set
    mark_params: bool = False  # the paper marks the smallest parameter share as well
    rows: list[RowSpec]


class OptionalSpec(CellSpec):
    """Cells no table shows: points of figures and the candidates among which a paper chose."""

    status: Literal["figure_assumed", "figure_only", "selection_only"]
    used_in: str = ""
    backbone: str
    datasets: list[str]


class TablesFile(_Strict):
    tables: dict[str, TableSpec]
    optional: list[OptionalSpec] = []
    blocks: Any = Field(default=None, description="YAML anchors shared by several tables; not read")


def read(path: Path, model: type[M]) -> M:
    """Read and validate a YAML file. Raises PetvrError with the file, the key and what is allowed."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError as error:
        raise PetvrError(f"{path}: no such file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PetvrError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    return validated(model, data, str(path))


def validated(model: type[M], data: Any, where: str) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            allowed = _fields(model, first["loc"][:-1])
            raise errors.unknown("key", key.rpartition(".")[2], allowed, f"{where}: {key}") from error
        raise PetvrError(f"{where}: {key or 'the file'}: {first['msg']} (given: {first['input']!r:.80})") from error


def _fields(model: Any, loc: tuple[Any, ...]) -> list[str]:
    """Names of the fields of the model found by walking `loc` from `model`."""
    for step in loc:
        if isinstance(model, type) and issubclass(model, BaseModel) and step in model.model_fields:
            model = model.model_fields[step].annotation
        model = _inner(model)
    return list(getattr(model, "model_fields", {}))


def _inner(annotation: Any) -> Any:
    """The model inside list[Model], dict[str, Model], Model | None; the annotation itself otherwise."""
    if typing.get_origin(annotation) in (list, dict, types.UnionType, typing.Union):
        for argument in typing.get_args(annotation):
            found = _inner(argument)
            if isinstance(found, type) and issubclass(found, BaseModel):
                return found
    return annotation
