"""The named modes of fp16: which tensors have which type, and one step of the optimiser number by number."""

from typing import get_args

import numpy as np
import pytest
import torch
import training_bench as tiny
from torch import nn

from petvr.errors import PetvrError
from petvr.spec import Recipe
from petvr.training import model, precision
from petvr.training import optimizer as optim

HALF = ["clip4clip_fp16", "mv_adapter_fp16", "cma_fp16"]
CPU = torch.device("cpu")


def f16(x):
    return np.float16(x)


def by_hand(theta, grads, lr, decay, eps=1e-6):
    """CLIP4Clip's BertAdam on one fp16 number: every operation is rounded to fp16 before the next one begins."""
    theta, m, v = f16(theta), f16(0), f16(0)
    for g in map(f16, grads):
        m = f16(np.float32(m) * np.float32(0.9))
        m = f16(np.float32(m) + np.float32(0.1) * np.float32(g))
        v = f16(np.float32(v) * np.float32(0.98))
        v = f16(np.float32(v) + np.float32(0.02) * np.float32(g) * np.float32(g))
        below = f16(np.float32(f16(np.sqrt(np.float32(v)))) + np.float32(eps))
        with np.errstate(over="ignore"):
            u = f16(np.float32(m) / np.float32(below))
        if decay:
            u = f16(np.float32(u) + np.float32(f16(np.float32(theta) * np.float32(decay))))
        theta = f16(np.float32(theta) - np.float32(f16(np.float32(u) * np.float32(lr))))
    return theta, m, v


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("lr", [1e-7, 1e-5, 1e-4])
def test_bert_adam_in_fp16_is_upstreams_number_by_number(lr, decay):
    grads = np.array([3e-1, 2e-3, 1.3e-3, 1.1e-3, 3e-4, 1e-4, 1e-5, 1e-6, 3e-8, 0.0])
    grads = np.concatenate([grads, grads])
    starts = np.array([0.02, -0.02, 0.5, 1.0, -0.001, 0.02, 0.02, 0.0001, 0.02, 0.02] + [0.0] * 10)
    recipe = tiny.recipe(
        lr_clip=lr, weight_decay=decay, schedule="constant", warmup=0.0, clip_tensor=None, no_decay="none"
    )
    parameter = nn.Parameter(torch.tensor(starts, dtype=torch.float16))
    optimizer = optim.build_optimizer(optim.parameter_groups({"w": (parameter, "clip")}, recipe), recipe, 10)
    assert optimizer.m["w"].dtype == optimizer.v["w"].dtype == torch.float16
    for step in range(1, 4):
        parameter.grad = torch.tensor(grads, dtype=torch.float16)
        optimizer.step()
        expected = [by_hand(start, [g] * step, lr, decay) for start, g in zip(starts, grads, strict=True)]
        found = [part.detach().numpy() for part in (parameter, optimizer.m["w"], optimizer.v["w"])]
        for hand, kept in zip(np.array(expected, dtype=np.float16).T, found, strict=True):
            np.testing.assert_array_equal(kept, hand)
        lost = np.abs(grads) < 1.2e-3
        assert not found[2][lost].any() and found[2][~lost].all()


