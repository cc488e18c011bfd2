"""What a result says a pair cost is what the closed form says."""

import pytest
import training_bench as tiny

from petvr.clip import config
from petvr.costs import compute, formula


def test_flops_of_a_run_are_those_of_its_step_or_of_its_evaluation(bench, monkeypatch):
    clip = config.read_config(bench["weights"])
    score = 2 * 2 * clip.embed
    counts = bench["state"].parent / "flops"
    spec = tiny.spec("full", setting={"rule": "everything"}, epochs=1)
    trained = tiny.train(spec, **bench, flop_counts=counts)
    expected = 3 * formula.pair(clip, tiny.FRAMES, tiny.WORDS) - tiny.FRAMES * formula.patches(clip) + 3 * score
    assert trained.cost.flops_per_pair == pytest.approx(expected)
    monkeypatch.setattr(compute, "compute", lambda *given, **choices: pytest.fail("counted again"))
    again = tiny.train(spec.model_copy(update={"seed": 1}), **bench, flop_counts=counts)
    assert again.cost.flops_per_pair == trained.cost.flops_per_pair
    monkeypatch.undo()
    other = tiny.train(
        spec.model_copy(update={"versions": {"training": 9}, "train": False}), **bench, flop_counts=counts
    )
    assert len(list(counts.iterdir())) == 2 and other.cost.flops_per_pair < trained.cost.flops_per_pair
    plain = tiny.train(tiny.spec("zero_shot", train=False), **bench)
    assert plain.cost.flops_per_pair == pytest.approx(formula.pair(clip, tiny.FRAMES, tiny.WORDS) + score)
