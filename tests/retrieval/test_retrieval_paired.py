"""Differences between two methods: known cases by hand, and how often identical methods are called different."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petvr import cli, config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.retrieval import metrics
from petvr.retrieval.paired import (
    holm,
    letters,
    mean_with_interval,
    paired_difference,
    run_letters,
    sign_flip,
)
from petvr.run_ids import spec_of

ALONE = np.arange(1000)


def outcomes(*right: int, total: int = 1000) -> np.ndarray:
    """[1, Q]: 100 for the queries numbered in `right`'s range, else 0."""
    row = np.zeros(total)
    row[slice(*right)] = 100
    return row[None]


def test_sixty_gains_and_thirty_eight_losses():
    """Of 1,000 queries 60 are right for A alone, 38 for B alone: +2.2, standard error 0.987, exact p 0.0334."""
    a, b = outcomes(0, 60), outcomes(60, 98)
    found = paired_difference(a, b, ALONE)
    assert found.value == pytest.approx(2.2)
    half = 1.96234 * 0.9885  # Student's t of 999 degrees of freedom
    assert (found.low, found.high) == pytest.approx((2.2 - half, 2.2 + half), abs=0.01)
    binomial = 2 * sum(math.comb(98, gains) for gains in range(60, 99)) / 2**98
    assert sign_flip(a, b, ALONE) == pytest.approx(binomial, abs=0.006)


def test_the_sign_flip_never_says_that_chance_is_impossible():
    assert sign_flip(outcomes(0, 1000), outcomes(0, 0), ALONE) == 1 / 10_000
    assert sign_flip(outcomes(0, 500), outcomes(0, 500), ALONE) == 1


def test_captions_of_one_video_are_one_unit():
    """Ten captions a video with one outcome each widen the interval by about sqrt(10)."""
    a, b, video = outcomes(0, 600), outcomes(300, 850), ALONE // 10
    wide, narrow = (paired_difference(a, b, of) for of in (video, ALONE))
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(10**0.5, rel=0.02)


def test_equal_runs_differ_by_nothing():
    found = paired_difference(outcomes(0, 300), outcomes(0, 300), ALONE)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("order", "differ", "expected"),
    [
        ("ABCD", ["AC", "AD", "BD", "CD"], {"A": "a", "B": "ab", "C": "b", "D": "c"}),
        ("ABCDE", ["AD", "AE", "BE"], {"A": "a", "B": "ab", "C": "abc", "D": "bc", "E": "c"}),
        ("AB", [], {"A": "a", "B": "a"}),
        ("BA", ["AB"], {"A": "b", "B": "a"}),
    ],
)
def test_letters_of_rows_that_do_not_differ(order, differ, expected):
    assert letters(order, {frozenset(pair) for pair in differ}) == expected


@given(st.sets(st.sampled_from([frozenset(pair) for pair in itertools.combinations(range(5), 2)])))
def test_two_share_a_letter_exactly_where_they_do_not_differ(differ):
    named = letters(range(5), differ)
    for one, other in itertools.combinations(range(5), 2):
        assert bool(set(named[one]) & set(named[other])) == (frozenset((one, other)) not in differ)


def test_forty_rows_have_few_letters_and_those_without_a_common_one_differ():
    """Values 0.3 apart, told apart from about 2 on: exact letters would be many more."""
    rng, rows = np.random.default_rng(0), range(40)
    differ = {
        frozenset((one, other))
        for one, other in itertools.combinations(rows, 2)
        if 0.3 * (other - one) > rng.uniform(1.5, 2.5)
    }
    few, exact = run_letters(rows, differ), letters(rows, differ)
    for one, other in itertools.combinations(rows, 2):
        assert bool(set(exact[one]) & set(exact[other])) == (frozenset((one, other)) not in differ)
        assert set(few[one]) & set(few[other]) or frozenset((one, other)) in differ
    assert len(set().union(*few.values())) < len(set().union(*exact.values())) and few[0] == "a"
    ends = {frozenset((3, 2))}
    assert run_letters([3, 1, 2], ends) == letters([3, 1, 2], ends) == {3: "a", 1: "ab", 2: "b"}


def test_the_interval_of_a_mean_covers_both_queries_and_seeds():
    """The mean of three runs, drawn anew with a run effect of 1.5 points: 95 % intervals hold the truth mostly."""
    rng, hits = np.random.default_rng(5), 0
    for _ in range(200):
        latent = np.sqrt(0.8) * rng.normal(size=400) + np.sqrt(0.2) * rng.normal(size=(3, 400))
        mean = mean_with_interval(100.0 * (latent + rng.normal(0, 0.04, (3, 1)) < 0), np.arange(400))
        hits += mean.low <= 50 <= mean.high
    assert 0.9 < hits / 200 < 0.99


