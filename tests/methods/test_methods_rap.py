"""RAP's modulation and asynchronous attention recomputed in numpy, one token of one frame at a time, in float64."""

import math

import clip_by_hand as hand
import numpy as np
import pytest
import torch

from petvr import methods
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.clip.insert import ForwardState
from petvr.errors import PetvrError
from petvr.methods import asa

torch.set_num_threads(1)
TINY = ClipConfig(Tower(12, 2, 2, 24), Tower(8, 2, 2, 16), image=12, patch=4, positions=12, vocab=30, eot=29, embed=6)
T, P, W = 3, 9, 6
IDS = [28, 5, 9, 3, 29]
SITES = ["attn_in", "qkv", "attn_out", "mlp_in", "mlp_hidden", "mlp_out"]


def trained(method, setting, moved=0.3):
    """Far from initialisation; evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    model = methods.adapt(weights.random(TINY, 1), method, setting, frames=T, words=W, generator=generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * moved)
    return model


def data(frames=T):
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, frames, 3, 12, 12, generator=generator), torch.randn(5, 6, generator=generator)


def nothing(place, layer, t, s, x):
    return x


def same(layer, u, x, k, v):
    return k, v


def watch_by_hand(n, pixels, modulate=nothing, move=same):
    """One video, pixels [t, 3, H, W] -> [t, E]. modulate(place, layer, frame, token, x); move: K, V [t][1 + P]."""
    embedding = "clip.vision_model.embeddings"
    kernel, position = (n[f"{embedding}.{kind}_embedding.weight"] for kind in ("patch", "position"))
    norm = lambda name, x: hand.norm(x, n[f"{name}.weight"], n[f"{name}.bias"])  # noqa: E731
    frames = []
    for t, picture in enumerate(pixels):
        tokens = [n[f"{embedding}.class_embedding"]]
        for row in range(0, 12, 4):
            for column in range(0, 12, 4):
                patch = (kernel * picture[:, row : row + 4, column : column + 4]).sum(axis=(1, 2, 3))
                tokens.append(modulate("embedded", None, t, len(tokens) - 1, patch))
        tokens = [norm("clip.vision_model.pre_layrnorm", x + p) for x, p in zip(tokens, position, strict=True)]
        frames.append([modulate("block_in", 0, t, s, x) for s, x in enumerate(tokens)])
    for i in range(TINY.vision.layers):
        name = f"clip.vision_model.encoder.layers.{i}"
        act = lambda place, t, s, x: modulate(place, i, t, s, x)  # noqa: B023, E731
        u = [
            [act("attn_in", t, s, norm(f"{name}.layer_norm1", x)) for s, x in enumerate(f)]
            for t, f in enumerate(frames)
        ]
        joint = [
            [act("qkv", t, s, np.concatenate([hand.linear(n, f"{name}.self_attn.{p}_proj", x) for p in "qkv"]))
             for s, x in enumerate(f)] for t, f in enumerate(u)
        ]  # fmt: skip
        q, k, v = ([[x[part * 12 : part * 12 + 12] for x in f] for f in joint] for part in range(3))
        k, v = move(i, u, frames, k, v)
        for t in range(len(frames)):
            for s in range(1 + P):
                mixed = []
                for head in (slice(0, 6), slice(6, 12)):
                    weight = np.array([math.exp(q[t][s][head] @ other[head] / math.sqrt(6)) for other in k[t]])
                    mixed.append(sum(w * other[head] for w, other in zip(weight / weight.sum(), v[t], strict=True)))
                out = hand.linear(n, f"{name}.self_attn.out_proj", np.concatenate(mixed))
                x = frames[t][s] = frames[t][s] + act("attn_out", t, s, out)
                h = act("mlp_in", t, s, norm(f"{name}.layer_norm2", x))
                h = hand.quick_gelu(act("mlp_hidden", t, s, hand.linear(n, f"{name}.mlp.fc1", h)))
                frames[t][s] = x + act("mlp_out", t, s, hand.linear(n, f"{name}.mlp.fc2", h))
    last = [
        modulate("pooled", None, t, 0, norm("clip.vision_model.post_layernorm", f[0])) for t, f in enumerate(frames)
    ]
    return np.array([n["clip.visual_projection.weight"] @ x for x in last])


def check(model, modulate=nothing, move=lambda video: same, mask=None):
    """Both videos; `move(video)` gives the function that moves its keys and values."""
    pixels, texts = data()
    with torch.no_grad():
        out = model.encode_frames(pixels, mask, texts)
    n = hand.numbers(model)
    for video in range(2):
        count = T if mask is None else int(mask[video].sum())
        expected = watch_by_hand(n, pixels[video, :count].double().numpy(), modulate, move(video))
        np.testing.assert_allclose(out[video, :count].numpy(), expected, atol=2e-4, rtol=2e-4)


def named(place, layer):
    return place if layer is None else f"{layer}_{place}"


# LoRM


def by_time(n, prefix="new.lorm"):
    def modulate(place, layer, t, s, x):
        site = named(place, layer)
        if f"{prefix}.scale.rows.{site}" not in n:
            return x
        scale, shift = (
            sum(n[f"{prefix}.{kind}.rows.{site}"][t, 0, r] * n[f"{prefix}.{kind}.columns.{site}"][r] for r in range(2))
            for kind in ("scale", "shift")
        )
        return scale * x + shift

    return modulate


def test_lorm_scales_and_shifts_every_operation_by_the_frames_row():
    model = trained("lorm", {"r": 2})
    sites = {name.split("rows.")[1] for name in model.trainable() if "scale.rows" in name}
    assert sites == {"embedded", "0_block_in", "pooled"} | {f"{i}_{place}" for i in range(2) for place in SITES}
    check(model, by_time(hand.numbers(model)))


def test_lorm_in_the_last_block_leaves_the_rest_alone():
    model = trained("lorm", {"r": 2, "last": 1})
    sites = {name.split("rows.")[1] for name in model.trainable() if "scale.rows" in name}
    assert sites == {"pooled"} | {f"1_{place}" for place in SITES}
    check(model, by_time(hand.numbers(model)))


def test_lorm_with_frames_missing_takes_the_rows_of_the_frames_that_are_there():
    model = trained("lorm", {"r": 2})
    check(model, by_time(hand.numbers(model)), mask=torch.tensor([[True, True, False], [True, True, True]]))


def test_lorm_over_space_and_time_has_a_row_for_every_token():
    model = trained("lorm", {"r": 2, "axes": "space_time"})
    n = hand.numbers(model)

    def modulate(place, layer, t, s, x):
        site = named(place, layer)
        out = [
            n[f"new.lorm.{kind}.rows.{site}"][t, s] @ n[f"new.lorm.{kind}.columns.{site}"]
            for kind in ("scale", "shift")
        ]
        return out[0] * x + out[1]

    assert n["new.lorm.scale.rows.embedded"].shape == (T, P, 2) and n["new.lorm.scale.rows.pooled"].shape == (T, 1, 2)
    check(model, modulate)


def test_lorm_over_layers_too_shares_its_columns_with_all_modules():
    model = trained("lorm", {"r": 2, "axes": "space_time_layer"})
    n = hand.numbers(model)
    assert [name for name in n if "lorm.scale.columns" in name] == ["new.lorm.scale.columns.shared"]

    def modulate(place, layer, t, s, x):
        out = []
        for kind in ("scale", "shift"):
            rows, columns = n[f"new.lorm.{kind}.rows.{named(place, layer)}"], n[f"new.lorm.{kind}.columns.shared"]
            assert rows.shape[0] == {"qkv": 3, "mlp_hidden": 2}.get(place, 1)
            out.append(np.concatenate([module[t, s] @ columns for module in rows]))
        return out[0] * x + out[1]

    check(model, modulate)


def test_without_factors_every_frame_has_a_vector_of_its_own():
    model = trained("lorm", {"factorised": False})
    n = hand.numbers(model)
    assert not any("vision" in name or "columns" in name for name in model.trainable())

    def modulate(place, layer, t, s, x):
        site = named(place, layer)
        return n[f"new.lorm.scale.rows.{site}"][t, 0] * x + n[f"new.lorm.shift.rows.{site}"][t, 0]

    check(model, modulate)


@pytest.mark.parametrize(("rank", "which"), [(0, "all"), (2, "all"), (0, "eot"), (2, "eot")])
def test_texts_have_vectors_and_with_a_rank_a_term_for_every_word(rank, which):
    model = trained("lorm", {"text_rank": rank, "text_tokens": which})
    n = hand.numbers(model)

    def modulate(place, layer, s, x):
        if which == "eot" and place != "pooled" and s != len(IDS) - 1:
            return x
        site = named(place, layer)
        out = []
        for kind in ("scale", "shift"):
            vector = n[f"new.lorm.text.{kind}.{site}"]
            if rank and place != "pooled":
                rows, columns = (n[f"new.lorm.words.{part}.{kind}_{site}"] for part in ("rows", "columns"))
                vector = vector + rows[s] @ columns
            out.append(vector)
        return out[0] * x + out[1]

    words, position = (n[f"clip.text_model.embeddings.{kind}_embedding.weight"] for kind in ("token", "position"))
    norm = lambda name, x: hand.norm(x, n[f"{name}.weight"], n[f"{name}.bias"])  # noqa: E731
    tokens = [words[number] + position[s] for s, number in enumerate(IDS)]
    for i in range(2):
        name = f"clip.text_model.encoder.layers.{i}"
        h = [modulate("attn_in", i, s, norm(f"{name}.layer_norm1", x)) for s, x in enumerate(tokens)]
        joint = [np.concatenate([hand.linear(n, f"{name}.self_attn.{p}_proj", x) for p in "qkv"]) for x in h]
        joint = [modulate("qkv", i, s, x) for s, x in enumerate(joint)]
        for s in range(len(tokens)):
            mixed = []
            for head in range(2):
                at = lambda part, t: joint[t][part * 8 + head * 4 : part * 8 + head * 4 + 4]  # noqa: B023, E731
                weight = np.array([math.exp(at(0, s) @ at(1, t) / 2) for t in range(s + 1)])
                mixed.append(sum(w * at(2, t) for t, w in enumerate(weight / weight.sum())))
            out = hand.linear(n, f"{name}.self_attn.out_proj", np.concatenate(mixed))
            x = tokens[s] + modulate("attn_out", i, s, out)
            hidden = modulate("mlp_in", i, s, norm(f"{name}.layer_norm2", x))
            hidden = hand.quick_gelu(modulate("mlp_hidden", i, s, hand.linear(n, f"{name}.mlp.fc1", hidden)))
            tokens[s] = x + modulate("mlp_out", i, s, hand.linear(n, f"{name}.mlp.fc2", hidden))
    last = modulate("pooled", None, 0, norm("clip.text_model.final_layer_norm", tokens[-1]))
    with torch.no_grad():
        out = model.encode_texts(torch.tensor([IDS]))[0]
    np.testing.assert_allclose(out.numpy(), n["clip.text_projection.weight"] @ last, atol=1e-4, rtol=1e-4)


def test_words_pass_the_last_text_site_where_asked():
    """X-CLIP's words: EOT's is then the sentence itself, which it is not without."""
    ids, models = (
        torch.tensor([IDS]),
        {words: trained("lorm", {"word_states": words}) for words in ("plain", "modulated")},
    )
    with torch.no_grad():
        sentence, plain, _ = models["plain"].encode_all_words(ids)
        same, modulated, _ = models["modulated"].encode_all_words(ids)
    assert torch.equal(sentence, same)
    torch.testing.assert_close(modulated[:, -1], sentence)
    assert not torch.allclose(plain[:, -1], sentence, atol=1e-3)
    with pytest.raises(PetvrError, match="word_states=modulated with text_tokens=all alone"):
        trained("lorm", {"word_states": "modulated", "text_tokens": "eot"})


def test_lorm_starts_as_ssf_does_apart_from_a_trace_of_time():
    generator = torch.Generator().manual_seed(0)
    model = methods.adapt(weights.random(TINY, 1), "lorm", {}, frames=T, words=W, generator=generator)
    n = hand.numbers(model)
    for kind, middle in (("scale", 1), ("shift", 0)):
        rows, columns = (n[f"new.lorm.{kind}.{part}.0_mlp_hidden"] for part in ("rows", "columns"))
        table = rows[:, 0] @ columns
        assert abs(table.mean() - middle) < 0.02 and 0.01 < (table - middle).std() < 0.03
        assert 0 < np.abs(table - table.mean(axis=0)).max() < 0.004


# ASA


def chosen_by_hand(n, texts, setting, u, x):
    """[t][K] patches of one video from what its attention reads (u) and its stream (x)."""
    after = "clip.vision_model.post_layernorm"
    read = lambda a: hand.norm(a, n[f"{after}.weight"], n[f"{after}.bias"])  # noqa: E731
    seen = u if setting.get("proj") == "plain" else [[read(token) for token in frame] for frame in x]
    project = n["clip.visual_projection.weight"]
    mean = sum(project @ frame[0] for frame in seen) / len(seen)
    sentence = max(texts, key=lambda w: mean @ w / np.linalg.norm(w))
    select = setting.get("select", "text_top")
    found = []
    for frame in seen:
        likeness = [
            token @ frame[0] if select.startswith("vision") else (project @ token) @ sentence for token in frame[1:]
        ]
        order = sorted(range(P), key=lambda p: likeness[p], reverse=select.endswith("top"))
        found.append(list(range(P)) if select == "none" else order[: setting.get("k", 3)])
    return found


def moving(n, texts, setting, prefix="new.asa", first=0):
    """The mover of one video's keys and values, reading between grid points by linear interpolation."""
    axes = {"both": "ts", "time": "t", "space": "s"}[setting.get("warp", "both")]

    def offset(layer, t, p, u):
        if setting.get("offsets") == "equation":
            values = {"t": n.get(f"{prefix}.shared.time"), "s": n.get(f"{prefix}.shared.space")}
            return [values["t"][t] if "t" in axes else 0.0, values["s"][p] if "s" in axes else 0.0]
        name = f"{prefix}.predictors.{layer - first}"
        out = iter(hand.linear(n, f"{name}.up", np.maximum(hand.linear(n, f"{name}.down", u), 0)))
        return [next(out) if axis in axes else 0.0 for axis in "ts"]

    def read(part, t, p):
        t, p = min(max(t, 0), len(part) - 1), min(max(p, 0), P - 1)
        total = 0
        for at in (math.floor(t), math.floor(t) + 1):
            for on in (math.floor(p), math.floor(p) + 1):
                weight = max(0, 1 - abs(t - at)) * max(0, 1 - abs(p - on))
                if weight:
                    total = total + weight * part[at][1 + on]
        return total

    def move(layer, u, x, k, v):
        if layer < first:
            return k, v
        new_k, new_v = [list(f) for f in k], [list(f) for f in v]
        for t, patches in enumerate(chosen_by_hand(n, texts, setting, u, x)):
            for p in patches:
                dt, dp = offset(layer, t, p, u[t][1 + p])
                new_k[t][1 + p], new_v[t][1 + p] = read(k, t + dt, p + dp), read(v, t + dt, p + dp)
        return new_k, new_v

    return move


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"k": 1, "proj": "plain"},
        {"select": "text_bottom"},
        {"select": "vision_top"},
        {"select": "vision_bottom", "proj": "plain"},
        {"select": "none"},
        {"warp": "time"},
        {"warp": "space"},
        {"offsets": "equation"},
        {"offsets": "equation", "warp": "time", "select": "none"},
        {"offsets": "equation", "warp": "space", "select": "none"},
        {"last": 1},
    ],
    ids=str,
)
def test_asa_moves_keys_and_values_of_the_chosen_patches(setting):
    model = trained("asa", {"hidden": 5, **setting}, moved=0.7)
    n, texts = hand.numbers(model), data()[1].double().numpy()
    check(model, move=lambda video: moving(n, texts, setting, first=2 - setting.get("last", 2)))
    if setting == {}:
        with pytest.raises(AssertionError):  # and the hand-made one would notice if nothing moved
            check(model)


