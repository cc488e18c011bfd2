"""What the configuration asks for, resolved: the plan of all runs, and one run's spec from its id.

The workflow calls this while it is parsed, the commands when they start; both see the same specs. No torch.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from petvr import methods, papers, similarity, training
from petvr.clip.config import GEOMETRIES, settings_limits
from petvr.config import Config
from petvr.data import catalogue, datasets
from petvr.data.manifest import available
from petvr.errors import PetvrError, unknown
from petvr.layout import Layout
from petvr.papers.cells import parse_id, split_method
from petvr.papers.figures import FigureSpec, table_figures
from petvr.papers.own import own_table as make_own_table
from petvr.papers.plan import Implemented, Plan, all_cells, expand, unnamed_settings
from petvr.papers.table import Cell, Table
from petvr.spec import MOST_SEEDS, Recipe, RunSpec, Source, Value, checked_value, method_id
from petvr.text_files import say_once
from petvr.tuning import choices
from petvr.yaml_files import scalar

LONGEST_ID = 300  # of which a near one is looked for
FIGURES_VERSION = 2  # raised when a figure would look different: the workflow then draws all anew


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
    limits = settings_limits(GEOMETRIES[backbone]) if backbone in GEOMETRIES else {}
    methods.settings(method, setting, limits)
    try:
        similarity.settings(recipe.similarity, recipe.similarity_setting)
    except PetvrError as error:
        raise PetvrError(f"recipe.similarity_setting: {error}") from error
    if trained_on in datasets.available() and config.world is None:
        require_batch(trained_on, recipe, *datasets.dataset_class(trained_on).counts["train"])


def require_batch(dataset: str, recipe: Recipe, videos: int, captions: int) -> None:
    """PetvrError where the training split does not fill one batch, with what to write into the configuration."""
    pairs = captions if recipe.captions == "all_pairs" else videos
    if pairs < (recipe.batch if recipe.drop_last else 2):
        remedy = f"write recipe: {{datasets: {{{dataset}: {{batch: {pairs}}}}}}} into the configuration"
        raise PetvrError(
            f"recipe.batch {recipe.batch} is larger than the {pairs:,} training samples of {dataset}; "
            f"{remedy if pairs > 1 else 'nothing can be trained on so few, zero_shot needs none'}"
        )


def require_batches(planned: Plan, dataset: str, videos: int, captions: int) -> None:
    """Said before anything is decoded. PetvrError where no training run of the plan has a batch that can be filled."""
    refused: list[PetvrError] = []
    trained = [run for run in planned.training_runs if run.dataset == dataset]
    for run in trained:
        try:
            require_batch(dataset, run.recipe, videos, captions)
        except PetvrError as error:
            refused.append(error)
    if refused and len(refused) == len(trained):
        raise refused[0]
    for line in dict.fromkeys(map(str, refused)):
        say_once(f"warning: {line}")


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


def validated_folders(planned: Plan, config: Config) -> set[str]:
    """The folders of videos on which some run is tuned or selects by validation: these frames are needed too."""
    runs = planned.runs.values()
    names = {run.dataset for run in runs if run.tuned or run.recipe.selection == "best_on_val"}
    return {catalogue.folder_of(config, name) for name in names}


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
        shown = sorted({dataset for one in planned.tables.values() for dataset in one.datasets})
        raise PetvrError(
            f"the configuration chooses no run: its {len(planned.tables)} table(s) show {', '.join(shown)}, and "
            f"datasets ({_listed(config.datasets)}) and methods ({_listed(config.methods)}) leave none of their rows"
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


def spec(config: Config, run_id: str, planned: Plan | None = None) -> RunSpec:
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
    method, paper = one_order(parts.method), papers.load_paper(parts.paper)
    words = {key: word for key, word in parts.setting.items() if key not in Recipe.model_fields}
    setting = methods.shortest_setting(method, methods.typed_setting(method, words))

    def resolve(variant: Mapping[str, Value]) -> tuple[Recipe, dict[str, Source]]:
        return paper.recipe(
            parts.dataset,
            method,
            setting,
            recipe_overrides(config),
            variant,
            Source(origin="config", where="the run's id"),
            None,
            needed_similarity(method),
        )

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
    defaults, declared_by = unnamed_settings(existing, parts.paper, method, setting, recipe)
    options = catalogue.chosen_options(config, parts.dataset)
    run = RunSpec(
        paper=parts.paper,
        dataset=parts.dataset,
        backbone=parts.backbone,
        method=method,
        setting=setting,
        defaults=defaults,
        variant=variant,
        seed=parts.seed,
        train=method != "zero_shot",
        options={key: value for key, (value, _) in options.items()},
        recipe=recipe,
        sources=sources | {f"options.{key}": source for key, (_, source) in options.items()} | declared_by,
        versions=existing.versions(method, recipe.similarity),
    )
    return existing.tuned(run)


def unavailable(config: Config, planned: Plan) -> dict[str, available.Verdict]:
    """The data sets of a plan that cannot be had; none where the configuration says that this must stop a run."""
    if config.unavailable == "stop":
        return {}
    return {name: one for name, one in _verdicts(config, planned).items() if one.reason}


def undelivered(config: Config, planned: Plan) -> dict[str, available.Verdict]:
    """For people: also the data sets that are still waited for but could not be brought so far, and the reason why."""
    verdicts = _verdicts(config, planned)
    return {n: replace(one, reason=one.reason or one.later) for n, one in verdicts.items() if one.reason or one.later}


def _verdicts(config: Config, planned: Plan) -> dict[str, available.Verdict]:
    names = dict.fromkeys(run.dataset for run in planned.runs.values())
    return {name: catalogue.availability(config, name) for name in names}


def not_run(config: Config, planned: Plan, lacking: Mapping[str, available.Verdict] | None = None) -> dict[str, str]:
    """Run -> why nobody waits for it: its data set cannot be had, and no result of it is there from before."""
    lacking = unavailable(config, planned) if lacking is None else lacking
    layout = Layout(config.results)
    return {
        id: lacking[run.dataset].reason
        for id, run in planned.runs.items()
        if run.dataset in lacking and not layout.result(id).exists()
    }


def table(planned: Plan, name: str) -> Table:
    if name not in planned.tables:
        raise unknown("table", name, planned.tables)
    return planned.tables[name]


@functools.lru_cache(maxsize=2)
def figures(planned: Plan) -> dict[str, FigureSpec]:
    """Every figure of the chosen papers by its id: those of figures.yaml, then those of each chosen table."""
    named = dict.fromkeys(table.paper for table in planned.tables.values() if table.paper in papers.NAMES)
    known = {f"{name}/{key}": spec for name in named for key, spec in papers.load_paper(name).figures.items()}
    for one in planned.tables.values():
        known |= {f"{one.paper}/{key}": spec for key, spec in table_figures(one).items()}
    return known


@functools.lru_cache(maxsize=1000)
def figure_runs(planned: Plan, id: str) -> list[str]:
    """The planned runs that a figure is drawn from. Raises PetvrError for a figure that does not exist."""
    known = figures(planned)
    if id not in known:
        raise unknown("figure", id, known)
    spec = known[id]
    paper = id.partition("/")[0]
    optional = {f"{paper}/{name}" for name in spec.optional}
    cells = [cell for cell in planned.cells.values() if cell.used_in in optional]
    for choice in spec.rows:
        if one := planned.tables.get(f"{paper}/{choice.table}"):
            rows = [row for row in one.rows if not choice.rows or row.name in choice.rows]
            cells += [cell for row in rows for name, cell in row.cells.items() if name in (spec.datasets or row.cells)]
    return list(dict.fromkeys(run for cell in cells for run in cell.runs))


def example_runs(planned: Plan) -> dict[str, tuple[str, str]]:
    """Paper -> the two runs whose examples belong to its report: the first and the last row that trains, of its first
    chosen table that has two such rows on one data set; their first seed.
    """
    chosen: dict[str, tuple[str, str]] = {}
    for one in planned.tables.values():
        for dataset in one.datasets:
            cells = [row.cells[dataset] for row in one.rows if dataset in row.cells]
            runs = list(dict.fromkeys(cell.runs[0] for cell in cells if cell.runs and cell.train))
            if len(runs) > 1:
                chosen.setdefault(one.paper, (runs[0], runs[-1]))
    return chosen


def figure_digest(planned: Plan, id: str, rule: str) -> str:
    """Changes when what a figure shows, or its code, does."""
    runs = figure_runs(planned, id)
    return digest([repr(figures(planned)[id]), runs, rule, FIGURES_VERSION])


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def table_digest(table: Table, rule: str, intervals: bool) -> str:
    """Changes when a table's rows, cells, printed values, selection rule or form change: then it is built anew."""
    return digest([repr(table), rule, intervals, _template_version()])


@functools.cache
def _template_version() -> int:
    from petvr.report import tables

    return tables.VERSION  # raised when a table would look different
