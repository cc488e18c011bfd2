"""MV-Adapter against its formulas in numpy, and what its tables' settings switch on and off."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clip_by_hand import linear, norm, quick_gelu
from places_by_hand import FRAMES, IDS, attend, check, rows, sums, trained

from petvr import methods
from petvr.errors import PetvrError

torch.set_num_threads(1)
SMALL = {"width": 4, "cmt_dim": 3, "cmt_layers": 2, "sigma": 2}
FACTORS = {"new.mv_adapter.factors.0", "new.mv_adapter.factors.1"}


def mix(n, name, tokens, causal):
    """The lightweight transformer over tokens [S, d'] that have their positions already."""
    layer = lambda which, x: np.stack(  # noqa: E731
        [norm(v, n[f"{name}.{which}.weight"], n[f"{name}.{which}.bias"]) for v in x]
    )
    x = layer("norm", tokens)
    q, k, v = np.split(rows(n, f"{name}.qkv", [layer("norm1", x)])[0], 3, axis=1)
    x = x + rows(n, f"{name}.out", [attend(q, k, v, 2, causal)])[0]
    hidden = quick_gelu(rows(n, f"{name}.fc1", [layer("norm2", x)])[0])
    return quick_gelu(x + rows(n, f"{name}.fc2", [hidden])[0])


def projections(n, name, i, setting):
    """W_down [d', D], W_up [D, d'] and W_up for CLS; CMT is in the last of two blocks or in both."""
    down, up = n[f"{name}.down.weight"], n[f"{name}.up.weight"]
    cmt, first = setting.get("cmt", "down_in"), 2 - setting.get("cmt_layers", 2)
    if cmt == "none" or i < first:
        return down, up, up
    beta = n[f"{name}.tie.project.weight"] @ n[f"new.mv_adapter.factors.{i - first}"]
    beta = beta + n.get(f"{name}.tie.project.bias", 0)
    by_row = np.diag(beta) @ (down if cmt == "down_out" else up) if cmt.endswith("out") else None
    by_column = (down if cmt == "down_in" else up) @ np.diag(beta) if cmt.endswith("in") else None
    scaled = by_row if by_column is None else by_column
    return (scaled, up, up) if cmt.startswith("down") else (down, up, scaled)


def activate(z, setting):
    return z if setting.get("activation") == "none" else quick_gelu(z)


def video_branch(n, i, frames, setting):
    name = f"new.mv_adapter.branches.vision.{i}"
    down, up, cls_up = projections(n, name, i, setting)
    z = [activate(frame @ down.T + n[f"{name}.down.bias"], setting) for frame in frames]
    leaders = [frame[0] for frame in z]
    ta = setting.get("ta", "full")
    if ta != "none":
        count, positions = len(frames), n[f"{name}.trm.positions"]
        sequence = [n[f"{name}.cc"] + positions[0]]
        sequence += [z[f][0] + positions[1 + f] for f in range(count)]
        sequence += [z[f][1:].mean(axis=0) + positions[1 + FRAMES + f] for f in range(count)]
        out = mix(n, f"{name}.trm", np.stack(sequence), causal=False)
        cc, leaders, patches = out[0], out[1 : 1 + count], out[1 + count :]
        if ta == "full":
            released = setting.get("calibration", "released") == "released"
            for_video = linear(n, f"{name}.calibration.video", cc) if released else cc
            alphas = []
            for cls, patch in zip(leaders, patches, strict=True):
                hidden = linear(n, f"{name}.calibration.fc1", np.concatenate([cls + patch, for_video]))
                alphas.append(n[f"{name}.calibration.fc2.weight"] @ np.maximum(hidden, 0) + (1 if released else 0))
            leaders = [alpha * cls for alpha, cls in zip(alphas, leaders, strict=True)]
    bias = n[f"{name}.up.bias"]
    return [
        0.1 * np.stack([cls_up @ cls + bias, *(up @ patch + bias for patch in frame[1:])])
        for cls, frame in zip(leaders, z, strict=True)
    ]


def text_branch(n, i, words, setting):
    name = f"new.mv_adapter.branches.text.{i}"
    down, _, up = projections(n, name, i, setting)
    z = words @ down.T + n[f"{name}.down.bias"]
    if setting.get("text_block", True):
        z = mix(n, f"{name}.trm", z + n[f"{name}.trm.positions"][: len(z)], causal=True)
    else:
        z = activate(z, setting)
    return 0.1 * (z @ up.T + n[f"{name}.up.bias"])


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"cmt_layers": 1},
        {"cmt": "down_out"},
        {"cmt": "up_in"},
        {"cmt": "up_out"},
        {"cmt": "none"},
        {"cmt": "none", "ta": "trm"},
        {"cmt": "none", "ta": "none"},
        {"ta": "none", "text_block": False},
        {"branch": "video", "cmt": "none"},
        {"branch": "text"},
        {"calibration": "formula", "cmt_bias": False},
        {"activation": "none"},
        {"activation": "none", "ta": "none", "text_block": False},
    ],
    ids=str,
)
def test_both_branches_add_what_the_formulas_say(setting):
    """Three frames of four that it was made for, the last of them masked: two count."""
    branch = setting.get("branch", "both")

    def changes(n, tower):
        def act(i, frames, read, stream):
            if tower == "vision":
                return sums(frames, video_branch(n, i, frames, setting))
            return [frames[0] + text_branch(n, i, frames[0], setting)]

        return {"mlp_out": act} if branch in ("both", "video" if tower == "vision" else "text") else {}

    check(trained("mv_adapter", {**SMALL, **setting}), changes)


