"""Selection rules, missing videos and their class."""

import pytest
import training_bench

from petvr.data.datasets.base import Split
from petvr.errors import PetvrError
from petvr.result import Evaluation, best_evaluation, data_class, selected_evaluations, suspicions
from petvr.training.data import available_split


def evaluation(step, r1, mnr=5.0):
    metrics = {"R@1": r1, "R@5": r1, "R@10": r1, "RSum": 3 * r1, "MdR": mnr, "MnR": mnr}
    return Evaluation(epoch=step, step=step, train_loss=None, plain={"t2v": metrics, "v2t": metrics})


def test_of_equal_evaluations_the_later_wins():
    series = [evaluation(0, 90.0), evaluation(1, 40.0), evaluation(2, 45.0), evaluation(3, 45.0), evaluation(4, 44.0)]
    assert selected_evaluations(series, "t2v/R@1") == {"best_on_test": 3, "last": 4}


def test_ranks_are_better_when_they_are_smaller():
    series = [evaluation(1, 40.0, mnr=9.0), evaluation(2, 30.0, mnr=3.0), evaluation(3, 50.0, mnr=7.0)]
    assert best_evaluation(series, "v2t/MnR") == 1
    assert best_evaluation(series, "t2v/RSum") == 2


def test_an_untrained_run_has_one_evaluation():
    assert selected_evaluations([evaluation(0, 30.0)], "t2v/R@1") == {"best_on_test": 0, "last": 0}


SPLIT = Split("test", ("a", "b", "c"), ("x", "y", "z", "w"), (0, 1, 2, 1))


def test_missing_videos_stop_or_are_recorded():
    with pytest.raises(PetvrError, match=r"store: 1 of 3 test videos are missing, the first is 'b' \(truncated\)"):
        available_split(SPLIT, {"a", "c"}, {"b": "truncated"}, "strict", "store", 3)
    available = available_split(SPLIT, {"a", "c"}, {"b": "truncated"}, "record", "store", 5)
    assert (
        available.split.videos == ("a", "c")
        and available.split.captions == ("x", "z")
        and available.split.caption_video == (0, 1)
    )
    assert available.missing == ("b",) and available.official == 5


def test_nothing_left_or_a_wrong_policy_is_an_error():
    with pytest.raises(PetvrError, match="none of the 3"):
        available_split(SPLIT, set(), {}, "record", "store", 3)
    with pytest.raises(PetvrError, match="allowed: strict, record"):
        available_split(SPLIT, {"a"}, {}, "ignore", "store", 3)


@pytest.mark.parametrize(
    ("test", "train", "expected"),
    [
        ((1000, 1000), (9000, 9000), "A"),
        ((1000, 1000), (8955, 9000), "A"),
        ((1000, 1000), (8954, 9000), "B"),
        ((990, 1000), (9000, 9000), "B"),
        ((989, 1000), (9000, 9000), "C"),
        ((1000, 1000), (8700, 9000), "C"),
        ((949, 1000), (9000, 9000), "D"),
        ((1000, 1000), (8000, 9000), "D"),
    ],
)
def test_classes_follow_the_missing_shares(test, train, expected):
    assert data_class(test, train) == expected


def test_validation_chooses_where_it_was_recorded():
    on_test, on_val = [10.0, 30.0, 25.0, 20.0], [10.0, 15.0, 22.0, 22.0]
    series = [
        evaluation(step, one).model_copy(update={"validation": evaluation(step, other).plain})
        for step, (one, other) in enumerate(zip(on_test, on_val, strict=True))
    ]
    assert selected_evaluations(series, "t2v/R@1") == {"best_on_test": 1, "best_on_val": 3, "last": 3}


def measured(step, loss=1.0, r1=30.0):
    one = evaluation(step, r1)
    return one.model_copy(update={"step": step, "train_loss": loss})


@pytest.mark.parametrize(
    ("evaluations", "told"),
    [
        ([measured(0)], "before any training alone"),
        ([measured(0), measured(0, r1=31.0)], "before any training alone"),
        ([measured(0, None), measured(5, 0.0, r1=31.0)], "has a loss of 0"),
        ([measured(0, None), measured(5, float("nan"), r1=31.0)], "loss that is no number"),
        ([measured(0, None), measured(5), measured(9)], "ranks alike at every evaluation"),
    ],
)
def test_a_run_that_may_have_measured_nothing_is_told(evaluations, told):
    (why,) = suspicions(training_bench.spec(), evaluations)
    assert told in why
    assert suspicions(training_bench.spec(train=False), evaluations) == []


def test_a_run_that_learnt_is_not_suspicious():
    assert suspicions(training_bench.spec(), [measured(0, None), measured(5), measured(9, 0.5, 31.0)]) == []


def test_a_run_that_learns_nothing_says_so_in_its_result_and_log(bench):
    still = {"lr_clip": 0.0, "lr_new": 0.0, "lr_head": 0.0, "logit_scale": "frozen", "weight_decay": 0.0, "epochs": 1}
    result = training_bench.train(training_bench.spec(**still), **bench)
    assert result.suspicious == ["ranks alike at every evaluation: its training changed nothing"]
    assert "WARNING: this run ranks alike" in (bench["out"] / "log.txt").read_text()


EDGES = {
    "lowest": {
        "lr_clip": 0.0, "lr_new": 0.0, "lr_head": 0.0, "weight_decay": 0.0, "betas": (0.0, 0.0), "eps": 1e-30,
        "warmup": 0.0, "clip_global": 1e-6, "clip_tensor": 1e-6, "epochs": 1, "batch": 2, "words": 3,
        "logit_scale_max": 1.0, "evaluations_per_epoch": 0, "dsl": "camoe", "dsl_temperature": 1e-3,
        "captions": "one_per_video",
    },
    "highest": {
        "lr_clip": 1.0, "lr_new": 1.0, "lr_head": 1.0, "weight_decay": 1.0, "betas": (0.999999, 0.999999), "eps": 1.0,
        "warmup": 0.999999, "clip_global": 1e6, "clip_tensor": None, "epochs": 1, "batch": 48, "drop_last": False,
        "logit_scale_max": 10_000.0, "evaluations_per_epoch": 1_000, "dsl": "ts2net", "dsl_temperature": 1e6,
        "optimizer": "adamw",
    },
}  # fmt: skip


@pytest.mark.parametrize("edge", EDGES)
def test_what_a_recipe_may_say_trains(bench, edge):
    result = training_bench.train(training_bench.spec(**EDGES[edge]), **bench)
    assert result.evaluations[-1].step > 0 and all(
        value >= 0 for one in result.evaluations for way in one.plain.values() for value in way.values()
    )
