"""benchmarks/released_steps.py: both sides of a comparison do the same work, or it is refused."""

import sys
from pathlib import Path

import pytest
import torch

from petvr import planning
from petvr.clip.config import ClipConfig, Tower
from petvr.config import load_config
from petvr.errors import PetvrError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import released_steps

torch.set_num_threads(1)
CLIP = ClipConfig(
    Tower(32, 2, 2, 64), Tower(32, 2, 2, 64), image=16, patch=8, positions=40, vocab=1100, eot=1099, embed=16
)


@pytest.fixture(scope="module")
def pair():
    config = load_config(needed=False)
    planned = planning.plan(config)
    return lambda name: released_steps.Pair(name, released_steps.spec_of(name, 3, 2, planned, config), CLIP)


@pytest.mark.parametrize("name", released_steps.RUNS)
def test_a_released_step_has_the_loss_the_gradients_and_the_updates_of_ours(name, pair):
    said = pair(name).compare(3)
    released_steps.require_same_work(name, said)
    assert said.ratios and all(ratio > 0 for ratio in said.ratios)


@pytest.mark.parametrize(("changed", "what"), [("weights", "loss"), ("rate", "update")])
def test_what_computes_something_else_is_refused(changed, what, pair):
    other = pair("cross_modal_adapter")
    if changed == "weights":
        other.theirs.model.towers.vision[1].fc2.weight.data.mul_(1.1)
    else:
        other.theirs.groups = [(part, 2 * rate, decay) for part, rate, decay in other.theirs.groups]
    with pytest.raises(PetvrError, match=f"{what} of both sides"):
        released_steps.require_same_work("cross_modal_adapter", other.compare(2))