def test_asa_moves_only_among_the_frames_that_are_there():
    setting = {"offsets": "equation", "select": "none"}
    model = trained("asa", setting, moved=1.5)
    n, texts = hand.numbers(model), data()[1].double().numpy()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    check(model, move=lambda video: moving(n, texts, setting), mask=mask)


def test_rap_modulates_before_it_moves():
    model = trained("rap", {"r": 2, "hidden": 5})
    n, texts = hand.numbers(model), data()[1].double().numpy()
    check(model, by_time(n, "new.rap.lorm"), lambda video: moving(n, texts, {}, "new.rap.asa"))


def test_asa_without_offsets_is_attention_as_it_was():
    pixels, texts = data()
    generator = torch.Generator().manual_seed(0)
    clip = weights.random(TINY, 1)
    with torch.no_grad():
        before = clip.encode_frames(pixels)
        for setting in ({}, {"offsets": "equation", "select": "none"}, {"select": "random"}):
            model = methods.adapt(weights.random(TINY, 1), "asa", setting, frames=T, words=W, generator=generator)
            assert torch.equal(model.encode_frames(pixels, None, texts), before)


def test_offsets_learn_in_both_directions_also_at_the_ends_of_a_video():
    """From their start at zero every frame's and every patch's offset has a gradient."""
    setting = {"offsets": "equation", "select": "none"}
    model = methods.adapt(weights.random(TINY, 1), "asa", setting, frames=T, words=W, generator=torch.Generator())
    pixels, texts = data()
    model.encode_frames(pixels, None, texts).square().sum().backward()
    for axis, size in (("time", T), ("space", P)):
        grad = model.trainable()[f"new.asa.shared.{axis}"].grad
        assert grad.shape == (size,) and bool((grad != 0).all())


