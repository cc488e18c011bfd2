"""What a step of each model took on this very installation, as the rehearsal measured it: time and memory that stand in
place of estimates."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from petvr.data import datasets
from petvr.errors import PetvrError
from petvr.spec import RunSpec
from petvr.text_files import read_json

MARGIN = 1.5  # of hours and memory that are asked for, over what was measured


@dataclass(frozen=True)
class MeasuredStep:
    """Seconds of a training step, videos a second of an evaluation, peak GiB on the device."""

    seconds: float
    videos_per_second: float
    peak_gib: float

    def hours(self, run: RunSpec) -> float | None:
        """Of a whole run, by official counts; None for a user's own data."""
        if run.dataset not in datasets.available():
            return None
        counts, recipe = datasets.dataset_class(run.dataset).counts, run.recipe
        evaluation, training, evaluations = counts["test"][0] / self.videos_per_second, 0.0, 1
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


def read_steps(path: Path) -> dict[str, MeasuredStep]:
    """Shape -> what was measured at full size; {} where nothing was."""
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    return _read_steps(path, stamp) if stamp else {}


@functools.lru_cache(maxsize=8)
def _read_steps(path: Path, stamp: int) -> dict[str, MeasuredStep]:
    try:
        return {
            line["shape"]: MeasuredStep(
                float(line["step_seconds"]), float(line["evaluated_videos_per_second"]), float(line["peak_gib"])
            )
            for line in read_json(path, dict)["lines"]
            if line["full"] and not line["error"]
        }
    except (PetvrError, KeyError, TypeError, ValueError):
        return {}


def minutes_to_ask(run: RunSpec, measured: dict[str, MeasuredStep], otherwise: int) -> int:
    """Of a job's time limit: a checkpoint carries a run over it, but a queue favours the short."""
    step = measured.get(shape_of(run))
    hours = step.hours(run) if step else None
    return otherwise if hours is None else max(30, math.ceil(60 * MARGIN * hours) + 15)
