"""Scores against plain loops over pairs and frames."""

import pytest
import torch

from petvr import similarity
from petvr.errors import PetvrError

torch.set_num_threads(1)
N, M, F, E = 5, 4, 6, 8
CASES = [("mean_pool", {}), ("query_aware", {}), ("query_aware", {"tau": 0.3})]


@pytest.fixture()
def features():
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(M, F, dtype=torch.bool)
    mask[0, 4:], mask[1, 1:] = False, False
    frames = torch.randn(M, F, E, generator=generator) * 3
    return torch.randn(N, E, generator=generator) * 3, frames.masked_fill(~mask[..., None], 0), mask


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


def by_loops(name, setting, text, frames, mask):
    text, frames = text.double().tolist(), frames.double().tolist()
    tau = setting.get("tau", 5.0)
    scores = torch.zeros(len(text), len(frames), dtype=torch.float64)
    for n, t in enumerate(text):
        for m, video in enumerate(frames):
            real = [frame for frame, valid in zip(video, mask[m].tolist(), strict=True) if valid]
            if name == "mean_pool":
                shares = [1 / sum(x * x for x in frame) ** 0.5 / len(real) for frame in real]
            else:
                powers = [2.718281828459045 ** (sum(a * b for a, b in zip(t, f, strict=True)) / tau) for f in real]
                shares = [power / sum(powers) for power in powers]
            pooled = [sum(s * frame[e] for s, frame in zip(shares, real, strict=True)) for e in range(E)]
            scores[n, m] = cosine(t, pooled)
    return scores.float()


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_scores_equal_loops_over_pairs_and_frames(name, setting, features):
    scores = similarity.build_similarity(name, setting, E)(*features)
    torch.testing.assert_close(scores, by_loops(name, setting, *features), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_masked_frames_change_neither_scores_nor_gradients_even_if_they_are_nan(name, setting, features):
    text, frames, mask = features
    score = similarity.build_similarity(name, setting, E)
    broken = frames.masked_fill(~mask[..., None], float("nan")).requires_grad_()
    clean = frames.clone().requires_grad_()
    out = score(text, broken, mask)
    torch.testing.assert_close(out, score(text, clean, mask))
    out.square().sum().backward()
    score(text, clean, mask).square().sum().backward()
    torch.testing.assert_close(broken.grad[mask], clean.grad[mask])
    assert not broken.grad[~mask].any()
    more = torch.cat([frames, torch.randn(M, 3, E)], dim=1)
    longer = torch.cat([mask, torch.zeros(M, 3, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(score(text, more, longer), out.detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(score(text, frames[3:], mask[3:]), score(text, frames[3:]))


@pytest.mark.parametrize(("name", "setting"), CASES)
def test_a_video_without_a_frame_scores_zero_and_leaves_gradients_finite(name, setting, features):
    text, frames, mask = features
    mask = mask.clone()
    mask[2] = False
    frames = frames.clone().requires_grad_()
    scores = similarity.build_similarity(name, setting, E)(text, frames, mask)
    assert scores[:, 2].abs().max() < 1e-6
    scores.sum().backward()
    assert frames.grad.isfinite().all()


@pytest.mark.parametrize("name", ["mean_pool", "query_aware"])
def test_scores_stay_fp32_under_autocast(name, features):
    text, frames, mask = features
    score = similarity.build_similarity(name, {}, E)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = score(text.bfloat16(), frames.bfloat16(), mask)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, score(text.bfloat16().float(), frames.bfloat16().float(), mask))


def test_names_versions_and_settings():
    assert {"mean_pool", "query_aware"} <= set(similarity.available())
    assert all(similarity.version(name) >= 1 for name in similarity.available())
    with pytest.raises(PetvrError, match="did you mean 'mean_pool'"):
        similarity.build_similarity("meanpool", {}, E)
    with pytest.raises(PetvrError, match=r"unknown setting 'taw' .did you mean 'tau'"):
        similarity.build_similarity("query_aware", {"taw": 1}, E)
    with pytest.raises(PetvrError, match="'tau': 'x' given"):
        similarity.build_similarity("query_aware", {"tau": "x"}, E)
    with pytest.raises(PetvrError, match="'tau': 0"):
        similarity.build_similarity("query_aware", {"tau": 0}, E)
