"""Counted operations against closed forms and against each other; what is kept for the backward pass, and for whom."""

import csv
import functools
import io

import pytest
import torch

from petvr import cli, methods
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower, geometry, with_layers
from petvr.costs import compute, formula, measure
from petvr.errors import PetvrError

torch.set_num_threads(1)
TINY = ClipConfig(Tower(32, 2, 4, 64), Tower(24, 2, 2, 48), image=16, patch=8, positions=24, vocab=60, eot=59, embed=16)
SIZES = {"frames": 3, "words": 10}
SMALL = {
    "cross_modal_adapter": {"r": 4, "ds": 6},
    "cm_adapter": {"ds": 6},
    "vop_f": {"shallow": 1},
    "coop": {"tokens": 4},
    "vpt": {"tokens": 4},
    "vl_prompt": {"tokens": 4},
    "maple": {"tokens": 4},
    "mv_adapter": {"cmt_layers": 2},
    "vop": {"tokens": 4},
    "ju": {"prefix": 2, "postfix": 2},
}
SCORE = 2 * 2 * TINY.embed  # of a pair with the two videos or texts of its batch


def full_step(config, frames, words):
    """Forward and backward with everything trained: each product has two gradients, the pixels have none."""
    return 3 * formula.pair(config, frames, words) - frames * formula.patches(config)


def deep_step(config, frames, words):
    """Forward and backward where something small trains in front of both towers' first blocks and CLIP is frozen.

    Every Linear passes its gradient on and none is formed for its weights; attention's products have two each.
    """
    towers = [(config.vision, 1 + config.patches, frames), (config.text, words, 1)]
    attended = sum(rows * part.layers * formula.attention(part, tokens) for part, tokens, rows in towers)
    return 2 * formula.pair(config, frames, words) - frames * formula.patches(config) + attended


def cost(method, setting=None, config=TINY):
    return _cost(method, *sorted((SMALL.get(method, {}) if setting is None else setting).items()), config=config)


@functools.cache
def _cost(method, *setting, config):
    return compute.compute(config, method, dict(setting), **SIZES)


@pytest.mark.real_geometry
@pytest.mark.parametrize("backbone", ["vit-b-32", "vit-b-16"])
def test_the_counter_agrees_with_the_closed_form_at_real_size(backbone):
    config = with_layers(geometry(backbone), 2)
    found = compute.compute(config, "full", {"rule": "everything"}, frames=12, words=32)
    score = 2 * 2 * config.embed
    assert found.forward == formula.pair(config, 12, 32) + score
    assert found.step == full_step(config, 12, 32) + 3 * score
    deep = compute.compute(config, "ssf", frames=12, words=32)
    assert deep.forward == formula.pair(config, 12, 32) + score
    assert deep.step == deep_step(config, 12, 32) + 3 * score


def test_the_known_figures_of_vit_b_32():
    """12 frames and 32 words: 108.25 GFLOP forward, 2.97 times that for full tuning; RAP prints 54.4 multiply-adds."""
    config = geometry("vit-b-32")
    assert formula.pair(config, 12, 32) == pytest.approx(108.25e9, rel=1e-4)
    assert full_step(config, 12, 32) / formula.pair(config, 12, 32) == pytest.approx(2.974, abs=1e-3)
    assert formula.frame(config) == pytest.approx(8.82e9, rel=1e-3) and formula.text(config, 32) == pytest.approx(
        2.44e9, rel=5e-3
    )


def test_an_adapters_own_operations_by_hand():
    """Down and up, in every block of both towers, forward; the same twice again backward."""
    extra = 2 * (3 * (1 + TINY.patches) * 2 * 2 * 32 * 8 + 10 * 2 * 2 * 24 * 8)
    plain, adapted = cost("zero_shot"), cost("adapter_ffn", {"width": 8})
    assert adapted.forward - plain.forward == extra
    assert plain.forward == plain.step == formula.pair(TINY, 3, 10) + SCORE and plain.saved == 0


def test_raps_own_operations_by_hand():
    """Predictor on K patches of every frame; factors; the sentence's projection. No patch is projected."""
    asa = cost("asa", {"hidden": 8, "k": 2}).forward - cost("zero_shot").forward
    predictor = 2 * 3 * 2 * 2 * (32 * 8 + 8 * 2)
    choice = 2 * (2 * 32 * 16 + 2 * 16 * 2 + 2 * 16 * 32 + 3 * TINY.patches * 2 * 32)
    assert asa == predictor + choice


