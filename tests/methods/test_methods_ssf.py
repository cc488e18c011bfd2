"""SSF: merged by hand into CLIP's weights [Lian et al. 2022, equation 5] it must give the same features."""

import pytest
import torch
from clip_by_hand import numbers
from places_by_hand import TINY, check, trained

from petvr.clip.insert import HookContext
from petvr.clip.towers import quick_gelu
from petvr.methods import _modulation
from petvr.methods._modulation import modulate

torch.set_num_threads(1)


@pytest.mark.parametrize("sites", ["all", "blocks"])
def test_scales_and_shifts_merge_into_the_weights(sites):
    model = trained("ssf", {"sites": sites}, moved=0.2)
    n = numbers(model)

    def merge(tower, site, layer, rows=slice(None)):
        scale, shift = (n[f"new.ssf.{tower}.{part}.{site}"][rows] for part in ("scale", "shift"))
        weight = n[f"{layer}.weight"]
        n[f"{layer}.weight"] = weight * (scale if weight.ndim == 1 else scale[:, None])
        n[f"{layer}.bias"] = n[f"{layer}.bias"] * scale + shift

    for tower, part, last in (("vision", TINY.vision, "post_layernorm"), ("text", TINY.text, "final_layer_norm")):
        for i in range(part.layers):
            block = f"clip.{tower}_model.encoder.layers.{i}"
            merge(tower, f"{i}_attn_in", f"{block}.layer_norm1")
            for at, name in enumerate(("q_proj", "k_proj", "v_proj")):
                rows = slice(at * part.width, (at + 1) * part.width)
                merge(tower, f"{i}_qkv", f"{block}.self_attn.{name}", rows)
            merge(tower, f"{i}_attn_out", f"{block}.self_attn.out_proj")
            merge(tower, f"{i}_mlp_in", f"{block}.layer_norm2")
            merge(tower, f"{i}_mlp_hidden", f"{block}.mlp.fc1")
            merge(tower, f"{i}_mlp_out", f"{block}.mlp.fc2")
        if sites == "all":
            merge(tower, "pooled", f"clip.{tower}_model.{last}")
    if sites == "all":
        merge("vision", "0_block_in", "clip.vision_model.pre_layrnorm")
        kernel, position = (f"clip.vision_model.embeddings.{k}_embedding.weight" for k in ("patch", "position"))
        scale, shift = (n[f"new.ssf.vision.{part}.embedded"] for part in ("scale", "shift"))
        n[kernel] = n[kernel] * scale[:, None, None, None]  # it has no bias: the shift goes into the positions
        n[position] = n[position].copy()
        n[position][1:] += shift
    check(model, lambda n, tower: {}, n)


@pytest.mark.parametrize("part", [1, 80, 150, 1 << 18])  # numbers: no row, two rows, one video, all
@pytest.mark.parametrize("activation", [None, quick_gelu])
@pytest.mark.parametrize("shape", [(8,), (3, 1, 8), (3, 5, 8), (1, 8), (1, 1, 8)])
@pytest.mark.parametrize("within", [False, True], ids=["alone", "within a larger tensor"])
def test_the_gradient_of_scale_and_shift_is_torchs_own_for_what_they_were_broadcast_from(
    within, shape, activation, part, monkeypatch
):
    monkeypatch.setattr(_modulation, "PART", part)

    def gradients(act):
        draw = torch.Generator().manual_seed(3)
        sizes = ((2, 3, 6, 24), shape, shape)
        x, scale, shift = (torch.randn(size, generator=draw, dtype=torch.float64).requires_grad_() for size in sizes)
        grad = torch.randn(2, 3, 6, 8, generator=draw, dtype=torch.float64)[:, :, 1:]  # as behind CLS
        cut = x[:, :, 1:, 8:16]  # as k of q, k, v
        out = act(*(cut, scale, shift) if within else (cut.contiguous(), scale, shift))
        out.backward(grad if within else grad.contiguous())
        return [out.detach(), x.grad, scale.grad, shift.grad]

    def plain(x, scale, shift):
        out = x * scale + shift
        return out if activation is None else out * torch.sigmoid(1.702 * out)

    context = HookContext("vision", 0, None, None, None, activation)
    own = gradients(lambda *given: modulate(*given, context))
    assert context.activation is None
    for mine, expected in zip(own, gradients(plain), strict=True):
        torch.testing.assert_close(mine, expected)
