"""A small CLIP, a method in it, one short training on all probes at once, and the accuracy of each probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.clip.towers import Clip
from petvr.probes import PAIRS, STEPS, ProbedModel, clips
from petvr.spec import Recipe, RunSpec
from petvr.training import run
from petvr.training.checkpoint import TrainState
from petvr.training.determinism import prepare_device
from petvr.training.model import BatchTensors, Model, model_on
from petvr.training.optimizer import build_optimizer, parameter_groups

TOWER = Tower(width=32, layers=2, heads=2, mlp=128)
CONFIG = ClipConfig(TOWER, TOWER, image=clips.SIZE, patch=8, positions=77, vocab=clips.EOT + 1, eot=clips.EOT, embed=32)
STILLS, STILLS_BATCH, STILLS_STEPS, STILLS_RATE = 4096, 64, 400, 4e-3
WORD_SCALE = 15.0
TRAIN_PAIRS, PAIRS_PER_STEP = 192, 18  # of each probe; of all of them
SETTINGS: dict[str, dict[str, Any]] = {  # where the papers' do not fit a CLIP of two blocks of width 32
    "cross_modal_adapter": {"ds": 8},
    "mv_adapter": {"width": 16, "cmt_dim": 8},
    "st_adapter": {"width": 32},
    "vop_f": {"shallow": 1},
}
RECIPE = Recipe(
    optimizer="adamw", lr_clip=1e-3, lr_new=1e-2, lr_head=4e-3, weight_decay=0.0, no_decay="none", betas=(0.9, 0.98),
    eps=1e-6, warmup=0.1, schedule="warmup_cosine", clip_global=1.0, clip_tensor=None, epochs=1, batch=36,
    drop_last=True, precision="fp32", frames=clips.FRAMES, words=clips.WORDS, sampler="uniform_mid",
    captions="all_pairs", augment="none", data_order="fixed", similarity="mean_pool", similarity_setting={},
    logit_scale="train", logit_scale_max=100.0, evaluations_per_epoch=0, selection="last", select_by="t2v/R@1",
    dsl="none", dsl_temperature=0.01,
)  # fmt: skip
BLOCK = 50  # clips encoded at once
TIE = 1e-5  # of the largest score: what rounding makes of nothing
Step = Callable[[], None]


class InTurn:
    """`size` rows of each part in every step, from the front again at the end: a source of batches for train_step."""

    def __init__(self, parts: Iterable[BatchTensors], size: int) -> None:
        self.parts, self.size = list(parts), size

    def at(self, step: int, device: torch.device) -> BatchTensors:
        start = step * self.size % len(self.parts[0].ids)
        rows = slice(start, start + self.size)
        ids, pixels, mask = (
            torch.cat([getattr(part, name)[rows] for part in self.parts]) for name in ("ids", "pixels", "mask")
        )
        return BatchTensors(ids, pixels, mask, None)


def spec_of(model: ProbedModel, setting: Mapping[str, Any], **changes: Any) -> RunSpec:
    recipe = RECIPE.model_copy(update={"similarity": model.similarity, **changes})
    return RunSpec(
        paper="probes", dataset="probes", backbone="probes", method=model.method, setting=dict(setting), seed=0,
        train=model.method != "zero_shot", recipe=recipe, sources={}, versions=model.versions(),
    )  # fmt: skip


def trained(clip: Clip, spec: RunSpec, data: InTurn, steps: int, stepped: Step) -> Model:
    model = model_on(clip, spec, torch.device("cpu"))
    if spec.train:
        groups = parameter_groups(model.trained, spec.recipe, model.layer_norm_weights())
        state = TrainState(model, build_optimizer(groups, spec.recipe, steps))
        for _ in range(steps):
            run.train_step(spec, state, data, None)
            stepped()
    return model


@cache
def _still_weights() -> dict[str, Tensor]:
    spec = spec_of(ProbedModel("full", "mean_pool"), {"rule": "everything"}, frames=1, lr_clip=STILLS_RATE)
    data = InTurn([clips.stills(STILLS)], STILLS_BATCH)
    clip = weights.random(CONFIG, 0)
    with torch.no_grad():  # so that words which no caption of a still holds differ from one another
        clip.text_model.embeddings.token_embedding.weight.mul_(WORD_SCALE)
    model = trained(clip, spec, data, STILLS_STEPS, lambda: None)
    return {name: tensor.clone() for name, tensor in model.adapted.clip.state_dict().items()}


def clip_of_stills() -> Clip:
    """A small CLIP that has read stills and their captions, and nothing of time."""
    clip = weights.random(CONFIG, 0)
    clip.load_state_dict(_still_weights())
    return clip


@cache
def _pairs(probe: str, split: str, count: int) -> BatchTensors:
    return clips.pairs(probe, split, count)


def measure_model(
    model: ProbedModel, probes: Iterable[str], *, steps: int = STEPS, stepped: Step = lambda: None
) -> dict[str, float]:
    """Probe -> accuracy in percent, after one training on all of them; the same at each call on one machine."""
    prepare_device("cpu", 1)
    probes, clip = list(probes), clip_of_stills()
    data = InTurn([_pairs(probe, "train", TRAIN_PAIRS) for probe in probes], 2 * PAIRS_PER_STEP // len(probes))
    spec = spec_of(model, SETTINGS.get(model.method, {}))
    built = trained(clip, spec, data, steps, stepped)
    return {probe: accuracy(built, _pairs(probe, "test", PAIRS)) for probe in probes}


@torch.inference_mode()
def accuracy(model: Model, data: BatchTensors) -> float:
    """Percent of pairs whose clips get their own captions; a difference at the level of rounding counts half."""
    model.set_training(False)
    texts, scores = model.encode_texts(data.ids), []
    for start in range(0, len(data.ids), BLOCK):
        rows = slice(start, start + BLOCK)
        videos = model.encode_videos(data.pixels[rows], data.mask[rows], texts["text"])
        block = model.scores({name: tensor[rows] for name, tensor in texts.items()}, videos)
        both = block.unflatten(0, (-1, 2)).unflatten(2, (-1, 2))  # [pair, text, pair, video]
        scores.append(both.diagonal(dim1=0, dim2=2))  # [text, video, pair]
    own = torch.cat(scores, dim=2)
    difference = own[0, 0] + own[1, 1] - own[0, 1] - own[1, 0]
    right = (difference > 0).double().masked_fill(difference.abs() <= TIE * own.abs().max(), 0.5)
    return 100 * float(right.mean())
