"""Similarities with parameters, against numpy one pair at a time from the papers' formulas, and what all promise."""

import itertools
import math

import numpy as np
import pytest
import torch

from petvr import similarity
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.errors import PetvrError
from petvr.similarity import _head
from petvr.similarity import ts2_net as ts2_net_file

torch.set_num_threads(1)
N, M, F, W, P, E = 5, 4, 6, 7, 9, 16
CLIP = ClipConfig(Tower(32, 2, 4, 64), Tower(E, 5, 2, 48), image=24, patch=8, positions=20, vocab=60, eot=59, embed=E)
PLAIN = [("mean_pool", {}), ("query_aware", {"tau": 0.5})]
HEADS = [
    ("seq_transf", {}),
    ("x_pool", {}),
    ("x_clip", {}),
    ("ju", {"positions": F}),
    ("ts2_net", {}),
    ("clip2video", {}),
    ("hunyuan", {}),
]
each = pytest.mark.parametrize(("name", "setting"), PLAIN + HEADS)
heads = pytest.mark.parametrize(("name", "setting"), HEADS)


def clip():
    found = weights.random(CLIP, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return found


def built(name, setting, *, trained=True, clip=None, seed=0):
    """In evaluation mode; `trained`: nothing that starts at zero or at the identity stays there."""
    generator = torch.Generator().manual_seed(seed)
    score = similarity.build_similarity(name, setting, E, generator, clip=clip, frames=F, words=W).eval()
    if trained:
        with torch.no_grad():
            for parameter in score.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return score


@pytest.fixture()
def features():
    """What the towers give; the fifth text has one word beside SOT, the second video one frame."""
    generator = torch.Generator().manual_seed(0)
    mask, word_mask = torch.ones(M, F, dtype=torch.bool), torch.ones(N, W, dtype=torch.bool)
    mask[0, 4:], mask[1, 1:], word_mask[0, 4:], word_mask[4, 2:] = False, False, False, False
    frames = torch.randn(M, F, E, generator=generator) * 2
    words = torch.randn(N, W, E, generator=generator) * 2
    patches = torch.randn(M, F, P, E, generator=generator) * 2
    return {
        "text": words[torch.arange(N), word_mask.sum(1) - 1],
        "frames": frames,
        "mask": mask,
        "words": words,
        "word_mask": word_mask,
        "patches": patches,
    }


# the formulas in numpy


def layer(n, name, v):
    return n[f"{name}.weight"] @ v + n[f"{name}.bias"]


def norm(n, name, v, eps=1e-5):
    return (v - v.mean()) / np.sqrt(((v - v.mean()) ** 2).mean() + eps) * n[f"{name}.weight"] + n[f"{name}.bias"]


def softmax(values):
    powers = np.exp(np.array(values) - max(values))
    return powers / powers.sum()


def unit(v):
    return v / np.sqrt((v**2).sum())


def block(n, name, tokens, heads, eps=1e-12):
    normed = [norm(n, f"{name}.layer_norm1", x, eps) for x in tokens]
    q, k, v = ([layer(n, f"{name}.self_attn.{p}_proj", x) for x in normed] for p in "qkv")
    size, out = len(tokens[0]) // heads, []
    for at, x in enumerate(tokens):
        mixed = []
        for head in range(heads):
            here = slice(head * size, (head + 1) * size)
            shares = softmax([q[at][here] @ other[here] / np.sqrt(size) for other in k])
            mixed.append(sum(s * other[here] for s, other in zip(shares, v, strict=True)))
        x = x + layer(n, f"{name}.self_attn.out_proj", np.concatenate(mixed))
        h = layer(n, f"{name}.mlp.fc1", norm(n, f"{name}.layer_norm2", x, eps))
        out.append(x + layer(n, f"{name}.mlp.fc2", h / (1 + np.exp(-1.702 * h))))
    return out


def sequence(n, name, frames, count=4, heads=2):
    tokens = [f + n[f"{name}.positions"][i] for i, f in enumerate(frames)]
    for i in range(count):
        tokens = block(n, f"{name}.blocks.{i}", tokens, heads)
    return [f + x for f, x in zip(frames, tokens, strict=True)]


def pooled(frames):
    return unit(np.mean([unit(f) for f in frames], axis=0))


def seq_transf(n, setting, t, words, frames, patches):
    return unit(t) @ pooled(sequence(n, "sequence", frames))


def x_pool(n, setting, t, words, frames, patches):
    normed = [norm(n, "norm1", f) for f in frames]
    query = layer(n, "query", norm(n, "norm1", t))
    shares = softmax([query @ layer(n, "key", f) / np.sqrt(E) for f in normed])
    values = [layer(n, "value", f) for f in normed]
    a = norm(n, "norm2", layer(n, "out", sum(s * v for s, v in zip(shares, values, strict=True))))
    return unit(t) @ unit(norm(n, "norm3", a + layer(n, "linear", a)))


def aosm(values, matrix):
    count = len(values)
    shares = softmax(np.array(values) / 0.01)
    return sum(values[i] * sum(shares[j] * matrix[j, i] for j in range(count)) for i in range(count))


def x_clip(n, setting, t, words, frames, patches):
    s, v = unit(t), pooled(sequence(n, "sequence", frames))
    words, frames = [unit(w) for w in words], [unit(f) for f in frames]
    fine = [[w @ n["fine"] @ f for f in frames] for w in words]
    by_frame = [aosm([row[j] for row in fine], n["words_first"]) for j in range(len(frames))]
    by_word = [aosm(row, n["frames_first"]) for row in fine]
    pair = (aosm(by_frame, n["frames_last"]) + aosm(by_word, n["words_last"])) / 2
    video_word = aosm([w @ v for w in words], n["words_of_video"])
    return (s @ n["coarse"] @ v + video_word + aosm([s @ f for f in frames], n["frames_of_text"]) + pair) / 4


def ju(n, setting, t, words, frames, patches):
    tokens = [f + n["positions"][i] for i, f in enumerate(frames)]
    for i in range(2):
        tokens = block(n, f"blocks.{i}", tokens, 1, 1e-5)
    return unit(t) @ unit(np.mean(tokens, axis=0))


def gelu(v):
    return np.array([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in v])


def ts2_net(n, setting, t, words, frames, patches):
    tokens = []
    for cls, grid in zip(frames, patches, strict=True):
        each = [gelu(n["selection.each.weight"] @ norm(n, "selection.norm", x)) for x in [cls, *grid]]
        joined = [gelu(n["selection.joined.weight"] @ np.concatenate([x, each[0]])) for x in each[1:]]
        scores = [math.tanh((n["selection.score.weight"] @ x).item()) for x in joined]
        best = sorted(sorted(range(len(grid)), key=lambda place: -scores[place])[:3])
        tokens += [cls, *(grid[place] for place in best)]
    cosines = np.array([unit(t) @ unit(x) for x in sequence(n, "sequence", tokens)[::4]])
    return softmax(4 * cosines / np.sqrt((cosines**2).sum())) @ cosines


def described(n, tokens):
    found = []
    for centre in range(len(n["centre"])):
        shares = [softmax(n["assign"] @ x)[centre] for x in tokens]
        found.append(unit(sum(s * (x - n["centre"][centre]) for s, x in zip(shares, tokens, strict=True))))
    return unit(np.mean(found, axis=0))


def clip2video(n, setting, t, words, frames, patches):
    def mixed(frames, name, count):
        where, types = n["positions"], n["types"]
        steps = [b - a + where[i + 1] for i, (a, b) in enumerate(itertools.pairwise(frames))]
        steps = block(n, "difference.0", steps, 2) if steps else []
        steps = [2 / (1 + np.exp(-norm(n, "norm", x))) - 1 + where[i] + types[0] for i, x in enumerate(steps)]
        tokens = [f + where[i] + types[1] for i, f in enumerate(frames)]
        for i, step in enumerate(steps):
            tokens.insert(2 * i + 1, step)
        for i in range(count):
            tokens = block(n, f"{name}.{i}", tokens, 2)
        return [f + x for f, x in zip(frames, tokens[::2], strict=True)]

    everything = unit(t) @ pooled(mixed(frames, "sequence", 4))
    local = described(n, words[1:]) @ described(n, frames + mixed(frames[::2], "action", 1))
    return (everything + local) / 2


def hunyuan(n, setting, t, words, frames, patches):
    def aggregation(name, tokens):
        normed = [norm(n, f"{name}.norm1", x) for x in tokens]
        q, k, v = ([layer(n, f"{name}.{part}", x) for x in normed] for part in ("query", "key", "value"))
        out = []
        for x, query in zip(tokens, q, strict=True):
            shares = softmax([query @ key / np.sqrt(E) for key in k])
            y = x + layer(n, f"{name}.out", sum(s * value for s, value in zip(shares, v, strict=True)))
            out.append(y + layer(n, f"{name}.linear", norm(n, f"{name}.norm2", y)))
        return out

    def up(tokens, first, second):
        seen = aggregation(first, tokens)
        groups = []
        for number in range(3):
            seed = seen[number * len(seen) // 3]
            shares = softmax([seed @ x / np.sqrt(E) for x in seen])
            groups.append(sum(s * x for s, x in zip(shares, seen, strict=True)))
        return groups, np.mean(aggregation(second, groups), axis=0)

    def sets(left, right):
        cosines = np.array([[unit(a) @ unit(b) for b in right] for a in left])
        return (cosines.max(axis=1).mean() + cosines.max(axis=0).mean()) / 2

    frames = sequence(n, "sequence", frames)
    clips, video = up(frames, "to_clips", "to_video")
    phrases, sentence = up(words, "to_phrases", "to_sentence")
    return (sets(words, frames) + sets(phrases, clips) + unit(sentence) @ unit(video)) / 3


@heads
def test_scores_are_the_formulas(name, setting, features):
    source = clip()
    score = built(name, setting, clip=source)
    n = {key: parameter.detach().double().numpy() for key, parameter in score.named_parameters()}
    with torch.no_grad():
        found = score(**features)
    data = {key: value.double().numpy() if value.is_floating_point() else value for key, value in features.items()}
    for text in range(N):
        words = list(data["words"][text][features["word_mask"][text].numpy()])
        for video in range(M):
            real = features["mask"][video].numpy()
            frames, patches = list(data["frames"][video][real]), data["patches"][video][real]
            by_hand = globals()[name](n, setting, data["text"][text], words, frames, patches)
            assert found[text, video].item() == pytest.approx(np.float64(by_hand), abs=2e-5)


COUNTS = {
    "seq_transf": 12_648_960,
    "x_pool": 1_316_352,
    "x_clip": 13_176_752,
    "ju": 6_312_960,
    "ts2_net": 12_912_384,
    "clip2video": 18_960_896,
}
COUNTS["hunyuan"] = 17_910_272


@pytest.mark.parametrize("name", COUNTS)
def test_counts_with_vit_b_are_the_stated_ones(name):
    with torch.device("meta"):
        score = similarity.build_similarity(name, {}, 512, frames=12, words=32)
    assert sum(parameter.numel() for parameter in score.parameters()) == COUNTS[name]


def test_x_clip_grows_with_words_and_frames():
    with torch.device("meta"):
        score = similarity.build_similarity("x_clip", {}, 512, frames=64, words=64)
    assert sum(parameter.numel() for parameter in score.parameters()) == 13_197_824


@each
def test_padding_changes_neither_scores_nor_gradients_even_if_it_is_nan(name, setting, features):
    score = built(name, setting)
    mask, word_mask = features["mask"], features["word_mask"]
    clean = {key: value.clone().requires_grad_() for key, value in features.items() if value.is_floating_point()}
    scores = score(**features | clean)
    scores.square().sum().backward()
    expected = {key: value.grad for key, value in clean.items()}
    shuffled = {
        "frames": features["frames"].flip(0, 1, 2),
        "patches": features["patches"].flip(0, 1, 2),
        "words": features["words"].flip(0, 1, 2),
    }
    for broken in (shuffled, {key: torch.full_like(value, float("nan")) for key, value in shuffled.items()}):
        padded = dict(features)
        for key, values in broken.items():
            shown = (word_mask if key == "words" else mask).reshape(*features[key].shape[:2], *[1] * (values.dim() - 2))
            padded[key] = torch.where(shown, features[key], values).requires_grad_()
        text = features["text"].clone().requires_grad_()
        found = score(**padded | {"text": text})
        torch.testing.assert_close(found, scores)
        found.square().sum().backward()
        for key, leaf in ({key: padded[key] for key in broken} | {"text": text}).items():
            if expected[key] is not None:
                torch.testing.assert_close(leaf.grad, expected[key], atol=1e-5, rtol=1e-4)


@each
def test_more_padding_changes_nothing(name, setting, features):
    score = built(name, setting)
    few = {**features, "mask": features["mask"].clone(), "word_mask": features["word_mask"].clone()}
    few["mask"][:, 4:], few["word_mask"][:, 5:] = False, False
    with torch.no_grad():
        cut = {key: few[key][:, :4] for key in ("frames", "mask", "patches")}
        cut |= {key: few[key][:, :5] for key in ("words", "word_mask")}
        torch.testing.assert_close(score(text=few["text"], **cut), score(**few), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "setting"), [*PLAIN, ("x_pool", {})])
def test_where_frames_have_no_place_their_order_does_not_matter(name, setting, features):
    score = built(name, setting)
    order = torch.tensor([3, 5, 0, 4, 1, 2])
    moved = features | {key: features[key][:, order] for key in ("frames", "mask", "patches")}
    with torch.no_grad():
        torch.testing.assert_close(score(**moved), score(**features))


@each
def test_a_video_without_a_frame_scores_zero_and_leaves_gradients_finite(name, setting, features):
    features["mask"][2] = False
    features["frames"].requires_grad_()
    score = built(name, setting)
    scores = score(**features)
    assert not scores[:, 2].any() and scores[:, 0].all()
    scores.sum().backward()
    assert features["frames"].grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in score.parameters() if parameter.grad is not None)


