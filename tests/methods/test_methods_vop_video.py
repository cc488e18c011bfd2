"""VoP^P, VoP^C, VoP^F and their compositions recomputed in numpy, one frame, token and LSTM step at a time."""

import clip_by_hand as hand
import numpy as np
import pytest
import torch

from petvr import methods
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.errors import PetvrError

torch.set_num_threads(1)
TINY = ClipConfig(Tower(16, 4, 2, 32), Tower(12, 2, 3, 24), image=8, patch=4, positions=16, vocab=30, eot=29, embed=6)
IDS = [28, 5, 9, 3, 29]
FRAMES = 3


def adapted(method, setting, frames=FRAMES):
    generator = torch.Generator().manual_seed(0)
    model = methods.adapt(weights.random(TINY, 1), method, setting, frames=frames, words=6, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def video(count=FRAMES):
    return torch.randn(1, FRAMES, 3, 8, 8, generator=torch.Generator().manual_seed(4))[:, :count]


def by_hand(n, prompts_of, count=FRAMES, joined_from=None):
    """`prompts_of`(i, CLS of all frames) -> one list of prompts per frame; from `joined_from` on one sequence."""
    frames = [hand.embed(n, TINY, frame.double().numpy()) for frame in video(count)[0]]
    for i in range(TINY.vision.layers if joined_from is None else joined_from):
        fresh = prompts_of(i, [tokens[0] for tokens in frames])
        frames = [[tokens[0], *own, *tokens[1:]] for tokens, own in zip(frames, fresh, strict=True)]
        if i == 0:
            frames = [[hand.pre(n, x) for x in tokens] for tokens in frames]
        frames = [hand.block(n, "vision", i, tokens, TINY.vision.heads) for tokens in frames]
        frames = [[tokens[0], *tokens[1 + len(own) :]] for tokens, own in zip(frames, fresh, strict=True)]
    if joined_from is None:
        return [hand.read_frame(n, tokens[0]) for tokens in frames]
    if joined_from == 0:
        frames = [[hand.pre(n, x) for x in tokens] for tokens in frames]
    place = n["new.vop_f.video.frame_positions"]
    frames = [[x + place[f] for x in tokens] for f, tokens in enumerate(frames)]
    cls, patches = [tokens[0] for tokens in frames], [x for tokens in frames for x in tokens[1:]]
    for number, own in enumerate(n["new.vop_f.video.prompts"]):
        out = hand.block(n, "vision", joined_from + number, [*cls, *own, *patches], TINY.vision.heads)
        cls, patches = out[:count], out[count + len(own) :]
    return [hand.read_frame(n, x) for x in cls]


def compare(model, expected, text, count=FRAMES):
    """The real frames alone, and the same ones with padded frames behind them."""
    mask = torch.arange(FRAMES)[None] < count
    padded = torch.where(mask[..., None, None, None], video(), torch.tensor(50.0))
    with torch.no_grad():
        np.testing.assert_allclose(model.encode_frames(video(count))[0], expected, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(model.encode_frames(padded, mask)[0, :count], expected, atol=1e-4, rtol=1e-4)
        features = model.encode_texts(torch.tensor([IDS]))[0]
    n = hand.numbers(model)
    np.testing.assert_allclose(features, hand.text(n, TINY, IDS, n[text]), atol=1e-4, rtol=1e-4)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(n, name, inputs):
    """Hidden states of one direction; torch keeps the gates in the order input, forget, cell, output."""
    w_in, w_hidden, b_in, b_hidden = (n[name.format(kind)] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = c = np.zeros(w_hidden.shape[1])
    states = []
    for x in inputs:
        i, f, g, o = np.split(w_in @ x + b_in + w_hidden @ h + b_hidden, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return states


def position_specific(n, i, cls):
    generic = list(n["new.vop_p.vision"][i]) if "new.vop_p.vision" in n else []
    return [[*generic, *n["new.vop_p.table"][i][f]] for f in range(len(cls))]


def context_specific(n, i, cls):
    name = "new.vop_c.context"
    ahead = lstm(n, f"{name}.lstm.{{}}_l0", cls)
    back = lstm(n, f"{name}.lstm.{{}}_l0_reverse", cls[::-1])[::-1]
    made = [hand.linear(n, f"{name}.fc", np.concatenate(pair)) for pair in zip(ahead, back, strict=True)]
    generic = list(n["new.vop_c.vision"][i]) if "new.vop_c.vision" in n else []
    return [[*generic, *own.reshape(-1, TINY.vision.width)] for own in made]


@pytest.mark.parametrize("count", [3, 2])
@pytest.mark.parametrize("specific", [1, 3])
def test_vop_p_reads_prompts_by_the_place_of_the_frame(specific, count):
    model = adapted("vop_p", {"tokens": 3, "specific": specific})
    n = hand.numbers(model)
    assert n["new.vop_p.table"].shape == (4, FRAMES, specific, 16)
    compare(model, by_hand(n, lambda i, cls: position_specific(n, i, cls), count), "new.vop_p.text", count)


@pytest.mark.parametrize("count", [3, 2])
@pytest.mark.parametrize("specific", [2, 3])
def test_vop_c_generates_prompts_from_the_cls_of_all_frames(specific, count):
    model = adapted("vop_c", {"tokens": 3, "specific": specific})
    n = hand.numbers(model)
    compare(model, by_hand(n, lambda i, cls: context_specific(n, i, cls), count), "new.vop_c.text", count)


def test_vop_c_lets_a_frame_see_what_comes_before_and_after_it():
    model = adapted("vop_c", {"tokens": 3, "specific": 2})
    for changed, other in ((0, 2), (2, 0)):
        moved = video().clone()
        moved[0, changed] += 1
        with torch.no_grad():
            assert (model.encode_frames(moved) - model.encode_frames(video()))[0, other].abs().max() > 1e-4


@pytest.mark.parametrize("count", [3, 2])
@pytest.mark.parametrize("shallow", [0, 1, 3])
def test_vop_f_reads_all_frames_as_one_sequence_in_the_deeper_blocks(shallow, count):
    model = adapted("vop_f", {"tokens": 2, "shallow": shallow})
    n = hand.numbers(model)
    assert n["new.vop_f.video.prompts"].shape == (4 - shallow, 2, 16)
    expected = by_hand(n, lambda i, cls: [n["new.vop_f.frame.vision"][i]] * len(cls), count, joined_from=shallow)
    compare(model, expected, "new.vop_f.frame.text", count)


def test_vop_f_with_all_blocks_shallow_is_vop():
    both = [adapted("vop", {"tokens": 2}), adapted("vop_f", {"tokens": 2, "shallow": 4})]
    assert sorted(p.shape for p in both[0].new.parameters()) == sorted(p.shape for p in both[1].new.parameters())
    with torch.no_grad():
        for mine, vops in zip(both[1].parameters(), both[0].parameters(), strict=True):
            mine.copy_(vops)
        assert torch.equal(both[0].encode_frames(video()), both[1].encode_frames(video()))


@pytest.mark.parametrize("count", [3, 2])
@pytest.mark.parametrize("method", ["vop_f+vop_p", "vop_p+vop_f"])
def test_position_prompts_below_and_video_prompts_above(method, count):
    model = adapted(method, {"tokens": 3, "specific": 2, "shallow": 2})
    n = hand.numbers(model)
    assert n["new.vop_p.vision"].shape == (2, 1, 16) and n["new.vop_p.table"].shape == (2, FRAMES, 2, 16)
    assert n["new.vop_f.video.prompts"].shape == (2, 3, 16) and "new.vop_f.frame.text" not in n
    expected = by_hand(n, lambda i, cls: position_specific(n, i, cls), count, joined_from=2)
    compare(model, expected, "new.vop_p.text", count)


@pytest.mark.parametrize("count", [3, 2])
def test_context_prompts_below_and_video_prompts_above(count):
    model = adapted("vop_f+vop_c", {"tokens": 3, "specific": 2, "shallow": 3})
    n = hand.numbers(model)
    expected = by_hand(n, lambda i, cls: context_specific(n, i, cls), count, joined_from=3)
    compare(model, expected, "new.vop_c.text", count)


def test_prompts_of_another_method_go_along_when_frames_are_joined():
    """VPT-shallow beside VoP^F: every frame's tokens stay in the joined sequence, behind the video prompts."""
    model = adapted("vpt+vop_f", {"tokens": 2, "depth": "shallow", "shallow": 2})
    n = hand.numbers(model)
    frames = []
    for frame in video()[0]:
        tokens = hand.embed(n, TINY, frame.double().numpy())
        tokens = [
            hand.pre(n, x) for x in [tokens[0], *n["new.vop_f.frame.vision"][0], *n["new.vpt.vision"][0], *tokens[1:]]
        ]
        tokens = hand.block(n, "vision", 0, tokens, 2)
        tokens[1:3] = list(n["new.vop_f.frame.vision"][1])
        tokens = hand.block(n, "vision", 1, tokens, 2)
        frames.append([x + n["new.vop_f.video.frame_positions"][len(frames)] for x in tokens])
    cls, rest = [t[0] for t in frames], [x for part in (slice(3, 5), slice(5, None)) for t in frames for x in t[part]]
    for i in (2, 3):
        out = hand.block(n, "vision", i, [*cls, *n["new.vop_f.video.prompts"][i - 2], *rest], 2)
        cls, rest = out[:3], out[5:]
    with torch.no_grad():
        features = model.encode_frames(video())[0]
    np.testing.assert_allclose(features, [hand.read_frame(n, x) for x in cls], atol=1e-4, rtol=1e-4)


def test_the_released_read_out_is_the_same_text_side_in_the_whole_family():
    vop = adapted("vop", {"tokens": 4, "readout": "released"})
    ids = torch.tensor([[28, 5, 9, 3, 29], [28, 7, 29, 0, 0]])
    for method in ("vop_p", "vop_c", "vop_f", "vop_f+vop_p", "vop_f+vop_c"):
        setting = {"tokens": 4, "readout": "released"} | ({"shallow": 2} if "vop_f" in method else {})
        model = adapted(method, setting)
        text = next(p for name, p in model.trainable().items() if name.endswith(".text"))
        with torch.no_grad():
            for mine, vops in zip(model.clip.parameters(), vop.clip.parameters(), strict=True):
                mine.copy_(vops)
            text.copy_(vop.trainable()["new.vop.text"])
            assert torch.equal(model.encode_texts(ids), vop.encode_texts(ids))


@pytest.mark.parametrize(
    ("method", "setting", "message"),
    [
        ("vop_f", {"shallow": 5}, "'shallow': 5 given, allowed: 0 to 4"),
        ("vop_p", {"tokens": 4, "specific": 5}, "'vop_p': setting 'specific': 5 given, allowed: 1 to tokens=4"),
        ("vop_c", {"specific": 0}, "'vop_c': setting 'specific': 0 given, allowed: 1 to tokens"),
        ("vop_f", {"tokens": 15}, "'vop_f': setting 'tokens': 15 given, allowed: 1 to 14"),
        ("vop_p+vop_c", {}, "vop_c and vop_p exclude each other; allowed: vop_f with vop_p, vop_f with vop_c"),
        ("vop+vop_f", {"shallow": 2}, "vop and vop_f exclude each other"),
        ("vop_f+vop_p+vop_c", {"shallow": 2}, "exclude each other"),
        ("vop_c", {"tokens": 5, "readout": "released"}, "even"),
    ],
)
def test_settings_and_compositions_that_do_not_fit_are_refused(method, setting, message):
    with pytest.raises(PetvrError, match=message):
        methods.adapt(weights.random(TINY), method, setting, frames=2, words=6, generator=torch.Generator())


@pytest.mark.parametrize("method", ["vop_p", "vop_f"])
def test_more_frames_than_the_model_was_made_for_are_refused(method):
    model = adapted(method, {"shallow": 2} if method == "vop_f" else {}, frames=2)
    with pytest.raises(PetvrError, match=f"'{method}': a video of 3 frames, made for 2"):
        model.encode_frames(video())


@pytest.mark.parametrize("method", ["vop_p", "vop_c", "vop_f", "vop_f+vop_c"])
def test_a_video_without_any_frame_gives_zeros_and_harms_no_gradient(method):
    model = adapted(method, {"shallow": 2} if "vop_f" in method else {})
    pixels, mask = video().expand(2, -1, -1, -1, -1), torch.tensor([[True] * 3, [False] * 3])
    features = model.encode_frames(pixels, mask)
    assert not features[1].any()
    torch.testing.assert_close(features[:1], model.encode_frames(pixels[:1], mask[:1]), atol=1e-5, rtol=0)
    features.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.trainable().values() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["vop_c", "vop_f", "vop_f+vop_c"])
def test_the_video_variants_run_and_train_under_autocast(method, dtype):
    model = adapted(method, {"shallow": 2} if "vop_f" in method else {})
    mask = torch.tensor([[True, True, False]])
    for given in (None, mask):
        with torch.autocast("cpu", dtype):
            features = model.encode_frames(video(), given)
        features.float().square().sum().backward()
    for name, parameter in model.trainable().items():
        if not name.endswith(".text"):
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name
