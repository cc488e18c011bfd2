"""Verdicts where the truth is known: by hand for given intervals, and over many made-up claims."""

from collections import Counter

import numpy as np
import pytest

from petvr.papers.claims import Claim
from petvr.report.claims import judge
from petvr.report.claims.judge import ClaimVerdict, judge_ratio, judge_scores
from petvr.retrieval.paired import Difference


def claim(kind="difference", **fields):
    rows = {"others": ["table_1/b"]} if kind in ("best", "margin") else {"b": "table_1/b"}
    given = {"metric": "t2v R@1"} | fields
    return Claim(id="c", quote="q", where="w", kind=kind, a="table_1/a", dataset="msvd", **rows, **given)


@pytest.mark.parametrize(
    ("value", "error", "agrees", "verdict"),
    [
        (2.0, 0.7, True, ClaimVerdict.REPRODUCED),
        (1.4, 0.8, True, ClaimVerdict.NOISE),
        (0.3, 0.5, False, ClaimVerdict.NOT),
        (-1.5, 0.5, False, ClaimVerdict.OPPOSITE),
        (1.2, 0.4, False, ClaimVerdict.DIRECTION),
    ],
)
def test_a_claim_of_two_point_two(value, error, agrees, verdict):
    difference = Difference(value, value - 1.96 * error, value + 1.96 * error, 0.0)
    assert judge._verdict(difference, 2.2, agrees) is verdict


def outcomes(rng, shared, share, seeds=3):
    """[S, Q] of 0 and 100 with a mean of `share` percent; seeds differ by half a point, 13 % of queries churn."""
    own = np.sqrt(0.13) * rng.normal(size=(seeds, len(shared))) + rng.normal(0, 0.012, (seeds, 1))
    latent = np.sqrt(0.87) * shared + own
    cut = np.quantile(np.random.default_rng(0).normal(size=100_000), share / 100)
    return 100.0 * (latent < cut)


@pytest.mark.slow
def test_nothing_absent_or_opposite_is_called_reproduced():
    """120 claims of 4 points for each truth; effects of 0 and -4 must not be reproduced beyond chance."""
    rng = np.random.default_rng(5)
    verdicts = {truth: Counter() for truth in (4.0, 2.0, 0.0, -4.0)}
    for truth, counted in verdicts.items():
        for _ in range(120):
            shared = rng.normal(size=1000)
            a, b = outcomes(rng, shared, 44 + truth), outcomes(rng, shared, 44)
            counted[judge_scores(claim(size=4.0), a, [b], np.arange(1000)).verdict] += 1
    assert verdicts[4.0][ClaimVerdict.REPRODUCED] > 60
    for truth in (0.0, -4.0):
        assert verdicts[truth][ClaimVerdict.REPRODUCED] + verdicts[truth][ClaimVerdict.DIRECTION] <= 0.05 * 120
    assert verdicts[-4.0][ClaimVerdict.OPPOSITE] > 60
    assert verdicts[2.0][ClaimVerdict.OPPOSITE] == 0


def test_of_several_rivals_the_best_counts():
    rng = np.random.default_rng(2)
    shared = rng.normal(size=1000)
    a, low, high = (outcomes(rng, shared, share) for share in (50, 30, 49))
    found = judge_scores(claim("margin", size=1.0), a, [low, high], np.arange(1000))
    assert found.difference.value == pytest.approx(a.mean() - high.mean())
    assert judge_scores(claim("best"), a, [low], np.arange(1000)).verdict is ClaimVerdict.REPRODUCED
    assert judge_scores(claim("best"), a, [low, high], np.arange(1000)).verdict is ClaimVerdict.NOISE
    assert judge_scores(claim("best"), low, [a], np.arange(1000)).verdict is ClaimVerdict.NOT
    best = judge_scores(claim("best"), a, [low, high], np.arange(1000))
    assert best.p == best.difference.p > 0.05, "the nearest rival's decides, which Holm leaves as it is"


def test_a_low_mean_rank_is_the_better_one():
    ranks = np.random.default_rng(0).integers(1, 50, (3, 400)).astype(float)
    worse = ranks + 5 + np.random.default_rng(1).normal(size=(3, 400))
    found = judge_scores(claim(metric="t2v MnR"), ranks, [worse], np.arange(400))
    assert found.verdict is ClaimVerdict.REPRODUCED and found.difference.value == pytest.approx(5, abs=0.2)


def test_one_seed_is_no_ground_for_a_verdict():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=1000)
    found = judge_scores(claim(), outcomes(rng, shared, 60, 1), [outcomes(rng, shared, 40, 3)], np.arange(1000))
    assert found.verdict is ClaimVerdict.UNKNOWN and found.difference.value > 0 and "one seed" in found.why
    two, three = (
        judge_scores(claim(), outcomes(rng, shared, 60, seeds), [outcomes(rng, shared, 40, 3)], np.arange(1000))
        for seeds in (2, 3)
    )
    assert "two seeds" in two.why and three.why == ""


@pytest.mark.parametrize(
    ("fields", "ratio", "verdict"),
    [
        ({"size": 0.007}, 0.00701, ClaimVerdict.REPRODUCED),
        ({"size": 0.007}, 0.0086, ClaimVerdict.DIRECTION),
        ({"size": 0.7}, 1.2, ClaimVerdict.OPPOSITE),
        ({"below": 1.0}, 0.99, ClaimVerdict.REPRODUCED),
        ({"below": 1.0}, 1.01, ClaimVerdict.OPPOSITE),
    ],
)
def test_a_ratio_is_right_to_the_printed_digits(fields, ratio, verdict):
    assert judge_ratio(claim("parameters", metric="", **fields), ratio, 0.0005).verdict is verdict
