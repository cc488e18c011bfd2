"""From recipe.yaml, the configuration and a cell to a resolved recipe in which every value knows its source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers import schema
from petvr.papers.schema import RecipeFile, Value
from petvr.spec import Recipe, Source, checked_value, value_error

OVERRIDE_LEVELS = ("default", "papers", "datasets", "methods")
Leaves = dict[str, tuple[Any, Source]]


def resolve_recipe(
    paper: str,
    path: Path,
    file: RecipeFile,
    dataset: str,
    method: str,
    setting: Mapping[str, Value],
    overrides: Mapping[str, Any],
    variant: Mapping[str, Value],
    named_by: Source,
    own_sources: Mapping[str, Source],
    needed_similarity: str | None,
) -> tuple[Recipe, dict[str, Source]]:
    """See Paper.recipe."""
    leaves: Leaves = {key: (leaf.value, _source(leaf)) for key, leaf in file.base.items()}
    if needed_similarity is not None:
        _replace(leaves, {"similarity": needed_similarity}, Source(origin="code", where=f"method '{method}' needs it"))

    def refuse_other(similarity: Any, where: str) -> None:
        if needed_similarity not in (None, similarity):
            raise PetvrError(
                f"{where}.similarity: '{similarity}' given, but method '{method}' of {paper}/{dataset} needs another; "
                f"allowed: {needed_similarity}"
            )

    parts = {method, *method.split("+")}
    for number, rule in enumerate(file.rules):
        if _applies(rule.when, dataset, parts, setting):
            leaves.update((key, (leaf.value, _source(leaf))) for key, leaf in rule.set.items())
            refuse_other(leaves["similarity"][0], f"{path}: rules.{number}.set")
    for where, fields in _config_overrides(overrides, paper, dataset, method):
        for key in fields:
            require_field(key, where)
        _replace(leaves, fields, Source(origin="config", where=where))
        refuse_other(leaves["similarity"][0], f"configuration: {where}")
    for key, value in variant.items():
        require_field(key, named_by.where)
        _replace(leaves, {key: value}, own_sources.get(key, named_by))
    refuse_other(leaves["similarity"][0], f"{named_by.where}: recipe")
    sources = {f"recipe.{key}": source for key, (_, source) in leaves.items()}
    sources |= {f"similarity.{key}": sources["recipe.similarity_setting"] for key in leaves["similarity_setting"][0]}
    for key in setting:
        of_paper = setting_source(file, method, key) if named_by.origin != "config" else None
        sources[f"setting.{key}"] = own_sources.get(key) or of_paper or named_by
    return _validated(leaves, path), sources


def setting_source(file: RecipeFile, method: str, key: str) -> Source | None:
    """What recipe.yaml says of a method's setting, be it named by a row or a default."""
    part, _, bare = key.rpartition(".")
    for name in [part] if part else [method, *method.split("+")]:
        if bare in file.settings.get(name, {}):
            return _source(file.settings[name][bare])
    return None


def check_recipe(path: Path, file: RecipeFile, datasets: set[str]) -> None:
    """Every field has a base value, every name exists, every value fits. Raises PetvrError with file and key."""
    for key in file.base:
        require_field(key, f"{path}: base")
    missing = sorted(set(Recipe.model_fields) - set(file.base))
    if missing:
        raise PetvrError(f"{path}: base: missing {', '.join(missing)}")
    for key, leaf in file.base.items():
        checked_value(key, leaf.value, f"{path}: base")
    for number, rule in enumerate(file.rules):
        where = f"{path}: rules.{number}"
        for key, leaf in rule.set.items():
            require_field(key, f"{where}.set")
            checked_value(key, leaf.value, f"{where}.set")
        for dataset in rule.when.dataset or []:
            if dataset not in datasets:
                raise errors.unknown("data set of a table", dataset, datasets, f"{where}.when.dataset")


def check_overrides(overrides: Mapping[str, Any], similarities: Collection[str] | None = None) -> None:
    """Every value of the configuration's overrides, whether or not a run will use it. PetvrError names its place."""
    for level, values in overrides.items():
        named = {f"recipe.{level}": values} if level == "default" else {
            f"recipe.{level}.{name}": fields for name, fields in (values or {}).items()
        }  # fmt: skip
        for where, fields in named.items():
            for key, value in (fields or {}).items():
                require_field(key, where)
                checked_value(key, value, where)
                if key == "similarity" and similarities is not None and value not in similarities:
                    raise errors.unknown("similarity", value, similarities, where)


def require_field(key: str, where: str) -> None:
    if key not in Recipe.model_fields:
        raise errors.unknown("recipe field", key, Recipe.model_fields, where)


def _validated(leaves: Leaves, path: Path) -> Recipe:
    try:
        return Recipe.model_validate({key: value for key, (value, _) in leaves.items()})
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        value, source = leaves[key]
        raise value_error(key, value, source.where if source.origin == "config" else str(path)) from error


def _replace(leaves: Leaves, fields: Mapping[str, Any], source: Source) -> None:
    """Another similarity starts from its own defaults, since the old one's setting would not fit it."""
    if "similarity" in fields and fields["similarity"] != leaves["similarity"][0]:
        leaves["similarity_setting"] = {}, source
    leaves.update((key, (value, source)) for key, value in fields.items())


def _source(leaf: schema.SettingSource) -> Source:
    return Source(origin=leaf.origin, where=leaf.where)


def _applies(when: schema.Condition, dataset: str, parts: set[str], setting: Mapping[str, Value]) -> bool:
    return (
        (when.dataset is None or dataset in when.dataset)
        and (when.method is None or bool(parts.intersection(when.method)))
        and all(key in setting and setting[key] == value for key, value in when.setting.items())
    )


def _config_overrides(
    overrides: Mapping[str, Any], paper: str, dataset: str, method: str
) -> list[tuple[str, Mapping[str, Any]]]:
    """The applicable parts of the configuration's overrides, general ones first, each with its place."""
    for level in overrides:
        if level not in OVERRIDE_LEVELS:
            raise errors.unknown("key", level, OVERRIDE_LEVELS, "recipe")
    applicable = [("recipe.default", overrides.get("default") or {})]
    names = {"papers": [paper], "datasets": [dataset], "methods": [*dict.fromkeys([*method.split("+"), method])]}
    for level, candidates in names.items():
        named = overrides.get(level) or {}
        applicable += [(f"recipe.{level}.{name}", named[name] or {}) for name in candidates if name in named]
    return applicable
