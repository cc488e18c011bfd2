"""Tuning down the whole road: trials, decisions, final runs, another grid, a lock; a method that is one new file."""

import json
import os

import pytest
import yaml
from test_workflow_run import HOSTILE, RESULTS, Project

from petvr.result import Result, TrialRecord

pytestmark = pytest.mark.slow
CELL, MINE = "vop/msvd/tiny/vop@tokens=2", "vop/msvd/tiny/mine"
OWN = '''
"""One scale on each block's output, drawn off one."""

from __future__ import annotations

import torch
from torch import nn

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, Insert, per_block, setting

VERSION = 1
TUNE = {"lr_new": (), "setting.start": (0.5, 1.0)}


class MineSettings(DeclaredSettings):
    start: float = setting(1.0, "guess", "an example")


def declare(settings: MineSettings, build: BuildContext) -> Declaration:
    scales = per_block(build.config, lambda tower: nn.Parameter(torch.full((tower.width,), settings.start)))
    return Declaration(
        module=scales,
        insert=[Insert("both", "mlp_out", lambda x, context: x * scales[context.tower][context.layer])],
    )
'''
TUNING = {"trials": 4, "rungs": [0.5, 1], "keep": [2], "rates": {"lr_new": [1e-4, 1e-2]}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A paper's recipe that leaves its rates to tuning, as papers/fair does, and a method of one's own."""
    folder = tmp_path_factory.mktemp("project") / HOSTILE
    folder.mkdir()
    with Project(folder) as project:
        recipe = folder / "src/petvr/papers/vop/recipe.yaml"
        recipe.write_text(
            recipe.read_text().replace("lr_new: {value: 1.0e-3, origin: guess", "lr_new: {value: 1.0e-3, origin: tuned")
        )
        (folder / "src/petvr/methods/mine.py").write_text(OWN)
        demo = yaml.safe_load((folder / "workflow/demo.yaml").read_text())
        for rates in (demo["recipe"]["default"], demo["recipe"]["methods"].pop("vop")):
            rates.pop("lr_new")
        (folder / "workflow/demo.yaml").write_text(yaml.safe_dump(demo))
        settings = yaml.safe_load((folder / "micro.yaml").read_text())
        settings |= {"tuning": TUNING | {"seed": 9}, "seeds": [0]}
        settings["recipe"]["default"] |= {"epochs": 2, "selection": "best_on_val"}  # no table of this plan is tuned
        (folder / "micro.yaml").write_text(yaml.safe_dump(settings))
        yield project


def final(project, cell):
    return project.result(f"{cell}/seed-0")


def asked(project, *cells, **more):
    return project.snakemake(*(f"{RESULTS}/runs/{cell}/seed-0/result.json" for cell in cells), **more)


def records(project, cell):
    return [
        TrialRecord.read(path) for path in (project.folder / RESULTS / "tuning" / cell).glob("trials/*/rung-*.json")
    ]


def test_a_final_run_tunes_first_and_a_method_of_one_file_gets_the_same_budget(project):
    ran = asked(project, CELL, MINE)
    assert (ran["tune_trial"], ran["tune_decide"], ran["train"]) == (2 * (4 + 2), 2 * 2, 2)
    spent = [sum(one.step - one.first_step for one in records(project, cell)) for cell in (CELL, MINE)]
    assert spent[0] == spent[1] > 0
    result = Result.read(final(project, MINE))
    decision = json.loads((project.folder / RESULTS / "tuning" / MINE / "decision-1.json").read_text())
    assert result.spec.recipe.lr_new == decision["chosen"]["recipe.lr_new"]
    assert result.spec.setting == {"start": decision["chosen"]["setting.start"]} and result.id == f"{MINE}/seed-0"
    assert result.spec.sources["recipe.lr_new"].origin == "tuned" and result.spec.seed != 9
    assert (project.folder / RESULTS / "tuning" / MINE / "trials.parquet").exists()
    assert asked(project, CELL, MINE, dry=True) == {}


def test_a_wider_grid_trains_what_is_new_and_a_final_run_only_where_another_value_was_chosen(project):
    before, trained = {one.id for one in records(project, CELL)}, final(project, CELL).read_bytes()
    wider = TUNING | {"trials": 5, "rates": {"lr_new": [1e-4, 0.0464]}}
    ran = asked(project, CELL, config=[f"tuning={json.dumps(wider | {'seed': 9})}"])
    assert ran["tune_trial"] >= 1 and ran["train"] == 1
    new = {one.id for one in records(project, CELL)} - before
    assert len(new) == 1
    chosen = json.loads((project.folder / RESULTS / "tuning" / CELL / "decision-1.json").read_text())["trials"][0][
        "trial"
    ]
    assert (final(project, CELL).read_bytes() == trained) == (chosen in before)


def test_a_lock_wins_and_nothing_of_it_is_tuned_again(project):
    done = project.petvr("tune", "freeze", MINE)
    assert done.returncode == 0, done.stderr
    lock = next((project.folder).rglob("locks/tuning/mine-msvd.json"))
    trained, bytes_ = final(project, MINE).read_bytes(), lock.read_bytes()
    assert asked(project, MINE) == {"train": 1}, "its input is another one now"
    assert final(project, MINE).read_bytes() == trained, "and it takes what it was: the values are the same"
    project.petvr("tune", "freeze", MINE)
    assert lock.read_bytes() == bytes_
    os.rename(project.folder / RESULTS / "tuning", project.folder / "away")
    assert asked(project, MINE, dry=True) == {}
    waiting = project.petvr("train", f"{CELL}/seed-0")
    assert waiting.returncode == 2 and "recipe.lr_new: not chosen yet; snakemake tune_msvd" in waiting.stderr
    refused = project.petvr("train", f"{MINE}/seed-9")
    assert refused.returncode == 2 and "seeds: 9 is the seed of the trials" in refused.stderr
    os.rename(project.folder / "away", project.folder / RESULTS / "tuning")
    shown = project.petvr("tune")
    assert shown.returncode == 2 and "no cell of this configuration is tuned" in shown.stderr
