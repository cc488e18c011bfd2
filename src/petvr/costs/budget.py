"""What a plan costs before it is launched: GPU hours and disk, from counted FLOPs and official split sizes.

Nothing is measured here; every assumption is named in the result, so that plan and actual can be compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from petvr.clip.config import GEOMETRIES
from petvr.costs import formula
from petvr.costs.steps import MeasuredStep, shape_of
from petvr.data import datasets
from petvr.errors import PetvrError
from petvr.papers.plan import Plan
from petvr.spec import RunSpec, checked_value, picture_suffix
from petvr.text_files import read_json, typed

GB = 1e9
Speed = Annotated[float, Field(strict=True, gt=0, le=1e6)]


@dataclass(frozen=True)
class MeasuredRate:
    """What a plan takes of a method's line."""

    precision: str
    matrix_tflops: Speed
    share: Speed


@dataclass(frozen=True)
class BenchFile:
    """What `petvr bench --json` wrote."""

    machine: str
    lines: Annotated[list[MeasuredRate], Field(min_length=1)]


@dataclass(frozen=True)
class Assumptions:
    """Everything the numbers stand on; replace a value to plan for other hardware."""

    device: str = "H200"
    tflops: Mapping[str, float] = field(default_factory=lambda: {"bf16": 790.0, "tf32": 395.0, "fp32": 60.0})
    share: Mapping[str, float] = field(default_factory=lambda: {"bf16": 0.45, "tf32": 0.55, "fp32": 0.8})
    step_full: float = 3.0  # a training step relative to its forward pass
    step_peft: float = 2.0
    step_frozen_towers: float = 1.0
    frozen_towers: tuple[str, ...] = ("proj", "x_pool", "seq_transf", "hunyuan")
    start_up_minutes: float = 1.0  # per run

    @classmethod
    def measured(cls, path: Path) -> Assumptions:
        """The rates in a file of `petvr bench --json`, for the precisions that it measured."""
        try:
            report: BenchFile = typed(BenchFile, read_json(path, dict), path)
            for number, line in enumerate(report.lines):
                checked_value("precision", line.precision, f"{path}: lines.{number}")
        except PetvrError as error:
            raise PetvrError(f"{error}; it is written by petvr bench --json") from error
        tflops, share = dict(cls().tflops), dict(cls().share)
        for kind in {_kind(line.precision) for line in report.lines}:
            same = [line for line in report.lines if _kind(line.precision) == kind]
            tflops[kind] = statistics.median(line.matrix_tflops for line in same)
            share[kind] = statistics.median(line.share for line in same)
        return cls(f"{report.machine} (measured: {path.name})", tflops, share)

    def sentences(self) -> list[str]:
        speeds = ", ".join(
            f"{self.tflops[name]:g} TFLOP/s x {self.share[name]:.0%} in {name}" for name in sorted(self.tflops)
        )
        return [
            f"one {self.device} per run: {speeds} (what was not measured is a guess)",
            f"a step costs {self.step_full:g} forward passes for full tuning, {self.step_peft:g} for what trains "
            f"inside the towers, {self.step_frozen_towers:g} where both stay frozen ({', '.join(self.frozen_towers)})",
            "inserted modules and similarities are not counted; every pair decodes nothing and encodes its own video",
            "the test split is encoded before training and at every evaluation",
            f"start-up {self.start_up_minutes:g} min per run",
            "frames: official number of clips, padded to full length, uint8 at 224 x 224, one store per frame rule",
            "trained weights: kept in fp32 for full tuning; those of other methods are small and left out",
        ]


@dataclass(frozen=True)
class PlannedCost:
    runs: int = 0
    training_runs: int = 0
    gpu_hours: float = 0.0

    def __add__(self, other: PlannedCost) -> PlannedCost:
        return PlannedCost(
            self.runs + other.runs, self.training_runs + other.training_runs, self.gpu_hours + other.gpu_hours
        )


@dataclass(frozen=True)
class StoreSize:
    """One folder of decoded frames that several runs share."""

    folder: str
    sampler: str
    frames: int
    picture: str
    gb: float | None  # None where size or data set have no official numbers


