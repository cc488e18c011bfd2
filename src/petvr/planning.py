"""What the configuration asks for: the plan of all cells and runs, from the papers and what exists.

The workflow calls this while it is parsed, the commands when they start; both see the same specs. No torch.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from petvr import methods, papers, similarity, training
from petvr.clip.config import GEOMETRIES, settings_limits
from petvr.config import Config
from petvr.data import catalogue, datasets
from petvr.data.availability import require_batch
from petvr.errors import PetvrError, unknown
from petvr.papers.cells import split_method
from petvr.papers.choice import all_cells
from petvr.papers.implemented import Implemented
from petvr.papers.own import own_table as make_own_table
from petvr.papers.plan import Plan, expand
from petvr.papers.table import Cell, Table
from petvr.spec import Recipe, Value, method_id
from petvr.tuning import choices


def implemented(config: Config) -> Implemented:
    """What exists today, the options of the data sets, and the versions a result depends on."""
    return Implemented(
        methods=methods.available(),
        similarities=similarity.available(),
        datasets=catalogue.dataset_names(config),
        method_version=methods.version,
        similarity_version=similarity.version,
        similarity_of=needed_similarity,
        method_settings=lambda name: methods.declared(name).settings,
        similarity_settings=lambda name: similarity.declared(name).settings,
        check=functools.partial(check_run, config),
        tuned=functools.partial(choices.tuned_run, config),
        guesses_tuned=functools.partial(choices.guesses_tuned, config),
        parts={"training": training.VERSION, **catalogue.frame_versions()},
        options=catalogue.all_options(config),
    )


def check_run(
    config: Config, method: str, setting: Mapping[str, Any], recipe: Recipe, backbone: str, trained_on: str
) -> None:
    """PetvrError for settings that the method, the similarity or the CLIP does not allow, and for too large a batch."""
    if backbone not in (known := {*GEOMETRIES, *config.weights, *(("tiny",) if config.world else ())}):
        raise unknown("backbone", backbone, known)
    limits = settings_limits(GEOMETRIES[backbone]) if backbone in GEOMETRIES else {}
    methods.settings(method, setting, limits)
    if recipe.similarity not in similarity.available():
        raise unknown("similarity", recipe.similarity, similarity.available(), "recipe")
    try:
        similarity.settings(recipe.similarity, recipe.similarity_setting)
    except PetvrError as error:
        raise PetvrError(f"recipe.similarity_setting: {error}") from error
    if trained_on in datasets.available() and config.world is None:
        if "train" not in (counts := datasets.dataset_class(trained_on).counts):
            raise unknown(f"split of {trained_on}", "train", counts)
        require_batch(trained_on, recipe, *counts["train"])


def needed_similarity(method: str) -> str | None:
    """The similarity that a method or a composition cannot do without. Raises PetvrError where parts need several."""
    needed = {name for part in methods.split(method) if (name := methods.similarity_of(part))}
    if len(needed) > 1:
        raise PetvrError(f"method '{method}': its parts need different similarities: {', '.join(sorted(needed))}")
    return next(iter(needed), None)


def recipe_overrides(config: Config) -> dict[str, Any]:
    """The configuration's; with `rule: best_on_val` all runs select by validation, as own data with such a split do
    unless the configuration says otherwise.
    """
    overrides = config.recipe.model_dump()
    if config.rule == "best_on_val":
        overrides["default"]["selection"] = "best_on_val"
    for name in config.custom_datasets:
        if catalogue.has_own_validation(config, name):
            overrides["datasets"][name] = {"selection": "best_on_val"} | overrides["datasets"].get(name, {})
        elif config.custom_datasets[name].tune:  # its test split chooses nothing
            overrides["datasets"][name] = {"selection": "last"} | overrides["datasets"].get(name, {})
    return overrides


def plan(config: Config, everything: bool = False, *, may_be_empty: bool = False) -> Plan:
    """All cells and runs of the configuration; `everything` counts methods to come as if they existed.

    Raises PetvrError for names and values that mean nothing, and for a choice that leaves no run.
    """
    own_tables = [own_table(config, name) for name in config.custom_datasets]
    _check_names(
        config, [*all_cells(), *(cell for one in own_tables for row in one.rows for cell in row.cells.values())]
    )
    planned = expand(
        papers=config.papers,
        tables=config.tables,
        datasets=config.datasets,
        methods=config.methods,
        seeds=config.seeds,
        backbones=config.backbones,
        optional=config.optional,
        quoted=config.quoted,
        overrides=recipe_overrides(config),
        implemented=None if everything else implemented(config),
        own_tables=own_tables,
        setting_overrides=config.setting_overrides,
    )
    tables = {one.id: one for paper in papers.readable().values() for one in paper.tables.values()}
    tables |= {one.id: one for one in own_tables} | planned.tables
    for name, row in config.against.items():
        if name not in tables:
            raise unknown("table", name, tables, "against")
        tables[name].check_against(row, f"against.{name}")
        if name in planned.tables:
            planned.tables[name] = planned.tables[name].model_copy(update={"against": row})
    if not planned.runs and not may_be_empty:
        why = ", ".join(sorted({cell.unavailable for cell in planned.cells.values()} - {""}))
        shown = sorted({dataset for one in planned.tables.values() for dataset in one.datasets})
        raise PetvrError(
            f"the configuration chooses no run: its {len(planned.tables)} table(s) show {', '.join(shown)}, and "
            f"datasets ({_listed(config.datasets)}) and methods ({_listed(config.methods)}) leave none of their rows"
            f"{f' ({why})' if why else ''}"
        )
    return planned


def _listed(names: Any) -> str:
    return names if isinstance(names, str) else ", ".join(names)


def _check_names(config: Config, cells: Sequence[Cell]) -> None:
    """PetvrError for a name of the configuration that would silently change nothing."""
    for number, override in enumerate(config.setting_overrides):
        place = f"setting_overrides[{number}]"
        if any((one.method, one.key, one.printed) == (override.method, override.key, override.printed)
               for one in config.setting_overrides[:number]):  # fmt: skip
            raise PetvrError(f"{place}: {override.method}'s {override.key} {override.printed} has another value above")
        try:
            methods.settings(override.method, {override.key: override.used})
        except PetvrError as error:
            raise PetvrError(f"{place}: {error}") from error
        of_method = [cell for cell in cells if cell.method and override.method in cell.method.split("+")]
        printed = {cell.setting[override.key] for cell in of_method if override.key in cell.setting}
        if override.printed not in printed:
            what = f"value of {override.method}'s {override.key} in the tables"
            raise unknown(what, str(override.printed), map(str, printed), place)
    for name, used in config.backbones.items():
        if name not in (known := {*config.weights, *(cell.backbone for cell in cells)}):
            raise unknown("backbone", name, known, "backbones")
        if used not in (known := {*config.weights, *(("tiny",) if config.world else ())}):
            raise unknown("backbone", used, known, f"backbones.{name}")
    folders = {catalogue.folder_of(config, name) for name in catalogue.dataset_names(config)}
    for place, names in (("frames.shards", config.frames.shards), ("world.sizes", config.world and config.world.sizes)):
        for name in names or ():
            if name not in folders:
                raise unknown("folder of a data set", name, folders, place)


def own_table(config: Config, name: str) -> Table:
    """The table own/<name>. Raises PetvrError, with the key of the configuration, for what does not exist."""
    given, where = config.custom_datasets[name], f"custom_datasets.{name}"
    if given.paper not in papers.NAMES:
        raise unknown("paper", given.paper, papers.NAMES, where)
    if given.backbone not in {*config.weights, *config.backbones}:
        raise unknown("backbone", given.backbone, {*config.weights, *config.backbones}, where)
    rows: dict[str, tuple[str, dict[str, Value]]] = {}
    for written in given.methods:
        place = f"{where}.methods: '{written}'"
        method, words = split_method(written, f"{place} is not of the form method[@key=value,...]")
        if written in rows:
            raise PetvrError(f"{place} stands there twice")
        try:
            rows[written] = one_order(method), methods.shortest_setting(method, methods.typed_setting(method, words))
        except PetvrError as error:
            raise PetvrError(f"{where}.methods: {error}") from error
        if (right := method_id(*rows[written])) != written:
            raise PetvrError(f"{place}: this method is spelled '{right}'")
    return make_own_table(name, rows, given.paper, papers.load_paper(given.paper).title, given.backbone)


def one_order(method: str) -> str:
    """The parts of a composition as the papers' tables have them, else by their names."""
    parts = sorted(methods.split(method))
    printed = {cell.method for cell in all_cells() if cell.method and sorted(cell.method.split("+")) == parts}
    return method if method in printed else min(printed, default="+".join(parts))