def test_small_gradients_lose_their_second_moment_and_get_another_rate():
    """|g| = 1e-4 at lr 1e-7, first step: m / (sqrt v + eps) is 0.66 in fp32; in fp16 v is lost, m / eps is 10."""
    recipe = tiny.recipe(lr_clip=1e-7, weight_decay=0.0, schedule="constant", warmup=0.0, clip_tensor=None)
    moved = {}
    for kind in (torch.float32, torch.float16):
        weight = nn.Parameter(torch.zeros(1, dtype=kind))
        optimizer = optim.build_optimizer(optim.parameter_groups({"w": (weight, "clip")}, recipe), recipe, 10)
        weight.grad = torch.full((1,), 1e-4, dtype=kind)
        optimizer.step()
        moved[kind] = -weight.item()
        assert (optimizer.v["w"].item() == 0) == (kind == torch.float16)
    assert moved[torch.float32] == pytest.approx(1e-7 * 1e-5 / (2e-10**0.5 + 1e-6), rel=1e-2)
    assert moved[torch.float16] == pytest.approx(1e-7 * 1e-5 / 1e-6, rel=0.1)
    near = nn.Parameter(torch.full((1,), 0.02, dtype=torch.float16))  # half a unit of the last place is 7.6e-6
    optimizer = optim.build_optimizer(optim.parameter_groups({"w": (near, "clip")}, recipe), recipe, 10)
    near.grad = torch.full((1,), 1e-2, dtype=torch.float16)
    optimizer.step()
    assert near.item() == f16(0.02)


def test_fp16_and_fp32_tensors_are_clipped_and_updated_side_by_side():
    recipe = tiny.recipe(lr_clip=1e-2, schedule="constant", warmup=0.0, weight_decay=0.0, clip_tensor=1.0)
    half, full = nn.Parameter(torch.ones(2).half()), nn.Parameter(torch.ones(2))
    optimizer = optim.build_optimizer(
        optim.parameter_groups({"a": (half, "clip"), "b": (full, "clip")}, recipe), recipe, 10
    )
    half.grad, full.grad = torch.tensor([3.0, 0.0]).half(), torch.tensor([0.0, 4.0])
    assert float(optim.clip_all([half.grad, full.grad], 1.0)) == pytest.approx(5.0)
    assert half.grad.tolist() == pytest.approx([0.6, 0], rel=1e-3) and full.grad.tolist() == pytest.approx([0, 0.8])
    assert half.grad.dtype == torch.float16
    optimizer.step()
    assert half.dtype == torch.float16 and 0 < 1 - half[0].item() < 0.01 and full[1].item() < 1
    tensors, counters = optimizer.state()
    assert tensors["m/a"].dtype == torch.float16
    optimizer.restore(tensors, counters)


def built(mode, method="full", bench=None, **setting):
    spec = tiny.spec(method, setting=setting, precision=mode, lr_clip=1e-3, lr_new=1e-3)
    made = model.build_model(spec, bench["weights"], CPU)
    made.set_training(True)
    return made


def inputs():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, 3, 16, 16), generator=generator).to(torch.uint8)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    ids = torch.randint(1, 60, (2, tiny.WORDS), generator=generator)
    return pixels, mask, ids


def loss(made):
    pixels, mask, ids = inputs()
    ids[:, -1] = made.adapted.clip.config.eot
    texts = made.encode_texts(ids)
    return -made.scores(texts, made.encode_videos(pixels, mask, texts["text"])).diagonal().sum()


@pytest.mark.parametrize("mode", HALF)
def test_clips_matrices_are_fp16_and_the_rest_of_it_fp32(bench, mode):
    made = built(mode, bench=bench)
    kinds = {name: parameter.dtype for name, parameter in made.adapted.clip.named_parameters()}
    whole = ("layer_norm", "layernorm", "layrnorm", "token_embedding", "position_embedding", "class_embedding", "logit")
    for name, kind in kinds.items():
        assert kind == (torch.float32 if any(part in name for part in whole) else torch.float16), name
    assert sum(kind == torch.float16 for kind in kinds.values()) == 2 * 2 * 12 + 3  # 2 towers, 2 blocks, 6 layers


