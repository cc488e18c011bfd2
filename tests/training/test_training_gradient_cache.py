"""Micro-batches give the gradients of the batch in one piece: for every method, every similarity, with dropout."""

import importlib.util
from pathlib import Path

import pytest
import torch
import training_bench as tiny
from torch.overrides import TorchFunctionMode

from petvr import methods, similarity
from petvr.errors import PetvrError
from petvr.training import gradient_cache, precision
from petvr.training.model import BatchTensors, Model
from petvr.training.rng_replay import DrawAsWhole, PartOfWhole

torch.set_num_threads(1)
B, V = 7, 5

path = Path(__file__).parents[1] / "methods" / "test_contract.py"
contract = importlib.util.module_from_spec(importlib.util.spec_from_file_location("petvr_contract", path))
importlib.util.sys.modules[contract.__name__] = contract
contract.__spec__.loader.exec_module(contract)

METHODS = list({case.method: case for case in reversed(contract.CASES) if case.count}.values())
SIMILARITIES = [name for name in similarity.available() if name != "mean_pool"]
HEADED = {  # a method with the similarity it needs, where tower and head act together
    "ts2_net": {},
    "clip2video": {},
    "ju": {"prefix": 4, "postfix": 3},
    "x_pool+vop": {"tokens": 3},
    "x_clip+lorm+asa": {},
    "x_clip+full": {"freeze": 1},
    "x_pool+full": {"rule": "everything"},
}
DROPOUT = contract.Case("cross_modal_adapter", {"r": 4, "ds": 6, "dropout": 0.3})


def model_of(case, name="mean_pool", setting=None, mode="fp32"):
    adapted = contract.shaken(contract.made(case))
    generator = torch.Generator().manual_seed(1)
    score = similarity.build_similarity(
        name, setting or {}, adapted.embed_dim, generator, clip=adapted.clip, frames=4, words=contract.WORDS
    )
    with torch.no_grad():
        adapted.clip.logit_scale.fill_(1.0)
        for parameter in score.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    adapted.clip.logit_scale.requires_grad_(True)
    model = Model(adapted, score, mode=mode)
    model.set_training(True)
    return model


def inputs(repeated=True, masked=True):
    """Videos meet themselves, some lack frames, texts have any length."""
    generator = torch.Generator().manual_seed(2)
    config, words = contract.TINY, contract.WORDS
    ids = torch.randint(1, 40, (B, words), generator=generator)
    for row, last in enumerate((4, 9, 5, 2, 8, 7, 3)):
        ids[row, 0], ids[row, last], ids[row, last + 1 :] = config.eot - 1, config.eot, 0
    count = V if repeated else B
    pixels = torch.randn(count, 4, 3, config.image, config.image, generator=generator)
    mask = torch.ones(count, 4, dtype=torch.bool)
    if masked:
        mask[1, 2:], mask[4, 1:] = False, False
    place = torch.tensor([0, 3, 1, 4, 2, 3, 0]) if repeated else None
    return BatchTensors(ids[:, :10], pixels, mask, place)


def gradients(model, data, size):
    for parameter, _ in model.trained.values():
        parameter.grad = None
    torch.manual_seed(5)
    if size is None:
        loss = model.loss(data)
        loss.backward()
    else:
        loss = gradient_cache.backward(model, data, size)
    return loss.detach(), {name: parameter.grad for name, (parameter, _) in model.trained.items()}


def same(model, data, size, tolerance=1e-5):
    loss, expected = gradients(model, data, None)
    assert any(grad is not None and grad.any() for grad in expected.values())
    chunked, found = gradients(model, data, size)
    torch.testing.assert_close(chunked, loss, atol=1e-6, rtol=max(1e-5, tolerance))
    largest = max(grad.abs().max().item() for grad in expected.values() if grad is not None)
    for name, grad in expected.items():
        if grad is None:
            assert found[name] is None, name
        else:
            assert (found[name] - grad).abs().max() <= tolerance * largest, name


