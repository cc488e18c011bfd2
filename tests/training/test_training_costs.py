"""What a result says a pair cost is what the closed form says."""

import pytest
import training_bench as tiny

from petvr.clip import config
from petvr.costs import formula


def test_flops_of_a_run_are_those_of_its_step_or_of_its_evaluation(bench):
    clip = config.read_config(bench["weights"])
    score = 2 * 2 * clip.embed
    trained = tiny.train(tiny.spec("full", setting={"rule": "everything"}, epochs=1), **bench)
    expected = formula.full_step(clip, tiny.FRAMES, tiny.WORDS) + 3 * score
    assert trained.cost.flops_per_pair == pytest.approx(expected)
    plain = tiny.train(tiny.spec("zero_shot", train=False), **bench)
    assert plain.cost.flops_per_pair == pytest.approx(formula.pair(clip, tiny.FRAMES, tiny.WORDS) + score)