@each
def test_every_text_and_video_is_scored_for_itself(name, setting, features):
    """What stands beside a text or a video changes nothing: the score of a pair needs the pair alone."""
    score = built(name, setting)
    with torch.no_grad():
        together = score(**features)
        for text, video in ((0, 1), (4, 0), (3, 3)):
            alone = {key: value[text : text + 1] for key, value in features.items() if len(value) == N}
            alone |= {key: value[video : video + 1] for key, value in features.items() if len(value) == M}
            torch.testing.assert_close(score(**alone)[0, 0], together[text, video], atol=1e-5, rtol=0)


@each
def test_blocks_give_the_same_scores_and_gradients(name, setting, features, monkeypatch):
    score = built(name, setting)
    features["frames"].requires_grad_()
    wanted = [features["frames"], *score.parameters()]
    whole = score(**features)
    gradients = torch.autograd.grad(whole.square().sum(), wanted, allow_unused=True)
    cost = score.pair_cost(score.texts(features), score.videos(features))
    for block_size in (1, 2 * cost, 7 * cost):
        monkeypatch.setattr(_head, "BLOCK", block_size)
        parts = score(**features)
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
        for found, expected in zip(
            torch.autograd.grad(parts.square().sum(), wanted, allow_unused=True), gradients, strict=True
        ):
            if expected is not None:
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@each
def test_no_tensor_is_larger_than_a_block_or_the_result(name, setting, monkeypatch):
    """While pairs are scored: the largest tensor made is a block or [texts, videos], whatever the similarity."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in given:
                self.numbers = max(self.numbers, out.untyped_storage().nbytes() // out.element_size())
            return out

    generator = torch.Generator().manual_seed(0)
    texts = {"text": torch.randn(60, E, generator=generator), "words": torch.randn(60, W, E, generator=generator)}
    texts["word_mask"] = torch.ones(60, W, dtype=torch.bool)
    videos = {"frames": torch.randn(50, F, E, generator=generator), "mask": torch.ones(50, F, dtype=torch.bool)}
    videos["patches"] = torch.randn(50, F, P, E, generator=generator)
    score = built(name, setting)
    block_size = 3000
    monkeypatch.setattr(_head, "BLOCK", block_size)
    with torch.no_grad():
        texts, videos = score.texts(texts), score.videos(videos)
        given = {each.untyped_storage().data_ptr() for each in [*texts.values(), *videos.values()]}
        given |= {parameter.untyped_storage().data_ptr() for parameter in score.parameters()}
        with Largest() as largest:
            score.score(texts, videos)
    assert largest.numbers <= max(60 * 50 * len(score.LEVELS), block_size) < 60 * 50 * F


@heads
def test_scores_stay_fp32_under_autocast(name, setting, features):
    score = built(name, setting)
    half = {key: value.bfloat16() if value.is_floating_point() else value for key, value in features.items()}
    whole = {key: value.float() if value.is_floating_point() else value for key, value in half.items()}
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = score(**half)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, score(**whole))


@heads
def test_one_seed_gives_one_head_and_the_global_generator_is_left_alone(name, setting):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, again = (built(name, setting, trained=False) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))


@heads
def test_gradients_reach_every_parameter(name, setting, features):
    score = built(name, setting).train()
    score(**features).square().sum().backward()
    for key, parameter in score.named_parameters():
        if not key.endswith(("k_proj.bias", "key.bias")):  # a constant added to all keys moves no softmax
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, key


# what single heads promise


def test_seq_transf_begins_as_clips_text_blocks_and_positions():
    source = clip()
    score = built("seq_transf", {}, trained=False, clip=source)
    for number, part in enumerate(score.sequence.blocks):
        theirs = source.text_model.encoder.layers[number].state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in part.state_dict().items())
    assert torch.equal(score.sequence.positions[:20], source.text_model.embeddings.position_embedding.weight)
    other = built("seq_transf", {}, trained=False, clip=source, seed=1)
    assert torch.equal(score.sequence.positions[:20], other.sequence.positions[:20])
    with torch.no_grad():  # a copy: training it leaves CLIP alone
        score.sequence.positions.zero_()
    assert source.text_model.embeddings.position_embedding.weight.abs().sum() > 0


def test_x_pool_begins_with_the_identity_and_drops_only_in_training(features):
    score = built("x_pool", {"dropout": 0.5}, trained=False)
    assert all(torch.equal(getattr(score, name).weight, torch.eye(E)) for name in ("query", "key", "value", "out"))
    assert torch.equal(score(**features), score(**features))
    score.train()
    assert not torch.equal(score(**features), score(**features))


def test_x_pool_in_training_without_dropout_is_x_pool_in_evaluation(features):
    """Pair by pair with products of width E, and by quadratic forms of the weights: scores and gradients."""
    found = {}
    for training in (True, False):
        score = built("x_pool", {"dropout": 0.0}).train(training)
        scores = score(**features)
        scores.square().sum().backward()
        found[training] = [scores.detach(), *(parameter.grad for parameter in score.parameters())]
    for one, other in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@each
def test_lengths_change_what_is_computed_but_not_the_scores(name, setting, features, monkeypatch):
    """Blocks in the order of lengths, holes in the masks, and no block longer than its longest text or video."""
    score = built(name, setting)
    features["mask"] = (
        torch.tensor([[1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0]]) > 0
    )
    features["word_mask"] = torch.arange(W) < torch.tensor([3, 7, 2, 5, 4])[:, None]
    with torch.no_grad():
        texts, videos = score.texts(features), score.videos(features)
        whole, widths = score._block(*(_head.Rows(side, score).whole() for side in (texts, videos))), []
        monkeypatch.setattr(_head, "BLOCK", score.pair_cost(texts, videos))  # one pair
        monkeypatch.setattr(score, "TALL", 1)
        block = type(score)._block
        monkeypatch.setattr(
            type(score), "_block", lambda self, t, v: widths.append((t, v)) or block(self, t, v), raising=False
        )
        torch.testing.assert_close(score.levels(texts, videos), whole, atol=1e-5, rtol=0)
    places = 0 if score.PLACES_FIRST else 1
    if score.PADDED:
        assert {v["mask"].shape[places] for _, v in widths} == {5, 3, 1}
    if "words" in score.PADDED:
        assert {t["mask"].shape[places] for t, _ in widths} == {7, 5, 4, 3, 2}


def test_x_clip_with_one_word_and_one_frame_is_four_cosines(features):
    """With the identities of the start, nothing to choose between, and no transformer (its output zero)."""
    score = built("x_clip", {"layers": 1}, trained=False)
    with torch.no_grad():
        score.sequence.positions.zero_()
        score.sequence.blocks[0].self_attn.out_proj.weight.zero_()
        score.sequence.blocks[0].mlp.fc2.weight.zero_()
        text, words, frames = features["text"][:1], features["words"][:1, :1], features["frames"][:1, :1]
        found = score(text, frames, words=words, word_mask=torch.ones(1, 1, dtype=torch.bool))
    t, w, f = (torch.nn.functional.normalize(x.flatten(), dim=0) for x in (text, words, frames))
    assert found.item() == pytest.approx(((t @ f + w @ f + t @ f + w @ f) / 4).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("seq_transf", {"layers": 0}, "'layers': 0 given, allowed: 1 or more"),
        ("x_pool", {"dropout": 1.0}, "'dropout': 1 given, allowed: 0 to below 1"),
        ("x_clip", {"tau": 0.0}, "'tau': 0 given, allowed: more than 0"),
        ("ts2_net", {"sigma": 0.0}, "'sigma': 0 given, allowed: more than 0"),
        ("clip2video", {"centres": 0}, "'centres': 0 given, allowed: 1 or more"),
        ("hunyuan", {"clips": 0}, "'clips': 0 given, allowed: 1 or more"),
        ("ju", {"layers": 0}, "'layers': 0 given, allowed: 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(name, setting, said):
    with pytest.raises(PetvrError, match=said):
        similarity.build_similarity(name, setting, E)


def test_x_clip_refuses_more_words_or_frames_than_it_was_built_for(features):
    score = similarity.build_similarity("x_clip", {}, E, frames=F - 1, words=W)
    with pytest.raises(PetvrError, match="videos of 6 frames, built for 5"):
        score(**features)
    score = similarity.build_similarity("x_clip", {}, E, frames=F, words=W - 1)
    with pytest.raises(PetvrError, match="texts of 7 words, built for 6"):
        score(**features)


@pytest.mark.slow
@pytest.mark.parametrize("full", [True, False])
def test_ts2_net_selection_by_perturbation_is_the_gradient_of_its_mean(full):
    """With all noise known: the mean indicator, and Stein's estimate of how it changes with the scores, or of that what
    the released code keeps: each place's own indicator."""
    generator = torch.Generator().manual_seed(0)
    scores = (torch.randn(2, 5, generator=generator) * 0.05).double().requires_grad_()
    noise = torch.randn(2, 4000, 5, generator=generator).double()
    mean = ts2_net_file.MeanBest.apply(scores, noise, 2, 0.1, full)
    by_hand = torch.zeros(2, 2, 5, dtype=torch.float64)
    slope = torch.zeros(2, 2, 5, 5, dtype=torch.float64)
    for row in range(2):
        for drawn in noise[row]:
            best = sorted((scores[row] + 0.1 * drawn).argsort(descending=True)[:2].tolist())
            for k, place in enumerate(best):
                by_hand[row, k, place] += 1 / 4000
                slope[row, k, place] += (drawn if full else drawn * torch.eye(5)[place]) / 4000 / 0.1
    torch.testing.assert_close(mean, by_hand)
    weight = torch.randn(2, 2, 5, generator=generator).double()
    (mean * weight).sum().backward()
    torch.testing.assert_close(scores.grad, torch.einsum("rkp,rkpq->rq", weight, slope))


def test_ts2_net_selects_the_same_without_noise_and_with_little(features):
    score = built("ts2_net", {"sigma": 1e-7, "samples": 3})
    with torch.no_grad():
        still = score(**features)
        torch.testing.assert_close(score.train()(**features), still, atol=1e-5, rtol=0)
