"""Both directions, several captions a video, dual-softmax: against plain-Python definitions, in blocks of any size."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from petvr.errors import PetvrError
from petvr.retrieval import dsl, ranking

torch.set_num_threads(1)


@st.composite
def galleries(draw):
    videos = draw(st.integers(1, 6))
    owner = list(range(videos)) + draw(st.lists(st.integers(0, videos - 1), max_size=6))
    owner = draw(st.permutations(owner))
    coarse = draw(arrays(np.float32, (len(owner), videos), elements=st.integers(-4, 4).map(float)))
    return coarse / 4, owner


def brute(scores, owner):
    """t2v and v2t ranks by sorting, in plain Python."""

    def rank(values, true):
        places = [place for place, value in enumerate(sorted(values, reverse=True), 1) if value == values[true]]
        return sum(places) / len(places)

    videos = range(len(scores[0]))
    t2v = [rank(list(row), owner[c]) for c, row in enumerate(scores)]
    v2t = []
    for video in videos:
        best = [max(scores[c][video] for c in range(len(owner)) if owner[c] == other) for other in videos]
        v2t.append(rank(best, video))
    return t2v, v2t


@given(galleries(), st.integers(1, 40))
def test_both_directions_equal_the_definition_in_blocks_of_any_size(case, elements):
    scores, owner = case
    report = ranking.evaluate(scores, owner, elements=elements)
    t2v, v2t = brute(scores.tolist(), owner)
    assert report.plain.t2v.tolist() == t2v
    assert report.plain.v2t.tolist() == v2t
    assert report.dsl is None


def softmax_weighted(scores, temperature, axis):
    rows, columns = len(scores), len(scores[0])
    out = [[0.0] * columns for _ in range(rows)]
    for i in range(rows):
        for j in range(columns):
            line = [scores[k][j] for k in range(rows)] if axis == 0 else scores[i]
            weight = math.exp(scores[i][j] / temperature) / sum(math.exp(value / temperature) for value in line)
            out[i][j] = scores[i][j] * weight
    return out


@settings(deadline=None)
@given(
    st.integers(2, 6),
    st.integers(0, 6),
    st.integers(0, 10**6),
    st.integers(1, 50),
    st.sampled_from([("emcl", 0.3, 1.0, 0, 1), ("ts2net", 1.0, 3.0, 0, 0), ("camoe", 10.0, 3.0, 0, 0)]),
)
def test_dual_softmax_equals_its_definition(videos, more, seed, elements, form):
    name, temperature, scale, t2v_axis, v2t_axis = form
    generator = np.random.default_rng(seed)
    owner = generator.permutation([*range(videos), *generator.integers(0, videos, more)])
    scores = generator.uniform(-1, 1, (len(owner), videos))
    scaled = (scores * (1.0 if name == "emcl" else scale)).tolist()
    report = ranking.evaluate(scores, owner, dsl=name, temperature=temperature, scale=scale, elements=elements)
    assert report.dsl.t2v.tolist() == brute(softmax_weighted(scaled, temperature, t2v_axis), owner)[0]
    assert report.dsl.v2t.tolist() == brute(softmax_weighted(scaled, temperature, v2t_axis), owner)[1]
    assert report.plain.t2v.tolist() == brute(scores.tolist(), owner)[0]


def test_the_whole_matrix_of_each_form():
    scores = torch.tensor([[0.5, 0.1], [0.2, 0.4], [0.3, 0.3]], dtype=torch.float64)
    t2v, v2t = dsl.transform(scores, "emcl", temperature=0.1)
    assert torch.allclose(t2v, torch.tensor(softmax_weighted(scores.tolist(), 0.1, 0), dtype=torch.float64), rtol=1e-6)
    assert torch.allclose(v2t, torch.tensor(softmax_weighted(scores.tolist(), 0.1, 1), dtype=torch.float64), rtol=1e-6)
    camoe, other = dsl.transform(scores, "camoe", temperature=1000.0, scale=100.0)
    expected = 3 * torch.tensor(softmax_weighted((100 * scores).tolist(), 1000.0, 0), dtype=torch.float64)
    assert torch.allclose(camoe, expected, rtol=1e-6) and torch.equal(camoe, other)


def test_constant_scores_gain_nothing_in_any_form():
    for name, temperature in [("emcl", 0.01), ("ts2net", 1.0), ("camoe", 1000.0)]:
        report = ranking.evaluate(
            np.full((37, 37), 0.25, np.float32),
            np.arange(37),
            dsl=name,
            temperature=temperature,
            scale=100.0,
            elements=90,
        )
        for ranks in (report.plain.t2v, report.plain.v2t, report.dsl.t2v, report.dsl.v2t):
            assert (ranks == 19.0).all()


def test_a_sharp_temperature_does_not_turn_low_scores_into_ties():
    scores = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    report = ranking.evaluate(scores, np.arange(8), dsl="emcl", temperature=0.01)
    assert (report.dsl.t2v == np.floor(report.dsl.t2v)).all()


def test_duplicated_captions_share_their_places_in_v2t():
    generator = np.random.default_rng(5)
    scores = generator.normal(size=(6, 6)).astype(np.float32)
    scores[np.arange(6), np.arange(6)] += 10
    scores[3] = scores[1]  # videos 1 and 3 have the same caption
    scores[[1, 3]] = 0.0
    scores[1, [1, 3]] = scores[3, [1, 3]] = 20.0
    report = ranking.evaluate(scores, np.arange(6))
    assert report.plain.t2v.tolist() == [1, 1.5, 1, 1.5, 1, 1]
    assert report.plain.v2t.tolist() == [1, 1.5, 1, 1.5, 1, 1]


def test_identical_captions_and_videos_stay_tied_with_dual_softmax():
    text = torch.nn.functional.normalize(torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    text[5] = text[2]
    scores = (text @ text.T).double().round(decimals=6)
    report = ranking.evaluate(scores, np.arange(9), dsl="emcl", temperature=0.05, elements=20)
    for ranks in (report.dsl.t2v, report.dsl.v2t):
        assert ranks[2] == ranks[5] and ranks[2] % 1 == 0.5


def test_a_permutation_of_captions_permutes_the_ranks():
    generator = np.random.default_rng(3)
    owner = generator.permutation(np.repeat(np.arange(7), 3))
    scores = generator.normal(size=(21, 7))
    order = generator.permutation(21)
    one = ranking.evaluate(scores, owner, elements=30)
    two = ranking.evaluate(scores[order], owner[order], elements=50)
    np.testing.assert_array_equal(one.plain.t2v[order], two.plain.t2v)
    np.testing.assert_array_equal(one.plain.v2t, two.plain.v2t)


def test_videos_without_captions_are_rivals_but_ask_nothing():
    scores = np.array([[1.0, 5.0, 2.0], [0.0, 3.0, 4.0]])
    report = ranking.evaluate(scores, [0, 2])
    assert report.plain.t2v.tolist() == [3, 1]
    assert report.plain.v2t.tolist() == [1, 1]


def test_a_function_is_asked_for_blocks_no_larger_than_allowed():
    sizes = []

    def rows(index):
        sizes.append(len(index))
        return torch.randn(len(index), 50, generator=torch.Generator().manual_seed(int(index[0])))

    ranking.evaluate(rows, np.arange(50), videos=50, dsl="emcl", temperature=0.01, elements=400)
    assert max(sizes) == 8 and sum(sizes) == 2 * 50


def test_captions_of_a_video_stay_in_one_block():
    owner = np.random.default_rng(0).permutation(np.repeat(np.arange(11), 4))
    parts = ranking.plan_blocks(owner, 11, elements=11 * 10)
    assert sorted(np.concatenate([part.captions for part in parts])) == list(range(44))
    assert [len(part.captions) for part in parts] == [8, 8, 8, 8, 8, 4]
    assert sum(len(part.videos) for part in parts) == 11


@pytest.mark.parametrize("form", ["none", "emcl"])
def test_nan_is_an_error_wherever_it_stands(form):
    scores = np.zeros((4, 4), np.float32)
    scores[2, 0] = np.nan
    with pytest.raises(PetvrError, match="NaN"):
        ranking.evaluate(scores, np.arange(4), dsl=form, temperature=0.01, elements=4)


def test_bad_arguments_are_named():
    with pytest.raises(PetvrError, match="did you mean 'emcl'"):
        ranking.evaluate(np.zeros((2, 2)), [0, 1], dsl="emc")
    with pytest.raises(PetvrError, match="above 0"):
        ranking.evaluate(np.zeros((2, 2)), [0, 1], dsl="emcl", temperature=0.0)
    with pytest.raises(PetvrError, match="owner"):
        ranking.evaluate(np.zeros((2, 2)), [0, 2])
    with pytest.raises(PetvrError, match="do not fit"):
        ranking.evaluate(np.zeros((2, 2)), [0, 1, 1])


MEASURE = """
import resource, numpy as np, torch
from petvr.retrieval import ranking
torch.set_num_threads(1)
n = 9000
left = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
small = np.random.default_rng(0).normal(size=(50, 50))
ranking.evaluate(small, np.arange(50), dsl="emcl", temperature=0.01)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = ranking.evaluate(lambda index: left[index] @ left.T, np.arange(n), videos=n, dsl="emcl", temperature=0.1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_a_large_gallery_needs_blocks_not_the_matrix():
    out = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    assert float(out.stdout) < 150, "MiB; the matrix of 9000 x 9000 float32 alone is 309"
