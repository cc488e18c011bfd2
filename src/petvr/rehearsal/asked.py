"""What the rehearsal asks of a configuration: which weights, which canaries, how much will be written. No torch: the
workflow asks while it is parsed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from petvr.config import Config
from petvr.costs import budget
from petvr.data import catalogue, datasets
from petvr.data.datasets import Dataset
from petvr.layout import Layout
from petvr.papers.plan import Plan
from petvr.rehearsal.reference import printed_row
from petvr.rehearsal.room import GB, Writing, bytes_below
from petvr.run_ids import spec_of
from petvr.spec import RunSpec

KINDS = ("train", "frames")  # of resources that jobs ask for
BACKBONE, PAPER = "vit-b-32", "rap"  # of the zero-shot rows that are printed
RESULT_BYTES = 20_000_000  # of a run: ranks, log and an adapter
CHECKPOINT_BYTES = 2_000_000_000  # of full tuning with ViT-B/32: parameters, both moments, the best evaluation
CHECKPOINTS_AT_ONCE = 20


def canary_backbone(config: Config) -> str:
    return config.backbones.get(BACKBONE, BACKBONE)


def backbones(config: Config, plan: Plan) -> list[str]:
    return list(dict.fromkeys([canary_backbone(config), *(run.backbone for run in plan.runs.values())]))


def canaries(config: Config, plan: Plan) -> dict[str, str]:
    """Name of a canary -> the data set of the plan it is read from: that of a printed row, which splits may share."""
    chosen: dict[str, str] = {}
    for dataset in dict.fromkeys(run.dataset for run in plan.runs.values()):
        if dataset in datasets.available():
            row = printed_row(dataset)
            name = row.dataset if row else dataset
            if chosen.get(name) != name:
                chosen[name] = dataset
    return chosen


def canary_spec(config: Config, plan: Plan, name: str) -> RunSpec:
    return spec_of(config, f"{PAPER}/{name}/{canary_backbone(config)}/zero_shot/seed-{config.seeds[0]}", plan)


def part_names(config: Config, plan: Plan) -> list[str]:
    """In the order in which they are asked."""
    weights = [f"weights-{name}" for name in backbones(config, plan)]
    return [
        *weights,
        *(f"canary-{name}" for name in canaries(config, plan)),
        "shapes",
        *(f"node-{k}" for k in KINDS),
        "room",
    ]


def other_readings(config: Config, dataset: str) -> Mapping[str, Dataset]:
    """The same files read under another choice of one option: what a data set deviates by may be that."""
    chosen = catalogue.open_dataset(config, dataset)
    readings = {}
    for key, value in itertools.chain.from_iterable(
        ((key, value) for value in allowed if value != chosen.chosen[key]) for key, allowed in chosen.options.items()
    ):
        other = datasets.load_dataset(dataset, chosen.root, chosen.videos, **{**chosen.chosen, key: value})
        readings[f"{key} is {value}, not {chosen.chosen[key]}"] = other
    return readings


def writings(config: Config, plan: Plan) -> list[Writing]:
    """What is still to be written, less what is there."""
    layout, estimate, real = Layout(config.results), budget.estimate(plan), config.world is None
    stores = {
        (catalogue.frame_store(config, run), catalogue.folder_of(config, run.dataset), run.recipe.frames)
        for run in plan.runs.values()
    }
    sizes = {run.backbone: catalogue.image_size(config, run.backbone) for run in plan.runs.values()}
    side = max(sizes.values())
    frames = sum(
        max(0, _clips(config, folder) * count * 3 * side**2 - bytes_below(store)) for store, folder, count in stores
    )
    chosen = {run.dataset for run in plan.runs.values()} & set(datasets.available())
    folders = {datasets.folder(name): name for name in chosen if real and not catalogue.given_by_user(config, name)[1]}
    videos = sum(
        max(0, datasets.dataset_class(name).video_bytes() - bytes_below(config.videos(folder)))
        for folder, name in folders.items()
    )
    waiting = [run for id, run in plan.runs.items() if not layout.result(id).exists()]
    kept = (estimate.weights_gb * GB + CHECKPOINTS_AT_ONCE * CHECKPOINT_BYTES) * real + len(waiting) * RESULT_BYTES / (
        1 if real else 20
    )
    caches = config.feature_cache_gib * 2**30 * len(sizes) * real
    return [
        Writing("frames", layout.results / "frames", frames),
        Writing("videos", config.data, videos),
        Writing("results and checkpoints", layout.runs, kept * bool(waiting)),
        Writing("caches", layout.feature_cache, max(0.0, caches - bytes_below(layout.feature_cache))),
    ]


def _clips(config: Config, folder: str) -> int:
    """Videos that are decoded of a folder."""
    if config.world is not None:
        sizes = config.world.sizes.get(folder)
        return sizes.train + sizes.val + sizes.test if sizes else 0
    names = [name for name in datasets.available() if datasets.folder(name) == folder]
    return max((datasets.dataset_class(name).number_of_clips() for name in names), default=0)