@pytest.mark.parametrize("mode", HALF)
def test_the_stream_is_fp16_and_features_leave_it_as_fp32(bench, mode):
    made, seen = built(mode, bench=bench), []
    spy = lambda x, context: seen.append((context.state.tower, x.dtype)) or x  # noqa: E731
    for tower in ("vision", "text"):
        for place in ("block_in", "attn_in", "attn_out", "mlp_hidden", "block_out", "pooled", "projected"):
            made.adapted.inserts.add(tower, place, spy)
    value = loss(made)
    assert {kind for _, kind in seen} == {torch.float16} and {tower for tower, _ in seen} == {"vision", "text"}
    assert value.dtype == torch.float32
    value.backward()
    for name, (parameter, _) in made.trained.items():
        assert parameter.grad is None or parameter.grad.dtype == parameter.dtype, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "setting"),
    [
        ("full", {}),
        ("cross_modal_adapter", {"r": 4, "ds": 4}),
        ("mv_adapter", {"cmt_layers": 1, "width": 8}),
        ("rap", {"hidden": 4}),
        ("vop+adapter_ffn", {"tokens": 2, "width": 4}),
    ],
)
@pytest.mark.parametrize("mode", HALF)
def test_every_kind_of_method_runs_and_stays_near_fp32(bench, mode, method, setting):
    exact, rounded = built("fp32", method, bench, **setting), built(mode, method, bench, **setting)
    one, other = loss(exact), loss(rounded)
    assert other.item() == pytest.approx(one.item(), abs=2e-2)
    other.backward()
    one.backward()
    for (name, (parameter, _)), (twin, _) in zip(rounded.trained.items(), exact.trained.values(), strict=True):
        if twin.grad is None or not twin.grad.any():
            continue
        off = (parameter.grad.float() - twin.grad).norm() / twin.grad.norm()
        assert off < 0.25 or twin.grad.abs().max() < 1e-3, name


def test_inserted_parameters_have_the_type_their_paper_gives_them(bench):
    def kinds(mode, method, **setting):
        return {name: p.dtype for name, p in built(mode, method, bench, **setting).adapted.new.named_parameters()}

    adapter = {"r": 4, "ds": 4}
    assert set(kinds("clip4clip_fp16", "cross_modal_adapter", **adapter).values()) == {torch.float32}
    assert set(kinds("cma_fp16", "cross_modal_adapter", **adapter).values()) == {torch.float16}
    for name, kind in kinds("mv_adapter_fp16", "mv_adapter", width=8, cmt_layers=1).items():
        norm, loose = ".norm" in name, name.split(".")[-1] not in ("weight", "bias")
        assert kind == (torch.float32 if norm or loose else torch.float16), name


@pytest.mark.slow
@pytest.mark.parametrize("mode", HALF)
def test_a_run_in_fp16_trains_resumes_from_its_state_and_says_so(bench, mode):
    result = tiny.train(tiny.spec(epochs=2, precision=mode), **bench, checkpoint_steps=5)
    assert result.spec.recipe.precision == mode
    assert result.evaluations[-1].train_loss < result.evaluations[1].train_loss + 0.5


def test_no_name_is_known_to_the_recipe_and_not_to_training():
    assert get_args(Recipe.model_fields["precision"].annotation) == precision.MODES
    with pytest.raises(PetvrError, match="did you mean 'cma_fp16'"):
        precision.check_precision("cma_fp1")


def test_the_plain_modes_train_in_fp32_and_bf16_keeps_frozen_matrices_as_autocast_would_cast_them(bench):
    exact, held = built("fp32", "adapter_ffn", bench, width=4), built("bf16", "adapter_ffn", bench, width=4)
    assert {parameter.dtype for parameter in exact.adapted.parameters()} == {torch.float32}
    for name, parameter in held.adapted.named_parameters():
        matrix = any(part in name for part in ("_proj.", "fc1.", "fc2.", "patch_embedding")) and "visual" not in name
        expected = matrix and "new" not in name and not name.startswith("clip.text_projection")
        assert parameter.dtype == (torch.bfloat16 if expected else torch.float32), name
    one = held.encode_frames(*inputs()[:2])["frames"]
    for mine, theirs in zip(held.adapted.parameters(), exact.adapted.parameters(), strict=True):
        mine.data = theirs.data
    assert torch.equal(one, held.encode_frames(*inputs()[:2])["frames"])
