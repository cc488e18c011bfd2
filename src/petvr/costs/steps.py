"""What a step of each model took on this very installation, as the rehearsal measured it: time and memory that stand in
place of estimates."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from petvr.data import datasets
from petvr.errors import PetvrError
from petvr.spec import RunSpec
from petvr.text_files import read_json, typed

MARGIN = 1.5  # of hours and memory that are asked for, over what was measured
BESIDE_GIB = 4.0  # of the host, for what two steps do not hold: captions, ranks, features of a test set, a checkpoint
Measured = Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True)
class MeasuredStep:
    """Seconds of a training step, videos a second of an evaluation, peak GiB on the device and of the process."""

    seconds: float
    videos_per_second: float
    peak_gib: float
    host_gib: float | None = None  # None: of an earlier petvr, which did not look

    def hours(self, run: RunSpec) -> float | None:
        """Of a whole run, by official counts; None for a user's own data."""
        if run.dataset not in datasets.available():
            return None
        counts, recipe = datasets.dataset_class(run.dataset).counts, run.recipe
        evaluation, training, evaluations = counts["test"][0] / max(self.videos_per_second, 1e-3), 0.0, 1
        if run.train:
            pairs = counts["train"][1 if recipe.captions == "all_pairs" else 0]
            training = recipe.epochs * math.ceil(pairs / recipe.batch) * self.seconds
            evaluations += recipe.epochs * recipe.evaluations_per_epoch
        return (training + evaluations * evaluation) / 3600


def shape_of(run: RunSpec) -> str:
    """Equal for runs whose steps are the same work: all that decides it, and no seed."""
    recipe = run.recipe
    shape = [run.method, run.setting, run.backbone, recipe.similarity, recipe.similarity_setting, recipe.batch]
    shape += [
        recipe.frames,
        recipe.words,
        recipe.precision,
        recipe.augment,
        recipe.optimizer,
        recipe.captions,
        run.train,
    ]
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class StepLine:
    """One shape in results/rehearsal/steps.json: what the plan and the jobs read of it."""

    shape: str
    full: bool
    error: str
    step_seconds: Measured
    evaluated_videos_per_second: Measured
    peak_gib: Measured
    host_gib: Measured | None = None


@dataclass(frozen=True)
class StepFile:
    lines: list[StepLine]


def read_steps(path: Path) -> dict[str, MeasuredStep]:
    """Shape -> what was measured at full size; {} where nothing was. Raises PetvrError for a file that is damaged."""
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    return _read_steps(path, stamp) if stamp else {}


@functools.lru_cache(maxsize=8)
def _read_steps(path: Path, stamp: int) -> dict[str, MeasuredStep]:
    try:
        lines = typed(StepFile, read_json(path, dict), path).lines
    except PetvrError as error:
        raise PetvrError(f"{error}; delete it, or measure anew: petvr rehearse shapes") from error
    return {
        one.shape: MeasuredStep(one.step_seconds, one.evaluated_videos_per_second, one.peak_gib, one.host_gib)
        for one in lines
        if one.full and not one.error
    }


def minutes_to_ask(run: RunSpec, measured: dict[str, MeasuredStep], otherwise: int) -> int:
    """Of a job's time limit: a checkpoint carries a run over it, but a queue favours the short."""
    step = measured.get(shape_of(run))
    hours = step.hours(run) if step else None
    return otherwise if hours is None else max(30, math.ceil(60 * MARGIN * hours) + 15)


def megabytes_to_ask(run: RunSpec, measured: dict[str, MeasuredStep], otherwise: int) -> int:
    """Of a job's memory on the host, in whole gigabytes; a second attempt may ask for twice that."""
    step = measured.get(shape_of(run))
    if step is None or step.host_gib is None:
        return otherwise
    return 1000 * math.ceil(MARGIN * step.host_gib + BESIDE_GIB)
