"""How far a run is, from its files alone."""

import json
from pathlib import Path

import pytest

from petvr import status
from petvr.atomic import file_lock
from petvr.layout import Layout
from petvr.result import Cost, Data, Evaluation, Provenance, Result
from petvr.spec import RunSpec
from petvr.status import RunState


@pytest.fixture
def run():
    from petvr import papers

    recipe, sources = papers.load_paper("vop").recipe("msvd", "full")
    return RunSpec(
        paper="vop", dataset="msvd", backbone="vit-b-32", method="full", setting={}, seed=0, train=True,
        recipe=recipe, sources=sources, versions={},
    )  # fmt: skip


def written(layout: Layout, run: RunSpec, **changes) -> None:
    counts = {f"{split}_videos{kind}": 5 for split in ("train", "test") for kind in ("", "_official")}
    values = {
        "id": run.id, "spec": run, "selected": {"last": 0},
        "evaluations": [Evaluation(epoch=0, step=0, train_loss=None, plain={})],
        "cost": Cost(trainable=0, total=1, trainable_by_part={}, train_seconds=0, eval_seconds=0),
        "data": Data(world="real", digest="d", frames_digest="f", test_captions=5, **counts),
        "provenance": Provenance(
            petvr="0", git_revision=None, git_dirty=None, packages={}, hardware={}, started="", finished="",
            spec_digest=run.digest(), weights_digest="w",
        ),
    }  # fmt: skip
    Result(**values | changes).write(layout.result(run))


def test_every_state_of_a_run(run, tmp_path):
    layout = Layout(tmp_path)
    assert status.status_of(layout, run).state == RunState.MISSING
    layout.state(run).mkdir(parents=True)
    assert status.status_of(layout, run).state == RunState.STARTED
    layout.failure(run).write_text(json.dumps({"error": "no space\nleft"}))
    failed = status.status_of(layout, run)
    assert (failed.state, failed.reason, failed.result) == (RunState.FAILED, "no space left", None)
    written(layout, run)
    assert status.status_of(layout, run).state == RunState.DONE, "a result counts for more than an earlier failure"
    changed = run.model_copy(update={"versions": {"training": 2}})
    stale = status.status_of(layout, changed)
    assert stale.state == RunState.STALE and stale.result.id == run.id
    assert status.run_status(layout, run.id, None).state == RunState.DONE, "nobody said what it must belong to"


def test_what_cannot_be_used_is_one_line_with_its_remedy(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layout = Layout(Path("results"))

    def said(expected=run):
        return status.what_to_do(layout, run.id, status.status_of(layout, expected), "snakemake --cores all")

    target = f"`snakemake --cores all results/runs/{run.id}/result.json`"
    assert said() == f"{run.id}: missing: nothing yet; {target} makes it"
    layout.state(run).mkdir(parents=True)
    assert said().endswith(f"started: {RunState.STARTED.meaning}; {target} continues it")
    with file_lock(layout.lock(run), "here"):
        assert ": running: " in said() and said().endswith(f"; log: results/logs/{run.id}.log")
    layout.failure(run).write_text(json.dumps({"error": "no space\nleft"}))
    assert said().endswith(f"failed: no space left; log: results/logs/{run.id}.log; {target} tries it again")
    written(layout, run)
    changed = run.model_copy(update={"versions": {"training": 2}})
    forced = target.replace("all results", "all --force results")
    assert said(changed) == f"{run.id}: stale: made by an earlier recipe or version; {forced} makes it anew"


@pytest.mark.parametrize(("text", "reason"), [("{", "not JSON"), ("[]", "expected a dict"), ("\xff", "read as UTF-8")])
def test_a_broken_result_is_a_failure_with_its_reason(run, tmp_path, text, reason):
    layout = Layout(tmp_path)
    layout.run(run).mkdir(parents=True)
    layout.result(run).write_text(text, encoding="latin-1")
    broken = status.status_of(layout, run)
    assert broken.state == RunState.FAILED and reason in broken.reason and str(tmp_path) not in broken.reason


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (["selected", "last"], 7, "selected.last is 7, there are 1 evaluations"),
        (["spec", "paper"], "rap", "belongs to another spec"),
        (["cost", "train_seconds"], float("nan"), "cost.train_seconds"),
        (["cost", "trainable"], -1, "cost.trainable"),
        (["data", "test_videos"], "many", "data.test_videos"),
        (["evaluations", 0, "step"], -1, "evaluations.0.step"),
        (["evaluations", 0, "plain"], {"t2v": {"R@1": 101}}, "R@1 is 101"),
        (["evaluations", 0, "plain"], {"t2v": {"R@1": 9}, "v2t": {}}, "the same metrics in both directions"),
        (["schema_version"], [], "schema version"),
    ],
)
def test_a_result_edited_by_hand_is_a_failure_with_its_reason(run, tmp_path, keys, value, reason):
    """Also where whoever edited it took its seal away."""
    layout = Layout(tmp_path)
    written(layout, run)
    whole = json.loads(layout.result(run).read_text())
    del whole["seal"]
    part = whole
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    layout.result(run).write_text(json.dumps(whole))
    edited = status.status_of(layout, run)
    assert edited.state == RunState.FAILED and reason in edited.reason


@pytest.mark.parametrize("text", ["", "[1]", "{}"])
def test_a_failure_that_left_no_readable_reason_is_still_one(run, tmp_path, text):
    layout = Layout(tmp_path)
    layout.state(run).mkdir(parents=True)
    layout.failure(run).write_text(text)
    assert status.status_of(layout, run).state == RunState.FAILED
    assert status.failure_reason(layout, run.id) == "failed without a readable reason"


def test_another_runs_result_in_its_place_is_a_failure(run, tmp_path):
    layout = Layout(tmp_path)
    other = run.model_copy(update={"seed": 9})
    written(layout, other, id=other.id, spec=other)
    layout.run(run).mkdir(parents=True)
    layout.result(other).rename(layout.result(run))
    assert "holds the result of vop/msvd/vit-b-32/full/seed-9" in status.status_of(layout, run).reason