def test_the_pool_of_sentences_decides_which_patches_move():
    """A video's feature depends on the candidates: on which is nearest, not on their order, length or copies."""
    model = trained("asa", {"hidden": 5, "last": 1}, moved=0.7)  # one block: one choice
    pixels, texts = data()
    with torch.no_grad():
        plain = model.encode_frames(pixels, None, texts)
        again = model.encode_frames(pixels, None, torch.cat([texts, texts]).flip(0) * 3)
        torch.testing.assert_close(again, plain)
        fewer = [model.encode_frames(pixels, None, texts[i : i + 1]) for i in range(5)]
    for video in range(2):
        assert 1 <= sum(torch.allclose(each[video], plain[video], atol=1e-6) for each in fewer) < 5
    with pytest.raises(PetvrError, match="needs the candidate sentences"):
        model.encode_frames(pixels)
    for select in ("vision_top", "random", "none"):
        free = trained("asa", {"hidden": 5, "select": select})
        assert free.needs_texts == "" and model.needs_texts == "gallery"
        with torch.no_grad():
            assert torch.equal(free.encode_frames(pixels), free.encode_frames(pixels, None, texts))


def test_random_patches_are_new_in_training_and_fixed_in_evaluation():
    model = trained("asa", {"select": "random", "hidden": 5}, moved=0.7)
    pixels, _ = data()
    with torch.no_grad():
        still = [model.encode_frames(pixels) for _ in range(2)]
        torch.manual_seed(0)
        moving = [model.train().encode_frames(pixels) for _ in range(2)]
        torch.manual_seed(0)
        repeated = model.encode_frames(pixels)
    assert torch.equal(*still) and not torch.equal(*moving) and torch.equal(repeated, moving[0])