@pytest.mark.slow
@pytest.mark.parametrize("case", METHODS, ids=str)
def test_every_method_has_the_gradients_of_the_whole_batch(case):
    same(model_of(case), inputs(), 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("method", ["bias", "zero_shot"])
def test_every_similarity_has_the_gradients_of_the_whole_batch(name, method):
    same(model_of(contract.Case(method), name), inputs(), 2)


@pytest.mark.parametrize("method", HEADED)
def test_methods_with_the_similarity_they_need_have_the_gradients_of_the_whole_batch(method):
    case = contract.Case(method, HEADED[method])
    same(model_of(case, methods.similarity_of(method)), inputs(), 3)


def test_every_method_and_every_similarity_is_among_these_tests():
    seen = {part for case in METHODS for part in case.method.split("+")} | {
        part for name in HEADED for part in name.split("+")
    }
    heads_alone = {name for name in methods.available() if methods.similarity_of(name) == name}
    assert seen | heads_alone | {"zero_shot"} == set(methods.available())
    assert heads_alone <= set(SIMILARITIES)
    drawing = {name for name in methods.available() if "dropout" in methods.defaults(name)}
    assert drawing == {DROPOUT.method}


@pytest.mark.parametrize("method", ["cross_modal_adapter+x_pool", "x_pool+rap", "ts2_net"])
def test_what_tower_and_similarity_draw_does_not_mix(method):
    """Both draw, in a pass of the whole batch one after the other; chunks leave the generators where that does."""
    setting = {"x_pool+rap": {"select": "random"}, "ts2_net": {}}.get(method, DROPOUT.setting)
    model = model_of(contract.Case(method, setting), methods.similarity_of(method))
    data = inputs(repeated=False)
    same(model, data, 2)
    after = []
    for size in (None, 2):
        gradients(model, data, size)
        after.append(torch.rand(1))
    assert torch.equal(*after)


@pytest.mark.parametrize("mode", [mode for mode in precision.MODES if mode != "fp32"])
@pytest.mark.parametrize("method", ["full", "cross_modal_adapter"])
def test_other_precisions_agree_to_their_rounding(method, mode):
    """A product's rounding may depend on how many rows it has; half the numbers have 8 or 11 bits."""
    case = next(case for case in METHODS if case.method == method)
    same(model_of(case, mode=mode), inputs(), 3, tolerance=3e-2 if mode == "bf16" else 5e-3)


@pytest.mark.parametrize("size", [1, 2, 4, 7, 100])
def test_any_size_of_chunk_does(size):
    same(model_of(contract.Case("cross_modal_adapter", contract.SMALL), "query_aware"), inputs(), size)


@pytest.mark.parametrize("masked", [True, False])
def test_dropout_in_the_towers_draws_the_same_numbers(masked):
    model = model_of(DROPOUT)
    assert model.stochastic
    data = inputs(repeated=False, masked=masked)
    same(model, data, 2)
    again = model.loss(data)
    assert not torch.equal(again, model.loss(data))


def test_dropout_in_the_similarity_draws_the_same_numbers():
    same(model_of(contract.Case("bias"), "x_pool", {"dropout": 0.5}), inputs(repeated=False), 3)


def test_no_tensor_of_a_step_in_chunks_is_as_large_as_the_batch():
    """The largest tensor that any function makes: what the towers hold goes with the chunk."""

    class Largest(TorchFunctionMode):
        numbers = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.requires_grad and out.grad_fn is not None:
                self.numbers = max(self.numbers, out.numel())
            return out

    model, data, found = model_of(contract.Case("full")), inputs(repeated=False, masked=False), {}
    for size in (None, 1):
        with Largest() as largest:
            gradients(model, data, size)
        found[size] = largest.numbers
    assert found[1] <= found[None] / B * 1.1


@pytest.mark.slow
def test_a_run_in_chunks_ends_where_a_run_in_one_piece_ends(tmp_path, bench):
    spec = tiny.spec("cross_modal_adapter", setting={"r": 4, "ds": 4, "dropout": 0.2}, lr_new=1e-2, epochs=2)
    results = {}
    for size in (None, 3):
        options = bench | {"out": tmp_path / f"out{size}", "state": tmp_path / f"state{size}"}
        results[size] = tiny.train(spec, micro_batch=size, **options)
    losses = [[evaluation.train_loss for evaluation in result.evaluations[1:]] for result in results.values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    digests = {result.provenance.spec_digest for result in results.values()}
    assert len(digests) == 1


def test_a_chunk_of_nothing_is_refused(bench):
    with pytest.raises(PetvrError, match="micro_batch: 0 given, allowed: 1 or more"):
        tiny.train(tiny.spec("full"), micro_batch=0, **bench)


def test_draws_for_a_part_are_those_of_the_whole():
    torch.manual_seed(0)
    x = torch.ones(6, 5, 4)
    whole = torch.nn.functional.dropout(x, 0.5), torch.rand(6, 3), torch.randn((6, 2))
    for start in (0, 2, 4):
        torch.manual_seed(0)
        with DrawAsWhole(PartOfWhole({2: (6, start)})):
            part = torch.nn.functional.dropout(x[start : start + 2], 0.5), torch.rand(2, 3), torch.randn((2, 2))
        for all_of_it, some in zip(whole, part, strict=True):
            assert torch.equal(all_of_it[start : start + 2], some)


@pytest.mark.parametrize("case", [DROPOUT, contract.Case("vop_f+vop_p", {"shallow": 1, "tokens": 5})], ids=str)
def test_micro_batches_whose_blocks_are_computed_again_draw_and_give_the_same(case):
    model = model_of(case)
    _, expected = gradients(model, inputs(), 3)
    for tower in (model.adapted.clip.vision_model, model.adapted.clip.text_model):
        tower.encoder.recompute = True
    _, found = gradients(model, inputs(), 3)
    for name, grad in expected.items():
        assert torch.equal(found[name], grad), name
