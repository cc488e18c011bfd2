"""The fair comparison in small, down the whole road: trials, one of them killed, decisions, final runs, tables and its
figure; then another grid and a lock; one of its methods is one new file."""

import json
import os

import pytest
import yaml
from test_workflow_run import HOSTILE, RESULTS, Project

from petvr.result import Result, TrialRecord

pytestmark = pytest.mark.slow
CELL, MINE = "fair/msvd/tiny/vop", "fair/msvd/tiny/mine"
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
KILLED = """

def killed(spec, state, *rest, step=train_step):
    if state.step == 2 and os.path.exists("kill"):
        os.unlink("kill")
        os.kill(os.getpid(), signal.SIGTERM)
    step(spec, state, *rest)

import os, signal
train_step = killed
"""  # at the end of trial.py: the first trial to come there dies amid its second rung, of steps 2 and 3


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project") / HOSTILE
    folder.mkdir()
    trial = folder / "src/petvr/training/trial.py"
    project = Project(folder)
    trial.write_text(trial.read_text() + KILLED)
    (folder / "src/petvr/methods/mine.py").write_text(OWN)
    demo = yaml.safe_load((folder / "workflow/demo.yaml").read_text())
    demo["recipe"] = {"default": {"captions": "one_per_video", "precision": "fp32"}}  # rates are left to tuning
    (folder / "workflow/demo.yaml").write_text(yaml.safe_dump(demo))
    settings = yaml.safe_load((folder / "micro.yaml").read_text())
    settings |= {"tuning": TUNING | {"seed": 9}, "seeds": [0], "tables": ["fair/overview", "fair/msvd"]}
    settings |= {"methods": ["zero_shot", "vop", "mine"]}
    settings["recipe"]["default"] |= {"epochs": 2}
    settings["world"]["sizes"]["msvd"]["train"] = 16
    (folder / "micro.yaml").write_text(yaml.safe_dump(settings))
    with project:
        yield project


def final(project, cell):
    return project.result(f"{cell}/seed-0")


def asked(project, *cells, **more):
    return project.snakemake(*(f"{RESULTS}/runs/{cell}/seed-0/result.json" for cell in cells), **more)


def records(project, cell):
    return [
        TrialRecord.read(path) for path in (project.folder / RESULTS / "tuning" / cell).glob("trials/*/rung-*.json")
    ]


def test_the_fair_tables_and_figure_come_out_though_a_trial_was_killed_amid_its_rung(project):
    targets = [f"{RESULTS}/tables/fair/{name}.md" for name in ("overview", "msvd")]
    targets.append(f"{RESULTS}/figures/fair/pareto.svg")
    (project.folder / "kill").touch()
    with pytest.raises(AssertionError, match="tune_trial"):
        project.snakemake(*targets)
    assert not (project.folder / "kill").exists() and not (project.folder / targets[0]).exists()
    ran = project.snakemake(*targets)
    assert (ran["table"], ran["figure"]) == (2, 1) and ran["tune_decide"] in (2, 3), "what was done stays"
    tried = {cell: records(project, cell) for cell in (CELL, MINE)}
    assert sum(one.resumed > 1 for each in tried.values() for one in each) == 1, "the killed one, once more than others"
    spent = {cell: sum(one.step - one.first_step for one in each) for cell, each in tried.items()}
    assert spent == dict.fromkeys(tried, 4 * 2 + 2 * 2), "a method of one file has the same budget"
    for cell in tried:
        decision = json.loads((project.folder / RESULTS / "tuning" / cell / "decision-1.json").read_text())
        result = Result.read(final(project, cell))
        assert result.spec.tuned == decision["chosen"] and result.spec.sources["recipe.lr_new"].origin == "tuned"
        assert result.spec.seed != 9 and (project.folder / RESULTS / "tuning" / cell / "sensitivity.svg").exists()
    assert result.spec.setting == {"start": decision["chosen"]["setting.start"]} and result.id == f"{MINE}/seed-0"
    text = (project.folder / targets[1]).read_text()
    names = [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.startswith("| ")]
    assert [name for name in names if name[0] not in "*:↳"] == ["Method", "Zero-shot", "VoP", "mine"]
    drawn = (project.folder / targets[2]).with_suffix(".csv").read_text()
    assert all(f"{name}," in drawn for name in ("Zero-shot", "VoP", "mine"))
    assert project.snakemake(*targets, dry=True) == {}


def test_a_wider_grid_trains_what_is_new_and_a_final_run_only_where_another_value_was_chosen(project):
    before, trained = {one.id for one in records(project, CELL)}, final(project, CELL).read_bytes()
    wider = TUNING | {"trials": 6, "rates": {"lr_new": [1e-4, 0.215]}}
    ran = asked(project, CELL, config=[f"tuning={json.dumps(wider | {'seed': 9})}"])
    assert ran["tune_trial"] >= 2 and ran["train"] == 1
    new = {one.id for one in records(project, CELL)} - before
    assert len(new) == 2
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
    assert shown.returncode == 0 and shown.stdout.count("  rung 1, epoch 2: 2 of 2 trials") == 2, shown.stderr