def test_rap_takes_the_settings_of_both_halves():
    halves = methods.defaults("lorm") | methods.defaults("asa")
    assert methods.defaults("rap") == halves
    assert methods.declared("rap").settings == methods.declared("lorm").settings | methods.declared("asa").settings


@pytest.mark.parametrize(
    ("method", "setting", "message"),
    [
        ("lorm", {"r": 0}, "'r': 0 given, allowed: 1 or more"),
        ("lorm", {"last": 3}, "'last': 3 given, allowed: 0 to 2"),
        ("lorm", {"factorised": False, "axes": "space_time"}, "factorised=false with axes=time alone"),
        ("asa", {"k": 0}, "'k': 0 given, allowed: 1 to 9"),
        ("asa", {"k": 10}, "'k': 10 given, allowed: 1 to 9"),
        ("asa", {"hidden": 0}, "'hidden': 0 given, allowed: 1 or more"),
        ("rap", {"last": 3}, "'last': 3 given, allowed: 0 to 2"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_what_is_allowed(method, setting, message):
    with pytest.raises(PetvrError, match=message):
        methods.adapt(weights.random(TINY), method, setting, frames=2, words=6, generator=torch.Generator())


@pytest.mark.parametrize("method", ["lorm", "asa"])
def test_more_frames_than_it_was_made_for_are_refused(method):
    model = trained(method, {})
    with pytest.raises(PetvrError, match=r"4 frames; .* up to 3 of them"):
        model.encode_frames(data(4)[0], None, data()[1])


@pytest.mark.parametrize("setting", [{}, {"axes": "space_time"}, {"text_rank": 2}, {"select": "none"}], ids=str)
def test_in_bf16_the_features_are_those_of_fp32_up_to_its_rounding(setting):
    model = trained("rap", {"hidden": 5, **setting}, moved=0.05)
    pixels, texts = data()
    for encode in (lambda: model.encode_frames(pixels, None, texts), lambda: model.encode_texts(torch.tensor([IDS]))):
        exact = encode()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = encode()
        rounded.float().square().sum().backward()
        assert (rounded.float() - exact).norm() < 0.05 * exact.norm()
    assert all(parameter.grad.isfinite().all() for parameter in model.trainable().values())


def test_the_gradient_of_moved_patches_is_that_of_small_differences():
    draw = torch.Generator().manual_seed(0)
    state = ForwardState("vision", None, videos=2, frames=3, frame=torch.arange(3).repeat(2))
    chosen = torch.tensor([[0, 3], [1, 2], [3, 0], [2, 1], [0, 1], [2, 3]])
    given = [torch.randn(6, 5, 2, generator=draw), *(torch.rand(6, 2, generator=draw) * 1.4 - 0.7 for _ in "ts")]
    given = [tensor.double().requires_grad_() for tensor in given]

    def moved(x, time, space):
        return asa.warp(x, state, chosen, {"time": time, "space": space})

    assert torch.autograd.gradcheck(moved, given)
    assert not torch.equal(moved(*given), given[0])