def test_a_depthwise_convolution_costs_backward_twice_what_it_costs_forward():
    """Convpass: the same 3 x 3 convolution, once between all channels, once within each."""
    wide, thin = (cost("convpass", {"width": 8, "conv": kind}) for kind in ("full", "depthwise"))
    rows = 3 * 2 * 2  # frames, blocks, one beside attention and one beside the MLP
    cls = 2 * 8 * 8  # one pixel: a product, or element-wise work
    assert wide.forward - thin.forward == rows * (TINY.patches * 2 * 9 * (8 * 8 - 8) + cls)
    assert wide.step - thin.step == 3 * (wide.forward - thin.forward)


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.available())
def test_tuning_a_few_never_costs_more_than_tuning_all_but_for_its_own_modules(method):
    found, full, plain = cost(method), cost("full", {"rule": "everything"}), cost("zero_shot")
    assert plain.forward <= found.forward <= found.step
    assert found.step <= full.step + 3 * (found.forward - plain.forward)
    if found.trainable == 0:
        assert found.step == found.forward and found.saved == 0
    else:
        assert found.saved > 0


@pytest.mark.parametrize("method", ["bias", "ssf", "lorm", "rap", "adapter_ffn", "cross_modal_adapter", "lora"])
def test_no_gradient_is_formed_for_a_frozen_matrix(method):
    """The backward pass of a frozen Linear is one product, not two: as much as forward, attention's products apart."""
    found, plain = cost(method), cost("zero_shot")
    own = found.forward - plain.forward
    assert found.step - found.forward <= deep_step(TINY, 3, 10) - formula.pair(TINY, 3, 10) + 2 * own + 2 * SCORE


@pytest.mark.parametrize(
    ("method", "setting"),
    [("partial", {"blocks": 1}), ("full", {"freeze": 1}), ("rap", {"last": 1}), ("lorm", {"last": 1})],
)
@pytest.mark.slow
def test_below_the_first_trainable_insertion_nothing_is_kept_and_nothing_goes_back(method, setting):
    """One block trains on top of one or of three frozen ones: the same is kept, the same goes back."""
    shallow, deep = TINY, with_layers(TINY, 4)
    here = cost(method, setting, shallow)
    moved = {key: value + 2 if key == "freeze" else value for key, value in setting.items()}
    there = cost(method, moved, deep)
    assert there.saved == here.saved > 0
    assert there.step - there.forward == here.step - here.forward
    assert there.forward > 1.5 * here.forward
    assert there.trainable == here.trainable


def test_frozen_towers_keep_nothing_and_pass_nothing_back():
    head = cost("proj")
    assert head.step - head.forward < 0.02 * head.forward and head.saved < 0.05 * cost("bias").saved
    text_only = cost("coop")
    assert text_only.saved < 0.5 * cost("vpt", {"tokens": 4}).saved


@pytest.mark.parametrize("method", ["vop", "rap", "adapter_ffn", "bias", "lora", "mv_adapter"])
def test_frozen_parameters_get_no_gradient_buffer(method):
    generator = torch.Generator().manual_seed(0)
    model = methods.adapt(
        weights.random(TINY, 0), method, SMALL.get(method, {}), frames=3, words=10, generator=generator
    )
    head = compute.build_model(weights.random(TINY, 0), "zero_shot", **SIZES)[1]
    compute.scores(model, head, *compute.inputs(TINY, 3, 10)).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) or name in model.trainable(), name


def test_what_is_kept_by_hand():
    """Two Linear projections on frozen towers: their inputs, the features on the way to the score, nothing else."""
    kept = []
    adapted, head = compute.build_model(weights.random(TINY, 0), "proj", **SIZES)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t), compute.Products():
        compute.scores(adapted, head, *compute.inputs(TINY, 3, 10))
    own = {p.untyped_storage().data_ptr() for p in adapted.parameters()}
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    assert sum(size for place, size in sizes.items() if place not in own) / 2 == pytest.approx(
        cost("proj").saved, rel=0.2
    )


@pytest.mark.slow
def test_steps_are_measured_in_a_process_of_their_own():
    found = measure.measure(TINY, "vop", {"tokens": 2}, batch=2, steps=1, threads=1, **SIZES)
    assert found.seconds > 0 and found.peak > 10e6
    with pytest.raises(PetvrError, match="vop"):
        measure.measure(TINY, "vop", {"tokens": 99}, batch=2, steps=1, threads=1, **SIZES)


@pytest.mark.slow
def test_the_command_prints_a_line_for_every_distinct_model_of_a_table(capsys):
    assert cli.main(["costs", "--table", "rap/table_11", "--format", "csv"]) == 0
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert {name: row["trainable"] for name, row in rows.items()} == {"rap": "1059760", "rap@text_rank=3": "1479088"}
    assert rows["rap"]["papers"] == "rap" and float(rows["rap"]["activations_mb"]) > 300
    assert float(rows["rap"]["forward_gflops"]) == pytest.approx(108.3, abs=0.1)
    held = 4 * (151_277_313 + 1_059_760) + 12 * 1_059_760  # weights; gradients and two moments of what trains
    batch, kept = int(rows["rap"]["batch"]), 1e6 * float(rows["rap"]["activations_mb"])
    assert 1 < float(rows["rap"]["memory_gib"]) / ((held + batch * kept) / 2**30) < 1.1  # and what passes by
    assert cli.main(["costs", "--table", "rap/table_44"]) == 2
    assert "did you mean" in capsys.readouterr().err