@dataclass(frozen=True)
class Budget:
    """`papers` holds the runs under each paper's recipe; runs that tables share count in each of `tables`, in `total`
    once."""

    total: PlannedCost
    papers: dict[str, PlannedCost]
    tables: dict[str, PlannedCost]
    stores: tuple[StoreSize, ...]
    frames_gb: float
    videos_gb: float  # the sources of the chosen data sets
    weights_gb: float  # what full tuning leaves behind
    not_planned: dict[str, int]  # reason -> cells of the tables without a run
    tuning: dict[str, PlannedCost]  # paper -> its trials, apart from its runs; runs: jobs, one a trial and rung
    unknown: tuple[str, ...]  # backbones and data sets without figures: their runs count with 0 hours
    assumptions: tuple[str, ...]


def estimate(
    plan: Plan,
    assumptions: Assumptions | None = None,
    measured: Mapping[str, MeasuredStep] | None = None,
    tuning: Sequence[tuple[RunSpec, int, int]] = (),
) -> Budget:
    """GPU hours and disk of a plan. Runs of unknown backbones (the demo's tiny) are listed, not guessed.

    measured: by shape; a run whose steps were measured here counts with them, whatever is assumed of others. tuning: of
    each study a run, the epochs of all its trials together, and the jobs that train them.
    """
    assumed, measured = assumptions or Assumptions(), measured or {}
    trials: dict[str, PlannedCost] = {}
    for run, epochs, jobs in tuning:
        recipe = run.recipe.model_copy(update={"epochs": epochs, "evaluations_per_epoch": 0})
        long = run.model_copy(update={"recipe": recipe})
        known = _measured_hours(long, measured)
        each = _hours(long, assumed) if known is None else known
        each += (jobs - 1) * assumed.start_up_minutes / 60 * _has_figures(run)
        trials[run.paper] = trials.get(run.paper, PlannedCost()) + PlannedCost(jobs, jobs, each)
    hours = {id: _measured_hours(run, measured) for id, run in plan.runs.items()}
    costs = {}
    for id, run in plan.runs.items():
        known = hours[id]
        each = _hours(run, assumed) if known is None else known + assumed.start_up_minutes / 60
        costs[id] = PlannedCost(1, int(run.train), each)
    count = sum(each is not None for each in hours.values())
    said = [f"hours of {count} of {len(hours)} runs are measured: steps of the rehearsal"] if count else []
    papers: dict[str, PlannedCost] = {}
    for id, run in plan.runs.items():
        papers[run.paper] = papers.get(run.paper, PlannedCost()) + costs[id]
    tables = {name: sum((costs[id] for id in view.runs), PlannedCost()) for name, view in plan.tables.items()}
    runs = list(plan.runs.values())
    stores = _stores(runs)
    real = [datasets.dataset_class(run.dataset) for run in runs if _has_figures(run)]
    folders = {dataset.folder: dataset.video_bytes() / GB for dataset in real}
    reasons = [cell.unavailable for cell in plan.cells.values() if cell.unavailable]
    return Budget(
        total=sum(costs.values(), PlannedCost()),
        papers=papers,
        tables=tables,
        stores=stores,
        frames_gb=sum(store.gb or 0.0 for store in stores),
        videos_gb=sum(folders.values()),
        weights_gb=sum(_weight_bytes(run) / GB for run in runs if _is_full(run)),
        not_planned={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        tuning=trials,
        unknown=_unknown(runs),
        assumptions=(*said, *assumed.sentences(), *(["trials: validation is not counted"] if trials else [])),
    )


def _hours(run: RunSpec, assumed: Assumptions) -> float:
    if not _has_figures(run):
        return 0.0
    recipe, clip, counts = run.recipe, GEOMETRIES[run.backbone], datasets.dataset_class(run.dataset).counts
    test_videos, test_captions = counts["test"]
    test = test_videos * recipe.frames * formula.frame(clip) + test_captions * formula.text(clip, recipe.words)
    flops = test
    if run.train:
        step = formula.pair(clip, recipe.frames, recipe.words) * _step(run, assumed)
        train_videos, train_captions = counts["train"]
        pairs = train_captions if recipe.captions == "all_pairs" else train_videos
        flops += recipe.epochs * (pairs * step + recipe.evaluations_per_epoch * test)
    kind = _kind(recipe.precision)
    speed = assumed.tflops[kind] * 1e12 * assumed.share[kind]
    return flops / speed / 3600 + assumed.start_up_minutes / 60


def _measured_hours(run: RunSpec, measured: Mapping[str, MeasuredStep]) -> float | None:
    step = measured.get(shape_of(run))
    return step.hours(run) if step else None


def _kind(precision: str) -> str:
    """fp16 is as fast as bf16."""
    return "bf16" if precision.endswith("_fp16") else precision


def _has_figures(run: RunSpec) -> bool:
    """Official counts and a published geometry."""
    return run.backbone in GEOMETRIES and run.dataset in datasets.available()


def _weight_bytes(run: RunSpec) -> int:
    """In fp32; 0 for a backbone without a published geometry."""
    return 4 * formula.parameters(GEOMETRIES[run.backbone]) if run.backbone in GEOMETRIES else 0


def _is_full(run: RunSpec) -> bool:
    return run.train and "full" in run.method.split("+")


def _step(run: RunSpec, assumed: Assumptions) -> float:
    if _is_full(run):
        return assumed.step_full
    frozen = set(run.method.split("+")) <= set(assumed.frozen_towers)
    return assumed.step_frozen_towers if frozen else assumed.step_peft


def _stores(runs: list[RunSpec]) -> tuple[StoreSize, ...]:
    sizes: dict[tuple[str, str, int, str], float | None] = {}
    for run in runs:
        official = run.dataset in datasets.available()
        folder, recipe = datasets.folder(run.dataset) if official else run.dataset, run.recipe
        key = folder, recipe.sampler, recipe.frames, recipe.picture
        sizes[key] = None
        if _has_figures(run):
            frame_bytes = 3 * GEOMETRIES[run.backbone].image ** 2
            sizes[key] = datasets.dataset_class(run.dataset).number_of_clips() * run.recipe.frames * frame_bytes / GB
    return tuple(StoreSize(*key, gb) for key, gb in sorted(sizes.items()))


def _unknown(runs: list[RunSpec]) -> tuple[str, ...]:
    backbones = {run.backbone for run in runs if run.backbone not in GEOMETRIES}
    unofficial = {run.dataset for run in runs if run.dataset not in datasets.available()}
    return tuple(sorted(backbones) + sorted(unofficial))


def render_text(budget: Budget) -> str:
    """The budget as plain text, for the console and the log."""
    total = budget.total
    lines = [
        f"{total.runs} runs ({total.training_runs} training runs), {total.gpu_hours:,.0f} GPU hours",
        *(
            f"tuning of {paper}, apart from these: {cost.runs} jobs of trials, {cost.gpu_hours:,.0f} GPU hours"
            for paper, cost in budget.tuning.items()
        ),
        f"disk: {budget.frames_gb:,.0f} GB frames, {budget.videos_gb:,.0f} GB videos, "
        f"{budget.weights_gb:,.1f} GB weights of full tuning",
        "",
        *_columns(
            [("paper", "runs", "GPU h"), *((n, str(c.runs), f"{c.gpu_hours:,.1f}") for n, c in budget.papers.items())]
        ),
        "",
        *_columns(
            [("table", "runs", "GPU h"), *((n, str(c.runs), f"{c.gpu_hours:,.1f}") for n, c in budget.tables.items())]
        ),
        "(runs that tables share count in each)",
        "",
        *_columns(
            [
                ("frames", "GB"),
                *(
                    (
                        f"{s.folder}/{s.sampler}-{s.frames}f{picture_suffix(s.picture)}",
                        "?" if s.gb is None else f"{s.gb:,.1f}",
                    )
                    for s in budget.stores
                ),
            ]
        ),
    ]
    if budget.not_planned:
        lines += ["", "cells without a run:"]
        lines += [f"  {count} {reason}" for reason, count in budget.not_planned.items()]
    if budget.unknown:
        lines += ["", f"no figures for {', '.join(budget.unknown)}: counted with 0 hours and 0 GB"]
    lines += ["", "assumed:", *(f"  - {sentence}" for sentence in budget.assumptions)]
    return "\n".join(lines) + "\n"


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """First column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