@pytest.fixture
def finished(tmp_path, finished_result):
    """`finished(id, [ranks of each seed])` leaves results behind; returns the command line's configuration."""
    (tmp_path / "c.yaml").write_text(f"results: {tmp_path / 'results'}\n")
    words = ["-c", "demo", "-c", str(tmp_path / "c.yaml")]
    layout = Layout(tmp_path / "results")

    def leave(cell, ranks, videos=40):
        for seed, each in enumerate(ranks):
            spec = spec_of(config.load_config(["demo"]), f"{cell}/seed-{seed}")
            plain = {way: metrics.summary(each) for way in ("t2v", "v2t")}
            names = [f"v{n}" for n in range(videos)]
            result = finished_result(spec, plain, videos=videos)
            result.write(layout.result(spec))
            arrays = {f"0/plain/{way}": np.array(each, np.float32) for way in ("t2v", "v2t")}
            np.savez(layout.run(spec) / "ranks.npz", videos=np.array(names), owner=np.arange(videos), **arrays)
        return words

    return leave


FULL, BIAS, RAP = "vop/msrvtt-7k/tiny/full", "vop/msrvtt-7k/tiny/bias", "rap/msrvtt-9k/tiny/rap"


def test_compare_says_better_worse_or_noise(finished, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    rng = np.random.default_rng(1)
    base = rng.integers(1, 30, (3, 40))
    finished(FULL, np.minimum(base, 1))
    finished(BIAS, base)
    words = finished(RAP, np.where(rng.random((3, 40)) < 0.1, 1, base))  # on 9k: the same test list
    assert cli.main([*words, "compare", FULL, BIAS]) == 0
    said = capsys.readouterr().out
    assert f"A  {FULL} (seeds 0, 1, 2)" in said
    rows = {line[:11].strip(): line.split() for line in said.splitlines() if "→" in line}
    assert len(rows) == 10
    assert rows["T→V R@1"][2] == "100.0" and rows["T→V R@1"][-2:] == ["A", "better"]
    assert rows["T→V MnR"][2] == "1.0" and rows["T→V MnR"][-2:] == ["A", "better"]
    assert cli.main([*words, "compare", f"{BIAS}/seed-0", f"{BIAS}/seed-1", RAP]) == 0
    said = capsys.readouterr().out
    assert "within noise" in said and "One seed alone" in said and "Holm over the others" in said
    assert max(map(len, said.splitlines())) <= 80


def test_compare_refuses_other_test_queries_and_unknown_runs(finished, capsys):
    finished(FULL, np.ones((1, 40)))
    words = finished(BIAS, np.ones((1, 30)), videos=30)
    for others, message in (
        ([BIAS], "only runs on the same test queries"),
        ([RAP], f"{RAP}/seed-0: missing: nothing yet; `snakemake --profile demo "),
        ([], "at least two"),
    ):
        assert cli.main([*words, "compare", FULL, *others]) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1


def test_outcomes_of_other_queries_are_refused():
    with pytest.raises(PetvrError, match="expected"):
        paired_difference(np.zeros((2, 10)), np.zeros((2, 11)), np.arange(10))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("run_effect", [0.0, 0.035])
def test_identical_methods_are_rarely_called_different_and_four_points_are_found(run_effect):
    """400 pairs of three seeds each, with and without a true effect of the seed (0.035 moves R@1 by 1.3 points)."""
    rng = np.random.default_rng(7)
    cluster = np.arange(1000)
    wrong = found = flipped = 0
    for _ in range(400):
        difficulty = rng.normal(size=1000)

        def run(shift, difficulty=difficulty):
            seed = rng.normal(0, run_effect, (3, 1))
            return 100.0 * (difficulty + shift + seed + rng.normal(0, 0.25, (3, 1000)) > 0)

        one, same, better = run(0), run(0), run(0.11)  # 0.11 is about 4.2 points of R@1 at 50 %
        wrong += paired_difference(one, same, cluster).p <= 0.05
        found += paired_difference(better, one, cluster).p <= 0.05
        flipped += run_effect > 0 and sign_flip(one, same, cluster, flips=199) <= 0.05
    assert wrong / 400 <= 0.08
    if not run_effect:  # with a seed's own 1.3 points, three seeds are too few for four points
        assert found / 400 > 0.8
    else:
        assert flipped / 400 > 0.15  # what a test over queries alone would have done
