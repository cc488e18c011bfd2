"""Rules for ties against a brute force over all orders; intervals and small galleries against known figures."""

import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petvr import cli
from petvr.errors import PetvrError
from petvr.retrieval import intervals, metrics, ranking
from petvr.retrieval.metrics import RankCounts

COUNTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=6)


def counts(pairs) -> RankCounts:
    return RankCounts(*(np.array(column) for column in zip(*pairs, strict=True)))


def places(above: int, tied: int) -> list[int]:
    """All ranks the true candidate takes over the orders of those tied with it, each as often as the others."""
    group = ["true", *range(tied)]
    return [above + 1 + order.index("true") for order in itertools.permutations(group)]


@given(COUNTS)
def test_expected_is_the_mean_over_all_orders(pairs):
    of_query = [places(*pair) for pair in pairs]
    said = counts(pairs).summary("expected")
    for k in (1, 5, 10):
        assert said[f"R@{k}"] == pytest.approx(100 * np.mean([np.mean([r <= k for r in ranks]) for ranks in of_query]))
    assert said["MnR"] == pytest.approx(np.mean([np.mean(ranks) for ranks in of_query]))
    most = max(len(ranks) for ranks in of_query)
    mixture = np.concatenate([np.repeat(ranks, most // len(ranks)) for ranks in of_query])  # factorials divide
    assert said["MdR"] == np.median(mixture)


@given(COUNTS)
def test_released_lets_a_tied_query_enter_once_per_place(pairs):
    entries = [above + 1 + step for above, tied in pairs for step in range(tied + 1)]
    assert counts(pairs).summary("released") == metrics.summary(entries)


@given(COUNTS)
def test_the_expected_share_lies_between_the_worst_and_the_best_order(pairs):
    both = counts(pairs)
    for k in (1, 2, 5):
        best, worst = (100 * np.mean(np.array(r) <= k) for r in (both.above + 1, both.above + both.tied + 1))
        assert worst - 1e-9 <= 100 * both.success(k).mean() <= best + 1e-9


@given(st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=5, max_size=5))
def test_counts_of_a_matrix_are_those_of_its_rows_and_columns(scores):
    scores = np.array(scores, np.float32)
    found = ranking.evaluate(scores, np.arange(5), elements=7).plain.counts
    for direction, matrix in (("t2v", scores), ("v2t", scores.T)):
        own = np.diag(matrix)[:, None]
        assert found[direction].above.tolist() == (matrix > own).sum(1).tolist()
        assert found[direction].tied.tolist() == ((matrix == own).sum(1) - 1).tolist()


def test_without_ties_every_rule_gives_the_same():
    scores = np.random.default_rng(3).normal(size=(40, 40))
    found = ranking.evaluate(scores, np.arange(40)).plain.counts["t2v"]
    expected = found.summary("expected")
    for rule in metrics.RULES:
        assert found.summary(rule) == pytest.approx(expected)


def test_a_constant_scorer_gets_chance():
    found = ranking.evaluate(np.zeros((50, 50)), np.arange(50)).plain.counts["v2t"].summary("expected")
    assert found == pytest.approx({"R@1": 2, "R@5": 10, "R@10": 20, "RSum": 32, "MdR": 25.5, "MnR": 25.5})


def test_released_code_sorts_where_a_video_has_several_captions():
    """Text to video of MSVD and VATEX: CLIP4Clip sorts there, so that any order of the tied may come out."""
    scores = np.array([[1.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    found = ranking.evaluate(scores, [0, 0, 1]).plain
    assert found.released()["t2v"]["R@1"] == found.directions()["t2v"]["R@1"] == pytest.approx(100 * 2.5 / 3)
    alone = ranking.evaluate(scores[:2], [0, 1]).plain  # tied with video 1; beaten by video 0
    assert alone.released()["t2v"]["R@1"] == pytest.approx(100 / 3) and alone.directions()["t2v"]["R@1"] == 25


@given(COUNTS)
def test_stored_counts_come_back_and_old_ranks_keep_their_mean_place(pairs):
    both = counts(pairs)
    again = RankCounts.from_array(both.to_array())
    assert again.summary("released") == both.summary("released")
    assert RankCounts.from_array(both.mean_place.astype(np.float32)).mean_place.tolist() == both.mean_place.tolist()


def test_an_unknown_rule_is_answered_with_the_known_ones():
    with pytest.raises(PetvrError, match="expected, mean_place, released"):
        counts([(0, 0)]).summary("best")


@pytest.mark.parametrize(("size", "k"), [(1, 1), (3, 1), (4, 2), (6, 2)])
def test_a_smaller_gallery_is_the_mean_over_all_of_them(size, k):
    """All galleries of `size` of six candidates with the true one, and all orders of the tied."""
    pairs = [(2, 0), (1, 2), (0, 1)]
    shares = []
    for above, tied in pairs:
        others = ["above"] * above + ["tied"] * tied + ["below"] * (5 - above - tied)
        galleries = list(itertools.combinations(others, size - 1))
        one = [np.mean([r <= k for r in places(g.count("above"), g.count("tied"))]) for g in galleries]
        shares.append(np.mean(one))
    assert metrics.success_in_smaller_gallery(counts(pairs), 6, size, k) == pytest.approx(100 * np.mean(shares))


def test_drawn_galleries_agree_with_the_exact_ones_where_the_form_keeps_the_order():
    """With a huge temperature dual-softmax weighs all candidates alike: the mean over drawn galleries is near exact."""
    rng = np.random.default_rng(4)
    scores, owner = rng.normal(1, 0.1, (40, 20)) + 0.1 * np.repeat(np.eye(20), 2, axis=0), np.repeat(np.arange(20), 2)
    options = {"dsl": "emcl", "temperature": 1e6, "scale": 1.0}
    drawn = ranking.recall_in_drawn_galleries(scores, owner, 5, **options)
    found = ranking.evaluate(scores, owner).plain.counts["t2v"]
    assert drawn["t2v"] == pytest.approx(metrics.success_in_smaller_gallery(found, 20, 5, 1), abs=3)
    assert ranking.recall_in_drawn_galleries(scores, owner, 5, **options) == drawn  # the same each time
    whole = ranking.evaluate(scores, owner, dsl="emcl", temperature=0.05).dsl.directions()
    once = ranking.recall_in_drawn_galleries(scores, owner, 20, draws=1, dsl="emcl", temperature=0.05, scale=1.0)
    assert once == pytest.approx({way: each["R@1"] for way, each in whole.items()})
    with pytest.raises(PetvrError, match="1 to 20"):
        ranking.recall_in_drawn_galleries(scores, owner, 21, **options)


def test_captions_of_one_video_are_one_unit():
    """100 videos with ten equal outcomes each at 48 %: 5.02 points, not the 1.58 of a thousand independent queries."""
    outcomes = np.repeat(100.0 * (np.arange(100) < 48), 10)
    clustered = intervals.clustered_error(outcomes, np.repeat(np.arange(100), 10))
    assert clustered == pytest.approx(100 * np.sqrt(0.48 * 0.52 / 99))
    alone = intervals.clustered_error(outcomes, np.arange(1000))
    assert alone == pytest.approx(outcomes.std(ddof=1) / np.sqrt(1000))


def test_the_interval_of_a_share_agrees_with_wilsons():
    found = counts([(0, 0)] * 480 + [(30, 0)] * 520)
    low, high = intervals.query_intervals(found, np.arange(1000))["R@1"]
    share, z, n = 0.48, 1.959964, 1000  # Wilson 1927
    middle, half = share + z**2 / (2 * n), z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    wilson = [100 * (middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    assert (low, high) == pytest.approx(wilson, abs=0.25)
    assert intervals.query_intervals(found, np.arange(1000))["R@1"] == (low, high)  # the same each time


def test_the_interval_widens_with_captions_of_one_video():
    found = counts([(0, 0)] * 480 + [(30, 0)] * 520)
    low, high = intervals.query_intervals(found, np.arange(1000) // 10)["R@1"]
    assert high - low > 2.5 * 6.2


def test_score_prints_every_rule(tmp_path, capsys):
    scores = np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)
    scores[:, 1] = scores[:, 0]
    np.save(tmp_path / "m.npy", scores)
    assert cli.main(["score", str(tmp_path / "m.npy"), "--json", "--gallery", "10", "--dsl", "emcl"]) == 0
    said = json.loads(capsys.readouterr().out)
    t2v = said["plain"]["t2v"]
    assert t2v["tied queries"] == 2
    assert t2v["metrics"]["expected"]["MnR"] == t2v["metrics"]["mean_place"]["MnR"]
    assert t2v["R@1 in galleries"]["10"] > t2v["metrics"]["expected"]["R@1"]
    assert list(said) == ["plain", "dual-softmax (emcl, 0.01)"]
    assert cli.main(["score", str(tmp_path / "m.npy")]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_score_reads_whose_each_caption_is(tmp_path, capsys):
    """Two videos with two captions each: a caption is right when its video's column is the highest of its row."""
    np.save(tmp_path / "m.npy", np.array([[2, 1], [1, 2], [1, 2], [0, 3]], np.float32))
    (tmp_path / "captions.csv").write_text('video,caption\nb,x\u2028x\nb,"y\ny"\na,z\na,w\n')
    assert cli.main(["score", str(tmp_path / "m.npy"), "--captions", str(tmp_path / "captions.csv"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["plain"]
    assert said["t2v"]["metrics"]["expected"]["R@1"] == 75
    assert said["v2t"]["queries"] == 2


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), "2 texts and 3 videos"),
        (np.array([[1.0, np.nan], [0, 1]]), "NaN or infinity in 1 place"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.array([["a"]]), "expected scores"),
        (np.array([{}]), "not a .npy file"),
        (np.full((2, 2), 2**60), r"above 2\^53"),
        (np.full((2, 2), np.longdouble("1e4000")), "NaN or infinity in 4 places"),
    ],
)
def test_score_says_what_is_wrong_with_a_matrix(tmp_path, capsys, array, message):
    np.save(tmp_path / "m.npy", array, allow_pickle=True)
    assert cli.main(["score", str(tmp_path / "m.npy")]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(message, error)


TRUE_SHAPE = b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, True), }".ljust(117) + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"PK\3\4 no zip", b"\x93NUMPY\1\0", b"1,2\n3,4\n"),
        *(b"\x93NUMPY\1\0v\0" + TRUE_SHAPE + bytes(4),),
        *(b"\x93NUMPY\1\0v\0" + TRUE_SHAPE.replace(b"(True, True)", b"(1, 1)".ljust(12)) + bytes(5),),
    ],
)
def test_score_names_a_damaged_matrix(tmp_path, capsys, data):
    (tmp_path / "m.npy").write_bytes(data)
    assert cli.main(["score", str(tmp_path / "m.npy")]) == 2
    assert "m.npy: not a .npy file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_matrix_gives_the_known_figures(real_files):
    """A published model's 1,000 x 1,000 logits on MSR-VTT's 1k-A: five doubled sentences move R@1 by 0.6 points."""
    path = real_files / "msrvtt" / "scores" / "dgl_vit_b_16_1ka.npy"
    if not path.exists():
        pytest.skip("no real score matrix beside the annotation files")
    scores = np.load(path).astype(np.float64) / 100
    report = ranking.evaluate(scores, np.arange(1000), dsl="emcl", temperature=0.01)
    t2v, v2t = report.plain.counts["t2v"], report.plain.counts["v2t"]
    head = ("R@1", "R@5", "R@10", "MnR")
    assert [round(t2v.summary()[key], 2) for key in head] == [48.0, 71.3, 81.4, 13.65]
    assert [round(v2t.summary("expected")[key], 3) for key in head] == [46.7, 74.9, 83.7, 9.785]
    assert [round(v2t.summary("released")[key], 2) for key in head] == [46.34, 74.41, 83.20, 9.97]
    assert round(v2t.summary("mean_place")["R@1"], 1) == 46.5
    assert [round(metrics.success_in_smaller_gallery(v2t, 1000, n, 1), 2) for n in (100, 250, 500)] == [
        76.44,
        65.15,
        55.83,
    ]
    assert intervals.query_intervals(t2v, np.arange(1000))["R@1"] == pytest.approx((44.9, 51.1), abs=0.2)
    dsl = {direction: found.summary()["R@1"] for direction, found in report.dsl.counts.items()}
    assert dsl == pytest.approx({"t2v": 52.6, "v2t": 52.9})
