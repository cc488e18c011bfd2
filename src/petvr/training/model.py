"""What one run trains: CLIP under a method, a similarity, and the contrastive loss of all four papers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from petvr.clip import weights as clip_weights
from petvr.clip.towers import Attention, Clip
from petvr.errors import PetvrError
from petvr.methods import adapt, similarity_of
from petvr.similarity import build_similarity
from petvr.spec import RunSpec
from petvr.training import precision
from petvr.training.determinism import torch_generator

if TYPE_CHECKING:
    from petvr.methods._adapted import Adapted
    from petvr.similarity._head import Similarity

HEAD = "similarity."
Features = dict[str, Tensor]  # of texts or of videos, one row each, as petvr.similarity makes them


@dataclass(frozen=True)
class BatchTensors:
    """A batch of B as the towers read it: ids [B, W], pixels [V, F, 3, H, W], mask [V, F], and the video of each sample
    [B], a row of pixels; None: sample b has row b. The mask stays on the CPU: what it decides waits for no device.

    sentences: what a frozen text tower gives for the ids, where that is known already.
    """

    ids: Tensor
    pixels: Tensor
    mask: Tensor
    video_of_sample: Tensor | None
    sentences: Features | None = None


class BatchSource(Protocol):
    """Where a training step has its batch from: the data, or in measurements the same batch each time."""

    def at(self, step: int, device: torch.device) -> BatchTensors: ...


class VisionEncoder(Protocol):
    """The method's vision tower, or one that goes on from a frozen beginning (petvr.training.frozen_feature_cache)."""

    def encode_frames(self, pixels: Tensor, mask: Tensor, texts: Tensor | None) -> Tensor: ...
    def encode_patches(self, pixels: Tensor, mask: Tensor, texts: Tensor | None) -> tuple[Tensor, Tensor]: ...


