"""Any run by its id: of the plan, with another seed, or of a row of one's own."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from urllib.parse import unquote

from petvr import methods, papers
from petvr.config import Config
from petvr.data import catalogue
from petvr.errors import PetvrError, unknown
from petvr.papers.cells import parse_id
from petvr.papers.plan import Plan
from petvr.papers.table import Cell
from petvr.planning import check_run, implemented, needed_similarity, one_order, plan, recipe_overrides
from petvr.spec import MOST_SEEDS, Recipe, RunSpec, Source, Value, checked_value
from petvr.tuning import choices
from petvr.yaml_files import scalar

LONGEST_ID = 300  # of which a near one is looked for


def spec_of(config: Config, run_id: str, planned: Plan | None = None) -> RunSpec:
    """The spec of any run that can be written as an id: of the plan, with another seed, or of a row of one's own.

    Raises PetvrError for a malformed id, for unknown papers, data sets, backbones, methods or settings, and, naming
    the right one, for another spelling of an id.
    """
    planned = planned or plan(config)
    if run_id in planned.runs:
        return planned.runs[run_id]
    try:
        resolved = _resolved_spec(config, run_id, planned)
    except PetvrError as error:
        meant = unquote(run_id).strip("/. ").rpartition("runs/")[2].removesuffix("/result.json").lower()
        near = [] if len(meant) > LONGEST_ID else difflib.get_close_matches(meant, planned.runs, n=1, cutoff=0.8)
        raise PetvrError(f"{error}; is '{near[0]}' meant?" if near else str(error)) from error
    if resolved.tuned:
        choices.require_other_seeds(config, choices.choice_of(config, resolved), [resolved.seed])
    if resolved.id != run_id:
        raise PetvrError(f"{run_id!r:.150}: the id of this run is spelled '{resolved.id}'")
    return resolved


def _resolved_spec(config: Config, run_id: str, planned: Plan) -> RunSpec:
    """Whatever the spelling of its values and the order of its settings."""
    parts = parse_id(run_id)
    if parts.seed is None:
        raise PetvrError(f"'{run_id}' is a cell; a run needs a seed, e.g. {run_id}/seed-{config.seeds[0]}")
    if parts.seed > MOST_SEEDS:
        raise PetvrError(f"'{run_id}': seed {parts.seed}, allowed: 0 to {MOST_SEEDS}")
    cell = planned.cells.get(parts.cell)
    if cell is not None and cell.runs:
        return planned.runs[cell.runs[0]].model_copy(update={"seed": parts.seed})
    if parts.dataset not in catalogue.dataset_names(config):
        raise unknown("data set", parts.dataset, catalogue.dataset_names(config), run_id)
    backbones = {*config.weights, *config.backbones.values()}
    if parts.backbone not in backbones:
        raise unknown("backbone", parts.backbone, backbones, run_id)
    method, by = one_order(parts.method), Source(origin="config", where="the run's id")
    words = {key: word for key, word in parts.setting.items() if key not in Recipe.model_fields}
    setting = methods.shortest_setting(method, methods.typed_setting(method, words))

    def resolve(variant: Mapping[str, Value]) -> tuple[Recipe, dict[str, Source]]:
        return _stated_recipe(config, parts.paper, parts.dataset, method, setting, variant, by)

    given = {
        key: checked_value(key, scalar(word), f"{run_id!r:.150}")
        for key, word in parts.setting.items()
        if key in Recipe.model_fields
    }
    plain, _ = resolve({}) if given else (None, {})
    variant = {key: value for key, value in given.items() if value != getattr(plain, key)}
    recipe, sources = resolve(variant)
    check_run(config, method, setting, recipe, parts.backbone, "" if method == "zero_shot" else parts.dataset)
    for same in planned.cells.values():
        if (same.paper, same.dataset, same.backbone, same.method) == (*parts[:3], method) and same.runs:
            run = planned.runs[same.runs[0]]
            if run.recipe == recipe and methods.shortest_setting(method, run.setting) == setting:
                return run.model_copy(update={"seed": parts.seed})
    existing = implemented(config)
    cell = Cell(
        paper=parts.paper,
        dataset=parts.dataset,
        backbone=parts.backbone,
        method=method,
        setting=setting,
        recipe=variant,
        train=method != "zero_shot",
    )
    return existing.tuned(existing.run_of(cell, parts.seed, recipe, sources))


def untuned(config: Config, run: RunSpec) -> RunSpec:
    """The run as its recipe states it, without what tuning chose for it."""
    setting = {key: value for key, value in run.setting.items() if f"setting.{key}" not in run.tuned}
    variant = {key: value for key, value in run.variant.items() if key in Recipe.model_fields}
    recipe, sources = _stated_recipe(config, run.paper, run.dataset, run.method, setting, variant)
    facts = {key: getattr(run, key) for key in ("paper", "dataset", "backbone", "method", "train")}
    return implemented(config).run_of(Cell(**facts, setting=setting, recipe=variant), run.seed, recipe, sources)


def _stated_recipe(
    config: Config,
    paper: str,
    dataset: str,
    method: str,
    setting: Mapping[str, Value],
    variant: Mapping[str, Value],
    named_by: Source | None = None,
) -> tuple[Recipe, dict[str, Source]]:
    overrides, similarity = recipe_overrides(config), needed_similarity(method)
    return papers.load_paper(paper).recipe(
        dataset, method, setting, overrides, variant, named_by, needed_similarity=similarity
    )
