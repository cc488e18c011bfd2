"""A run against its manifest and its lock: what it carries away, and when it refuses."""

import sys
from pathlib import Path

import pytest

from petvr.data.frames.index import Problem, SourceFingerprint
from petvr.data.manifest import identity
from petvr.errors import PetvrError
from petvr.training.data import DatasetCheck

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
import training_bench


@pytest.fixture
def bench(tmp_path):
    return training_bench.everything(tmp_path)


def run(bench, **changes):
    return training_bench.train(training_bench.spec("zero_shot", train=False), **bench, **changes).data


def checked(bench, **changes):
    splits = {name: bench["dataset"].split(name) for name in ("train", "test")}
    values = {
        "identity": lambda left_out: identity.identity("p0", left_out),
        "captions": {name: split.digest() for name, split in splits.items()},
    }
    return DatasetCheck(**(values | changes))


def usable(bench, without=()):
    return {name: frozenset(bench["dataset"].split(name).videos) - set(without) for name in ("train", "test")}


def test_a_result_carries_the_identity_of_its_data(bench):
    assert run(bench, checked=checked(bench)).manifest == identity.identity("p0", [])
    assert run(bench).manifest == ""


def test_a_frozen_state_is_what_is_evaluated(bench):
    """A video that was frozen as unreadable stays out although this store could read it."""
    frozen = identity.identity("p0", ["test3"])
    known = checked(bench, lock=frozen, usable=usable(bench, ["test3"]))
    data = run(bench, checked=known, missing="record")
    assert (data.manifest, data.frozen, data.missing, data.test_videos) == (frozen, True, ["test3"], 15)
    assert data.why == {"test": {"undecodable": 1}} and data.data_class == "D"


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"captions": {"test": "0" * 16}}, ["test split", "petvr data check colours"]),
        ({"lock": "0" * 16}, ["not as it was frozen", "frozen 0000000000000000"]),
    ],
)
def test_other_data_than_checked_or_frozen_are_refused(bench, change, parts):
    with pytest.raises(PetvrError) as error:
        run(bench, checked=checked(bench, **change))
    assert all(part in str(error.value) for part in parts)


def test_a_store_without_a_frozen_video_is_refused_under_either_policy(bench, tmp_path):
    videos = [video for video in bench["dataset"].split("test").videos if video != "test3"]
    problems = {"test3": Problem("holds no picture", SourceFingerprint())}
    videos += bench["dataset"].split("train").videos
    bench["store"] = training_bench.write_store(tmp_path / "other", videos, problems)
    known = checked(bench, lock=identity.identity("p0", []), usable=usable(bench))
    with pytest.raises(PetvrError, match=r"'test3' .holds no picture.*petvr data freeze colours --accept"):
        run(bench, checked=known, missing="record")
