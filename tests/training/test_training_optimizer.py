"""Both optimisers and all schedules against scalar arithmetic written out by hand."""

import math

import pytest
import torch
import training_bench as tiny
from torch import nn

from petvr.errors import PetvrError
from petvr.training.model import layer_norm_weights
from petvr.training.optimizer import build_optimizer, clip_all, decays, parameter_groups, schedule

GRADS = [0.5, -0.2, 0.0, 1.5, 0.03, -0.7, 0.2, 0.1, -0.4, 0.9]


def make(kind, recipe, values, total=10, name="new.weight", part="new"):
    parameter = nn.Parameter(torch.tensor(values, dtype=torch.float64))
    made = parameter_groups({name: (parameter, part)}, recipe)
    return parameter, build_optimizer(made, recipe.model_copy(update={"optimizer": kind}), total)


def test_bert_adam_step_by_step():
    recipe = tiny.recipe(lr_new=0.1, weight_decay=0.2, clip_tensor=None)
    parameter, optimizer = make("bert_adam", recipe, [1.0])
    theta, m, v = 1.0, 0.0, 0.0
    for k, g in enumerate(GRADS):
        parameter.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        x = k / 10
        factor = x / 0.1 if x < 0.1 else 0.5 * (1 + math.cos(math.pi * x))
        m = 0.9 * m + 0.1 * g
        v = 0.98 * v + 0.02 * g * g
        theta -= 0.1 * factor * (m / (math.sqrt(v) + 1e-6) + 0.2 * theta)
        assert parameter.item() == pytest.approx(theta, rel=1e-12), k
    assert theta < 0.9


def test_bert_adam_first_step_moves_nothing_and_the_second_has_nearly_the_full_rate():
    parameter, optimizer = make("bert_adam", tiny.recipe(lr_new=0.1, clip_tensor=None), [1.0, -1.0], total=10)
    parameter.grad = torch.tensor([3.0, 3.0], dtype=torch.float64)
    optimizer.step()
    assert parameter.tolist() == [1.0, -1.0]
    parameter.grad = torch.tensor([3.0, 3.0], dtype=torch.float64)
    optimizer.step()
    assert parameter[0].item() < 0.9


def test_adamw_step_by_step():
    recipe = tiny.recipe(
        lr_new=0.05,
        weight_decay=0.2,
        betas=(0.9, 0.999),
        schedule="warmup_cosine_restarted",
        clip_tensor=None,
        warmup=0.2,
    )
    parameter, optimizer = make("adamw", recipe, [1.0])
    theta, m, v = 1.0, 0.0, 0.0
    for k, g in enumerate(GRADS):
        parameter.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        factor = k / 2 if k < 2 else 0.5 * (1 + math.cos(math.pi * (k - 2) / 8))
        lr = 0.05 * factor
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        corrected = lr * math.sqrt(1 - 0.999 ** (k + 1)) / (1 - 0.9 ** (k + 1))
        theta -= corrected * m / (math.sqrt(v) + 1e-6)
        theta -= lr * 0.2 * theta
        assert parameter.item() == pytest.approx(theta, rel=1e-12), k
    assert theta < 0.95


def test_adam_is_torchs_with_the_decay_in_the_gradient():
    recipe = tiny.recipe(lr_new=0.05, weight_decay=0.2, schedule="constant", warmup=0.0, clip_tensor=None, eps=1e-3)
    parameter, optimizer = make("adam", recipe, [1.0])
    twin = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    theirs = torch.optim.Adam([twin], lr=0.05, betas=recipe.betas, eps=1e-3, weight_decay=0.2)
    for g in GRADS:
        parameter.grad, twin.grad = (torch.tensor([g], dtype=torch.float64) for _ in range(2))
        optimizer.step()
        theirs.step()
        assert parameter.item() == pytest.approx(twin.item(), rel=1e-12)
    assert twin.item() != 1


@pytest.mark.parametrize("together", [None, 2.0])
def test_each_tensor_is_clipped_on_its_own_unless_all_are_shorter_already(together):
    constants = {"weight_decay": 0.0, "lr_new": 1.0, "schedule": "constant", "warmup": 0.0}
    recipe = tiny.recipe(clip_tensor=1.0, clip_global=together, **constants)
    one, two = (nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2))
    optimizer = build_optimizer(parameter_groups({"a": (one, "new"), "b": (two, "new")}, recipe), recipe, 10)
    one.grad, two.grad = torch.tensor([30.0, 40.0]).double(), torch.tensor([0.3, 0.4]).double()
    optimizer.step()
    assert one.grad.tolist() == pytest.approx([0.6, 0.8], rel=1e-6)
    assert two.grad.tolist() == pytest.approx([0.3, 0.4])
    assert optimizer.m["a"].tolist() == pytest.approx([0.06, 0.08], rel=1e-6)


def test_all_tensors_are_clipped_together():
    grads = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert float(clip_all(grads, 1.0)) == pytest.approx(5.0)
    assert [float(grad) for grad in grads] == pytest.approx([0.6, 0.8], rel=1e-5)
    small = [torch.tensor([0.3]), torch.tensor([0.4])]
    clip_all(small, 1.0)
    assert [float(grad) for grad in small] == pytest.approx([0.3, 0.4])


