"""Of a plan's data sets: which cannot be had, which runs nobody therefore waits for, which fill no batch.

No torch here: the workflow asks while it is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from petvr.config import Config
from petvr.data import catalogue
from petvr.data.manifest.available import Verdict
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers.plan import Plan
from petvr.spec import Recipe
from petvr.text_files import say_once


def unavailable(config: Config, planned: Plan) -> dict[str, Verdict]:
    """The data sets of a plan that cannot be had; none where the configuration says that this must stop a run."""
    if config.unavailable == "stop":
        return {}
    return {name: one for name, one in _verdicts(config, planned).items() if one.reason}


def undelivered(config: Config, planned: Plan) -> dict[str, Verdict]:
    """For people: also the data sets that are still waited for but could not be brought so far, and the reason why."""
    verdicts = _verdicts(config, planned)
    return {n: replace(one, reason=one.reason or one.later) for n, one in verdicts.items() if one.reason or one.later}


def _verdicts(config: Config, planned: Plan) -> dict[str, Verdict]:
    names = dict.fromkeys(run.dataset for run in planned.runs.values())
    return {name: catalogue.availability(config, name) for name in names}


def not_run(config: Config, planned: Plan, lacking: Mapping[str, Verdict] | None = None) -> dict[str, str]:
    """Run -> why nobody waits for it: its data set cannot be had, and no result of it is there from before."""
    lacking = unavailable(config, planned) if lacking is None else lacking
    layout = Layout(config.results)
    return {
        id: lacking[run.dataset].reason
        for id, run in planned.runs.items()
        if run.dataset in lacking and not layout.result(id).exists()
    }


def validated_folders(planned: Plan, config: Config) -> set[str]:
    """The folders of videos on which some run is tuned or selects by validation: these frames are needed too."""
    runs = planned.runs.values()
    names = {run.dataset for run in runs if run.tuned or run.recipe.selection == "best_on_val"}
    return {catalogue.folder_of(config, name) for name in names}


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
