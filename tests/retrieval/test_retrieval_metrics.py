"""Ranks and metrics against their definition, with ties, NaN and invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from petvr.errors import PetvrError
from petvr.retrieval import metrics

few_values = st.integers(-3, 3).map(float)


@st.composite
def scored(draw, largest=7):
    n, m = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    return draw(arrays(np.float64, (n, m), elements=few_values)), draw(
        st.lists(st.integers(0, m - 1), min_size=n, max_size=n)
    )


def rank_by_definition(row, true):
    """The mean of all places the candidate can take when equal candidates are put in any order."""
    places = [place for place, value in enumerate(sorted(row, reverse=True), start=1) if value == row[true]]
    return sum(places) / len(places)


@given(scored())
def test_ranks_are_the_average_of_the_tied_places(case):
    scores, truth = case
    assert metrics.ranks(scores, truth).tolist() == [
        rank_by_definition(row, true) for row, true in zip(scores.tolist(), truth, strict=True)
    ]


@given(scored(), st.randoms(use_true_random=False))
def test_ranks_do_not_depend_on_the_order_of_candidates(case, random):
    scores, truth = case
    order = list(range(scores.shape[1]))
    random.shuffle(order)
    moved = [order.index(true) for true in truth]
    np.testing.assert_array_equal(metrics.ranks(scores[:, order], moved), metrics.ranks(scores, truth))


@given(scored())
def test_ranks_do_not_depend_on_a_monotone_transform(case):
    scores, truth = case
    np.testing.assert_array_equal(metrics.ranks(np.exp(scores) - 7, truth), metrics.ranks(scores, truth))


def test_constant_scores_stand_in_the_middle():
    ranks = metrics.ranks(np.zeros((100, 100)), np.arange(100))
    assert metrics.summary(ranks) == {"R@1": 0, "R@5": 0, "R@10": 0, "RSum": 0, "MdR": 50.5, "MnR": 50.5}


def test_a_tie_between_two_best_counts_for_r5_but_not_r1():
    summary = metrics.summary(metrics.ranks(np.array([[3.0, 3.0, 1.0]]), [0]))
    assert (summary["R@1"], summary["R@5"], summary["MnR"]) == (0.0, 100.0, 1.5)


def test_summary_by_hand():
    summary = metrics.summary([1, 2, 5, 6, 10, 11, 1, 40])
    assert summary == {
        "R@1": 25.0,
        "R@5": 50.0,
        "R@10": 75.0,
        "RSum": 150.0,
        "MdR": 5.5,
        "MnR": 76 / 8,
    }


@settings(max_examples=30)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_recalls_grow_and_sum(ranks):
    summary = metrics.summary(ranks)
    assert summary["R@1"] <= summary["R@5"] <= summary["R@10"] <= 100
    assert summary["RSum"] == summary["R@1"] + summary["R@5"] + summary["R@10"]


def test_nan_is_an_error():
    with pytest.raises(PetvrError, match="NaN"):
        metrics.ranks(np.array([[1.0, np.nan]]), [0])
    with pytest.raises(PetvrError, match="finite"):
        metrics.summary([1.0, np.nan])


@pytest.mark.parametrize("truth", [[2], [-1], [0, 1]])
def test_a_truth_that_does_not_fit_is_an_error(truth):
    with pytest.raises(PetvrError):
        metrics.ranks(np.zeros((1, 2)), truth)


def test_no_queries_is_an_error():
    with pytest.raises(PetvrError, match="no queries"):
        metrics.summary([])
