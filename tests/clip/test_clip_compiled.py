"""Compiled blocks: the same values and gradients whatever a method does between them, one graph for all of a tower.

Dynamo's own back end runs what was traced as it is, so that equal means equal to the last bit; a graph that breaks, or
one too many, is an error of torch's.
"""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "methods"))
from test_contract import CASES, TINY, Case, batch, made, shaken, watch

from petvr import methods
from petvr.clip import compiled, weights
from petvr.clip.config import with_layers
from petvr.errors import PetvrError

FEW = [Case("full"), Case("rap", tiny={"k": 2}), Case("vop_f", tiny={"shallow": 2}), Case("mv_adapter")]


# a method's settings act at the same places, and so does each of several; three show what acts at one place at once
JOINED = ("vop+st_adapter", "lora+ssf", "x_clip+lorm+asa")
EACH = {case.method: case for case in CASES if "+" not in case.method or case.method in JOINED}.values()


@pytest.fixture
def traced():
    torch._dynamo.reset()  # graphs are counted by code, whatever asked for them
    return compiled.CompiledBlocks("eager")


def outcome(model, blocks, recompute=False):
    """Features and gradients of both towers in training, on padded texts and with frames missing."""
    model.clip.skip_masked = model.clip.crop_texts = False  # as with fixed shapes
    for tower in (model.clip.vision_model, model.clip.text_model):
        tower.encoder.compiled, tower.encoder.recompute = blocks, recompute
    pixels, mask, ids = batch()
    torch.manual_seed(0)
    frames = watch(model.train(), pixels, mask)
    texts = model.encode_texts(ids)
    total = (frames * torch.linspace(-1, 1, frames.numel()).view_as(frames)).sum() + texts.square().sum()
    if total.requires_grad:
        total.backward()
    return {"frames": frames, "texts": texts, **{name: part.grad for name, part in model.trainable().items()}}


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert (tensor is None) == (other[name] is None), name
        if tensor is not None:
            torch.testing.assert_close(tensor, other[name], msg=lambda says, name=name: f"{name}: {says}", **tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("case", EACH, ids=str)
def test_no_methods_blocks_break_a_graph_or_change_a_bit(case, traced):
    plain, other = (outcome(shaken(made(case)), blocks) for blocks in (None, traced))
    assert_same(plain, other, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("case", FEW, ids=str)
def test_blocks_that_are_computed_again_are_the_same(case, traced):
    plain, other = (outcome(shaken(made(case)), blocks, recompute=True) for blocks in (None, traced))
    assert_same(plain, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("method", "setting", "pieces"),
    [
        ("full", {}, 1),
        ("adapter_ffn", {"width": 4}, 2),
        ("ssf", {"sites": "blocks"}, 7),
    ],
)
@pytest.mark.slow
def test_one_graph_serves_all_blocks_of_a_tower(method, setting, pieces):
    """Each piece once for either tower, and once more for a first block whose input has no gradient; never by depth."""

    def graphs(layers):
        from torch._dynamo.utils import counters

        torch._dynamo.reset()
        counters.clear()
        clip = weights.random(with_layers(TINY, layers), 0)
        model = methods.adapt(clip, method, setting, frames=4, words=12, generator=torch.Generator())
        outcome(model, compiled.CompiledBlocks("eager"))
        return compiled.compiled_graphs()[0]

    assert 2 * pieces <= graphs(3) == graphs(7) <= 4 * pieces


@pytest.mark.slow
@pytest.mark.parametrize("case", FEW, ids=str)
def test_ahead_of_time_graphs_agree_within_rounding(case):
    blocks = compiled.CompiledBlocks("aot_eager")
    plain, other = (outcome(shaken(made(case)), each) for each in (None, blocks))
    assert_same(plain, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_compiled_for_this_processor_they_agree_within_rounding():
    try:
        compiled.check_compiler(torch.device("cpu"))
    except PetvrError as error:
        pytest.skip(str(error))
    real, model = compiled.CompiledBlocks("inductor"), shaken(made(Case("bias")))
    of_texts, before = set(model.clip.text_model.encoder.layers), compiled.compiled_graphs()[0]

    def blocks(block, *given):
        """Compiled in one tower: it takes long."""
        return real(block, *given) if block in of_texts else block(*given)

    plain, other = outcome(shaken(made(Case("bias"))), None), outcome(model, blocks)
    assert compiled.compiled_graphs()[0] > before
    assert_same(plain, other, rtol=1e-4, atol=1e-5)


def test_evaluation_runs_the_blocks_themselves():
    def refused(*given):
        raise AssertionError("compiled")

    model = made(Case("full"))
    for tower in (model.clip.vision_model, model.clip.text_model):
        tower.encoder.compiled = refused
    model.encode_texts(batch()[2])
    with pytest.raises(AssertionError, match="compiled"):
        model.train().encode_texts(batch()[2])


def test_without_a_compiler_one_line_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    from torch._inductor import config, cpp_builder

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    cpp_builder.get_cpp_compiler.cache_clear() if hasattr(cpp_builder.get_cpp_compiler, "cache_clear") else None
    with pytest.raises(PetvrError, match=r"^compile: true needs a C\+\+ compiler .*; allowed here: false$"):
        compiled.check_compiler(torch.device("cpu"))