def test_the_norm_before_the_down_projection_is_the_adapters_own():
    def changes(n, tower):
        def act(i, frames, read, stream):
            name = f"new.mv_adapter.branches.{tower}.{i}.norm_in"
            normed = [np.stack([norm(x, n[f"{name}.weight"], n[f"{name}.bias"]) for x in frame]) for frame in frames]
            if tower == "vision":
                return sums(frames, video_branch(n, i, normed, {}))
            return [frames[0] + text_branch(n, i, normed[0], {})]

        return {"mlp_out": act}

    check(trained("mv_adapter", {**SMALL, "norm_in": True}), changes)


def test_frames_look_at_each_other_only_with_temporal_adaptation():
    pixels = torch.randn(1, 3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    changed = pixels.clone()
    changed[0, 2] += 1
    for ta, expected in (("full", True), ("trm", True), ("none", False)):
        model = trained("mv_adapter", {**SMALL, "ta": ta})
        with torch.no_grad():
            first = model.encode_frames(pixels)[0, 0], model.encode_frames(changed)[0, 0]
        assert (not torch.equal(*first)) == expected
        assert model.inserts.temporal == expected


def test_a_step_on_texts_alone_moves_frames_through_the_shared_factor_alone():
    for cmt, tied in (("down_in", True), ("none", False)):
        model = trained("mv_adapter", {**SMALL, "cmt": cmt, "biases": False})
        model.encode_texts(torch.tensor([IDS])).square().sum().backward()
        touched = {name for name, parameter in model.trainable().items() if parameter.grad is not None}
        assert {name for name in touched if ".text." not in name} == (FACTORS if tied else set())


def test_a_factor_stands_in_each_of_the_last_blocks_and_starts_as_released():
    model = methods.adapt(
        trained("zero_shot", {}).clip,
        "mv_adapter",
        {"cmt_layers": 2},
        frames=FRAMES,
        words=7,
        generator=torch.Generator(),
    )
    factors = [part for name, part in model.trainable().items() if ".factors." in name]
    assert [tuple(part.shape) for part in factors] == [(32,), (32,)] and not any(part.any() for part in factors)
    tie = model.new["mv_adapter"].branches["vision"][1].tie
    torch.testing.assert_close(tie(torch.ones(5, 16), factors[1]), tie.project.bias.expand(5, 16))
    assert tie.project.bias.abs().max() <= 32**-0.5


def test_without_its_bias_a_tie_starts_near_one():
    model = trained("mv_adapter", {"cmt_bias": False}, moved=0.0)
    block = model.new["mv_adapter"].branches["text"][1]
    beta = block.tie.project(model.new["mv_adapter"].factors[1])
    assert (beta - 1).abs().max() < 0.05


def test_every_bias_of_clip_trains_in_the_slow_group_and_nothing_else_of_it():
    model = trained("mv_adapter", SMALL)
    clip = {name[5:] for name in model.trainable() if model.part(name) == "clip"}
    assert clip == {name for name, _ in model.clip.named_parameters() if name.endswith(".bias")}
    assert not any(model.part(name) == "clip" for name in trained("mv_adapter", {**SMALL, "biases": False}).trainable())


def test_prompts_of_another_method_take_no_position_and_no_part_in_the_mean():
    model = trained("vop+mv_adapter", {"tokens": 2, "width": 4, "cmt": "none"})
    branches, seen = model.new["mv_adapter"].branches, {}
    for tower in branches:
        save = lambda module, given, tower=tower: seen.update({tower: given})  # noqa: E731
        branches[tower][0].trm.register_forward_pre_hook(save)
    with torch.no_grad():
        model.encode_texts(torch.tensor([IDS]))
        own = branches["text"][0].trm.positions
        torch.testing.assert_close(seen["text"][1], torch.cat([own[:1], torch.zeros(2, 4), own[1:5]]))
        x = torch.randn(3, 1 + 2 + 9, 16)
        state = SimpleNamespace(videos=1, frames=3, joined=False, num_leading_tokens=3, mask=None)
        out = []
        for noise in (0, 1):
            x[:, 1:3] += noise
            out.append(branches["vision"][0](x, None, state))
            out.append(seen["vision"][0])
    torch.testing.assert_close(out[1], out[3])
    torch.testing.assert_close(out[0][:, [0, *range(3, 12)]], out[2][:, [0, *range(3, 12)]])


def test_frames_joined_into_one_sequence_give_what_they_give_apart():
    """[B, F CLS, F * P patches], as VoP^F makes it, is the same tokens in another order."""
    block = trained("mv_adapter", {"width": 4, "cmt": "up_out", "cmt_layers": 1}).new["mv_adapter"]
    video, factor = block.branches["vision"][1], block.factors[0]
    mask = torch.tensor([[True, True, True], [True, True, False]])
    apart = SimpleNamespace(videos=2, frames=3, joined=False, num_leading_tokens=1, mask=mask)
    joined = SimpleNamespace(videos=2, frames=3, joined=True, num_leading_tokens=3, mask=mask)

    def join(x):
        x = x.unflatten(0, (2, 3))
        return torch.cat([x[:, :, 0], x[:, :, 1:].flatten(1, 2)], dim=1)

    x = torch.randn(6, 1 + 9, 16)
    with torch.no_grad():
        torch.testing.assert_close(video(join(x), factor, joined), join(video(x, factor, apart)))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"cmt_layers": 0}, "'cmt_layers': 0 given, allowed: 1 to 2$"),
        ({"cmt_layers": 3}, "'cmt_layers': 3 given, allowed: 1 to 2$"),
        ({"cmt_dim": 0}, "'cmt_dim': 0 given, allowed: 1 or more"),
        ({"width": 5}, "'width': 5 given, allowed: 2 or more, a multiple of 2"),
        ({"sigma": 0}, "'sigma': 0 given, allowed: 1 or more"),
        ({"cmt": "down"}, "allowed: "),
    ],
)
def test_settings_that_do_not_fit_are_refused(setting, message):
    with pytest.raises(PetvrError, match=message):
        trained("mv_adapter", setting)


def test_more_frames_or_words_than_it_was_made_for_are_refused():
    model = trained("mv_adapter", SMALL)
    with pytest.raises(PetvrError, match="5 frames: method 'mv_adapter' was made for at most 4"):
        model.encode_frames(torch.zeros(1, 5, 3, 12, 12))
    with pytest.raises(PetvrError, match="text of 8 tokens: method 'mv_adapter' was made for 7"):
        model.encode_texts(torch.tensor([[28, *[3] * 6, 29]]))
