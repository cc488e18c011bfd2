"""A study on the small world of training's tests, run as the workflow's rules run it but in one process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import training_bench as tiny

from petvr import atomic
from petvr.config import Config
from petvr.data.datasets.base import Split, from_lists
from petvr.layout import Layout
from petvr.result import TrialRecord
from petvr.spec import RunSpec, Source
from petvr.training import trial
from petvr.training.options import TrainOptions
from petvr.tuning import decisions
from petvr.tuning.study import Study, axes_of, study_of

TUNED = Source(origin="tuned")
EPOCHS, SIZES = (1, 2, 3), (4, 2, 1)


class Judged(tiny.Colours):
    """With a validation split of its own, and test captions that a test may change."""

    counts = {"train": (24, 48), "val": (8, 16), "test": (16, 16)}  # noqa: RUF012
    test_captions = staticmethod(tiny.captions_of)

    def _read_split(self, which: str) -> Split:
        if which == "val":
            videos = [f"train{100 + number}" for number in range(8)]
            return from_lists("val", videos, {video: tiny.captions_of(video) for video in videos})
        if which == "test":
            videos = [f"test{number}" for number in range(16)]
            return from_lists("test", videos, {video: self.test_captions(video)[:1] for video in videos})
        return super()._read_split(which)


def config(folder: Path, **tuning) -> Config:
    values = {"seed": 5, "trials": 4, "rungs": [0.3, 0.6, 1], "keep": [2, 1], "rates": {"lr_new": [1e-3, 1e-1]}}
    return Config(seeds=[0], weights={}, results=folder / "results", locks=folder / "locks", tuning=values | tuning)  # type: ignore[arg-type]


def run(method: str = "lora", **recipe) -> RunSpec:
    """Its rates are left to tuning."""
    plain = tiny.spec(method, similarity=recipe.pop("similarity", "mean_pool"), selection="last", **recipe)
    sources = {f"recipe.{key}": TUNED for key in ("lr_clip", "lr_new", "lr_head")}
    plain = plain.model_copy(update={"sources": sources})
    return plain.model_copy(update={"tuned": dict.fromkeys(axes_of(plain))})


def world(folder: Path) -> dict:
    """The options of a trial, but where it goes."""
    tiny.write_weights(folder / "weights")
    tiny.write_store(folder / "store", [*tiny.videos(), *(f"train{100 + number}" for number in range(8))])
    return tiny.arguments(folder) | {"dataset": Judged(folder)}


def go(config: Config, study: Study, options: dict, train=trial.train_trial) -> dict:
    """Every rung of a study; what is there already is taken as it is. Returns the last decision."""
    layout = Layout(config.results)
    decision: dict = {}
    for rung in range(len(study.sizes)):
        for path in decisions.awaited_records(layout, study, rung):
            id = decisions.trial_of(layout, study, rung, path.stem)
            out = decisions.trial_folder(layout, study.cell, id)
            given = replace(TrainOptions(**options), out=out, state=layout.trial_state(study.cell, id))
            axes = {key.removeprefix("recipe.") for key in study.axes}
            train(study.trials[id], given, study.epochs, rung, axes)
            atomic.write_text(path, (out / f"rung-{rung}.json").read_text())
        records = [TrialRecord.read(path) for path in decisions.awaited_records(layout, study, rung)]
        decision = decisions.decide(study, rung, records)
        decisions.write_decision(decisions.decision_file(layout, study.cell, rung), decision)
    return json.loads(json.dumps(decision))


def study(config: Config, method: str = "lora", **recipe) -> Study:
    return study_of(config, run(method, **recipe))