@pytest.mark.parametrize("kind", ["bert_adam", "adamw", "adam"])
def test_parameters_without_gradient_are_left_alone(kind):
    recipe = tiny.recipe(lr_new=0.1, schedule="constant", warmup=0.0)
    one, two = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = build_optimizer(
        parameter_groups({"a": (one, "new"), "b": (two, "new")}, recipe),
        recipe.model_copy(update={"optimizer": kind}),
        10,
    )
    one.grad = torch.ones(3)
    optimizer.step()
    assert two.tolist() == [1, 1, 1] and one.tolist() != [1, 1, 1]
    assert optimizer.updates == {"a": 1, "b": 0}
    assert not optimizer.m["b"].any()


def test_bert_adams_schedule_counts_the_parameters_own_updates():
    recipe = tiny.recipe(lr_new=0.1, clip_tensor=None, weight_decay=0.0)
    late, optimizer = make("bert_adam", recipe, [1.0], total=10)
    for _ in range(5):
        optimizer.step()  # no gradient
    late.grad = torch.ones(1, dtype=torch.float64)
    optimizer.step()
    assert late.item() == 1.0  # its own step 0: rate 0


def test_moments_and_counters_survive_a_restart():
    recipe = tiny.recipe(lr_new=0.1)
    straight, first = make("bert_adam", recipe, [1.0, 2.0])
    for g in GRADS:
        straight.grad = torch.full((2,), g, dtype=torch.float64)
        first.step()
    broken, before = make("bert_adam", recipe, [1.0, 2.0])
    for g in GRADS[:4]:
        broken.grad = torch.full((2,), g, dtype=torch.float64)
        before.step()
    resumed, after = make("bert_adam", recipe, broken.tolist())
    after.restore(*before.state())
    for g in GRADS[4:]:
        resumed.grad = torch.full((2,), g, dtype=torch.float64)
        after.step()
    assert torch.equal(resumed, straight)


def test_warmup_cosine_jumps_and_is_not_restarted():
    factor = schedule("warmup_cosine", total=1000, warmup=0.1)
    assert factor(0) == 0.0
    assert factor(50) == pytest.approx(0.5)
    assert factor(99) == pytest.approx(0.99)
    assert factor(100) == pytest.approx(0.97553, abs=1e-5)
    assert factor(500) == pytest.approx(0.5)
    assert factor(1000) == pytest.approx(0.0)


def test_restarted_cosine_begins_at_one_after_the_warmup():
    factor = schedule("warmup_cosine_restarted", total=1000, warmup=0.1)
    assert [factor(0), factor(50), factor(100)] == [0.0, 0.5, 1.0]
    assert factor(550) == pytest.approx(0.5)
    assert factor(1000) == pytest.approx(0.0)


def test_constant_keeps_its_warmup():
    factor = schedule("constant", total=100, warmup=0.1)
    assert [factor(0), factor(5), factor(10), factor(99)] == [0.0, 0.5, 1.0, 1.0]
    assert schedule("constant", total=100, warmup=0.0)(0) == 1.0


def test_unknown_names_are_told():
    with pytest.raises(PetvrError, match="warmup_cosine"):
        schedule("warmup_cosin", total=1, warmup=0)


NAMES = {
    "clip.vision_model.pre_layrnorm.weight": "clip",
    "clip.vision_model.encoder.layers.0.layer_norm1.weight": "clip",
    "clip.vision_model.encoder.layers.0.self_attn.q_proj.weight": "clip",
    "clip.vision_model.encoder.layers.0.self_attn.q_proj.bias": "clip",
    "clip.text_model.final_layer_norm.weight": "clip",
    "clip.logit_scale": "clip",
    "new.adapter.down.weight": "new",
    "new.adapter.down.bias": "new",
    "new.adapter.ln_1.weight": "new",
    "similarity.encoder.norm2.weight": "head",
    "similarity.encoder.normaliser.weight": "head",
}


def undecayed(no_decay):
    recipe = tiny.recipe(no_decay=no_decay, weight_decay=0.2, lr_clip=1e-7, lr_new=1e-4, lr_head=1e-5)
    trained = {name: (nn.Parameter(torch.zeros(2)), part) for name, part in NAMES.items()}
    made = parameter_groups(trained, recipe)
    rates = {name: group.lr for group in made for name in group.names}
    assert rates == {name: {"clip": 1e-7, "new": 1e-4, "head": 1e-5}[part] for name, part in NAMES.items()}
    assert {group.weight_decay for group in made} <= {0.0, 0.2}
    return {name for group in made if group.weight_decay == 0 for name in group.names}


def test_groups_take_rates_by_part_and_decay_by_rule():
    assert undecayed("none") == set()
    biases = {name for name in NAMES if name.endswith("bias")}
    assert undecayed("bias") == biases
    assert undecayed("bias_and_layernorm") == biases | {
        "clip.vision_model.pre_layrnorm.weight",
        "clip.vision_model.encoder.layers.0.layer_norm1.weight",
        "clip.text_model.final_layer_norm.weight",
        "new.adapter.ln_1.weight",
        "similarity.encoder.norm2.weight",
    }


def test_layer_norms_are_known_by_their_type_too():
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    assert layer_norm_weights(module) == {"1.weight"}
    assert not decays("1.weight", "bias_and_layernorm", is_norm=True)