class Model:
    """`adapted` encodes, `similarity` scores. Trained tensors have a name and the part that sets their rate."""

    def __init__(self, adapted: Adapted, similarity: Similarity, *, mode: str = "fp32") -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "tf32"
        if mode != "fp32":
            precision.prepare(adapted, mode)
        self.adapted, self.similarity, self.mode = adapted, similarity, mode
        self.vision: VisionEncoder = adapted
        self.trained: dict[str, tuple[nn.Parameter, str]] = {
            name: (parameter, adapted.part(name)) for name, parameter in adapted.trainable().items()
        }
        for name, parameter in similarity.named_parameters():
            if parameter.requires_grad:
                self.trained[HEAD + name] = (parameter, "head")

    @property
    def logit_scale(self) -> nn.Parameter:
        return self.adapted.clip.logit_scale

    @property
    def device(self) -> torch.device:
        return self.logit_scale.device

    def to(self, device: torch.device) -> Model:
        for module in (self.adapted.to(device), self.similarity.to(device)):
            for part in module.modules():
                if isinstance(part, Attention):
                    part.pack()
        return self

    @property
    def compiled(self) -> bool:
        """Whether training runs through compiled blocks (petvr.clip.compiled)."""
        return self.adapted.clip.vision_model.encoder.compiled is not None

    def set_training(self, training: bool) -> None:
        if self.adapted.training != training or self.similarity.training != training:
            self.adapted.train(training)
            self.similarity.train(training)

    def autocast(self) -> contextlib.AbstractContextManager:
        """Around the towers, in training and evaluation."""
        dtype = precision.AUTOCAST.get(self.mode)
        return torch.autocast(self.device.type, dtype=dtype) if dtype else contextlib.nullcontext()

    def encode_texts(self, ids: Tensor, sentences: Features | None = None) -> Features:
        """[B, W] -> the similarity's text side, fp32, B rows each; sentences: what `encode_sentences` gives for them"""
        return self.similarity.texts(self.encode_sentences(ids) if sentences is None else sentences)

    def encode_sentences(self, ids: Tensor) -> Features:
        """As `encode_texts`, but what the text tower gives and the similarity's text side needs."""
        with self.autocast():
            if "words" in self.similarity.NEEDS:
                return dict(zip(("text", "words", "word_mask"), self.adapted.encode_all_words(ids), strict=True))
            return {"text": self.adapted.encode_texts(ids)}

    def encode_videos(self, pixels: Tensor, mask: Tensor, sentences: Tensor | None = None) -> Features:
        """uint8 or normalised [B, F, 3, H, W], [B, F] -> the similarity's video side, fp32, B rows each

        sentences [C, E] are the candidates for methods whose vision tower looks at some; they get no gradient.
        """
        return self.similarity.videos(self.encode_frames(pixels, mask, sentences))

    def encode_frames(self, pixels: Tensor, mask: Tensor, sentences: Tensor | None = None) -> Features:
        """As `encode_videos`, but what the vision tower gives and the similarity's video side needs."""
        if not pixels.is_floating_point():
            pixels = self.adapted.clip.normalise(pixels)
        candidates = sentences.detach() if self.adapted.needs_texts and sentences is not None else None
        with self.autocast():
            if "patches" in self.similarity.NEEDS:
                frames, patches = self.vision.encode_patches(pixels, mask, candidates)
                features = {"frames": frames, "patches": patches}
            else:
                features = {"frames": self.vision.encode_frames(pixels, mask, candidates)}
        return features | {"mask": mask.to(pixels.device, non_blocking=True)}

    def scores(self, texts: Features, videos: Features) -> Tensor:
        """Both sides -> [N, M], before the logit scale"""
        return self.similarity.score(texts, videos)

    def levels(self, texts: Features, videos: Features) -> Tensor:
        """Both sides -> [L, N, M], before the logit scale: what has a contrastive loss of its own"""
        return self.similarity.levels(texts, videos)

    def loss(self, batch: BatchTensors) -> Tensor:
        """The contrastive loss of a batch in one piece, with its graph."""
        texts = self.encode_texts(batch.ids, batch.sentences)
        videos = self.encode_videos(batch.pixels, batch.mask, texts["text"])
        if batch.video_of_sample is not None:
            videos = {name: tensor[batch.video_of_sample] for name, tensor in videos.items()}
        return contrastive(self.levels(texts, videos), self.similarity.LEVELS, self.logit_scale)

    def layer_norm_weights(self) -> set[str]:
        """Names in `trained` that are weights of LayerNorms."""
        head = {HEAD + name for name in layer_norm_weights(self.similarity)}
        return layer_norm_weights(self.adapted) | head

    @property
    def stochastic(self) -> bool:
        """Whether two passes over one text or video may differ in training."""
        parts = [*self.adapted.modules(), *self.similarity.modules()]
        drops = any(isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0 for part in parts)
        return drops or self.adapted.stochastic or self.similarity.STOCHASTIC

    def counts(self) -> tuple[dict[str, int], int]:
        """(trainable numbers by part, all numbers)"""
        by_part = {"clip": 0, "new": 0, "head": 0}
        for parameter, part in self.trained.values():
            by_part[part] += parameter.numel()
        everything = [*self.adapted.parameters(), *self.similarity.parameters()]
        return by_part, sum(parameter.numel() for parameter in everything)

    def state(self) -> dict[str, Tensor]:
        """A copy of the trained tensors on the CPU."""
        return {name: parameter.detach().to("cpu", copy=True) for name, (parameter, _) in self.trained.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        for name, (parameter, _) in self.trained.items():
            parameter.copy_(state[name])


def build_model(spec: RunSpec, weights: Path, device: torch.device) -> Model:
    """The spec's method and similarity on the weights in the folder `weights`."""
    return model_on(clip_weights.load_clip(weights), spec, device)


def model_on(clip: Clip, spec: RunSpec, device: torch.device) -> Model:
    """`clip` under the spec's method, with its similarity; new parameters are drawn on the CPU."""
    recipe = spec.recipe
    needed = similarity_of(spec.method)
    if needed not in (None, recipe.similarity):
        raise PetvrError(
            f"{spec.id}: method '{spec.method}' needs recipe.similarity '{needed}', '{recipe.similarity}' given"
        )
    adapted = adapt(
        clip,
        spec.method,
        dict(spec.setting),
        frames=recipe.frames,
        words=recipe.words,
        generator=torch_generator(spec.seed, "method"),
        train_logit_scale=spec.train and recipe.logit_scale == "train",
    )
    if recipe.logit_scale == "none":
        with torch.no_grad():
            adapted.clip.logit_scale.zero_()
    similarity = build_similarity(
        recipe.similarity,
        recipe.similarity_setting,
        adapted.embed_dim,
        torch_generator(spec.seed, "similarity"),
        clip=adapted.clip,
        frames=recipe.frames,
        words=recipe.words,
    )
    return Model(adapted, similarity, mode=recipe.precision).to(device)


def layer_norm_weights(module: nn.Module) -> set[str]:
    """Names of the weights of all LayerNorms, whatever they are called."""
    return {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.LayerNorm)}


def symmetric(scores: Tensor, logit_scale: Tensor) -> Tensor:
    """Mean of both cross-entropies over B x B scores whose diagonal holds the true pairs (docs/protocols.md).

    scores [B, B]: text n with video m before the scale; `logit_scale` is its logarithm, as CLIP stores it.
    Two captions of one video in a batch count as negatives of each other, as in CLIP4Clip.
    """
    logits = scores.float() * logit_scale.float().exp()
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def contrastive(levels: Tensor, weights: Sequence[float], logit_scale: Tensor) -> Tensor:
    """The weighted sum of `symmetric` over the levels [L, B, B] that a similarity's score is the weighted sum of."""
    return sum(weight * symmetric(level, logit_scale) for weight, level in zip(weights, levels, strict=True))


@torch.no_grad()
def clamp_logit_scale(logit_scale: nn.Parameter, largest: float) -> None:
    """Keep exp(logit_scale) at or below `largest`; called after every step of the optimiser."""
    logit_scale.clamp_(max=math.log(largest))
