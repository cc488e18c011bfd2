"""The counted memory of a training step is what torch's own allocator hands out on the CPU, whatever the method."""

from dataclasses import replace

import pytest
import torch
import training_bench as tiny

from petvr import methods
from petvr.clip import config as geometry
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.training import memory, run
from petvr.training.bench import Resident
from petvr.training.checkpoint import TrainState
from petvr.training.model import BatchTensors, model_on
from petvr.training.optimizer import build_optimizer, parameter_groups

CLIP = ClipConfig(
    Tower(64, 3, 4, 256), Tower(32, 3, 2, 128), image=32, patch=8, positions=40, vocab=1100, eot=1099, embed=32
)
SPLIT = {"micro_batch": 1, "activation_checkpointing": True}
CASES = [
    ("full", {}, {}),
    ("bias", {}, SPLIT),
    ("bias", {}, {}),
    ("rap", {"k": 2}, {}),
    ("ssf", {}, {}),
    ("lora", {}, {}),
    ("vop", {"tokens": 4}, {}),
    ("vop_c", {"tokens": 4}, {}),
    ("vop_f", {"shallow": 2}, {}),
    ("mv_adapter", {"cmt_layers": 2}, {}),
    ("vop_f", {"shallow": 2}, {"activation_checkpointing": True}),
    ("cross_modal_adapter", {"r": 4, "ds": 16}, {}),
    ("st_adapter", {}, {}),
    ("partial", {}, {}),
    ("coop", {"tokens": 4}, {}),
    ("x_pool+full", {}, {}),
    ("x_clip+full", {}, {}),
    ("ts2_net", {}, {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "setting", "how"), CASES, ids=str)
def test_the_estimate_is_within_a_tenth_of_the_measured_peak(method, setting, how):
    needed = methods.similarity_of(method) or "mean_pool"
    spec = tiny.spec(method, setting=setting, batch=5, frames=4, words=16, similarity=needed)
    assert memory.peak_bytes(spec, CLIP, **how) == pytest.approx(measured(spec, **how), rel=0.1)


def measured(spec, micro_batch=None, activation_checkpointing=False):
    model, recipe = model_on(weights.random(CLIP, 0), spec, torch.device("cpu")), spec.recipe
    for tower in (model.adapted.clip.vision_model, model.adapted.clip.text_model):
        tower.encoder.recompute = activation_checkpointing
    shape = (recipe.batch, recipe.frames, 3, CLIP.image, CLIP.image)
    ids = torch.randint(1, 1000, (recipe.batch, recipe.words), generator=torch.Generator().manual_seed(0))
    ids[:, -1] = CLIP.eot
    batch = BatchTensors(ids, torch.zeros(shape, dtype=torch.uint8), torch.ones(shape[:2], dtype=torch.bool), None)
    state = TrainState(model, build_optimizer(parameter_groups(model.trained, recipe), recipe, 10), step=5)
    step = lambda: run.train_step(spec, state, Resident(batch), micro_batch)  # noqa: E731
    return memory.measured_peak(state, batch, step)


@pytest.mark.slow
def test_full_tuning_of_a_long_video_fits_a_card_of_24_gib_when_blocks_are_computed_again():
    """ViT-L/14, 64 frames, 128 videos, one at a time: what docs/methods.md says."""
    spec, clip = tiny.spec("full", batch=128, frames=64, words=64), geometry.geometry("vit-l-14")

    def peak(vision, text):
        towers = {"vision": replace(clip.vision, layers=vision), "text": replace(clip.text, layers=text)}
        return memory.peak_bytes(spec, replace(clip, **towers), **SPLIT) / 2**30

    least = peak(2, 2)  # the other blocks of a tower take what its third one takes
    more = (clip.vision.layers - 2) * (peak(3, 2) - least) + (clip.text.layers - 2) * (peak(2, 3) - least)
    assert 9 < least + more < 12
