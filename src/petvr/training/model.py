"""What one run trains: CLIP under a method, and a similarity."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from petvr import atomic
from petvr.clip import weights as clip_weights
from petvr.errors import PetvrError
from petvr.methods import adapt
from petvr.methods import similarity as needed_similarity
from petvr.similarity import build as build_similarity
from petvr.spec import RunSpec
from petvr.training import groups, precision, seeds

HEAD = "similarity."
Features = dict[str, Tensor]  # of texts or of videos, one row each, as petvr.similarity makes them


class Model:
    """`adapted` encodes, `similarity` scores. Trained tensors have a name and the part that sets their rate."""

    def __init__(self, adapted: nn.Module, similarity: nn.Module, *, mode: str = "fp32") -> None:
        precision.prepare(adapted, mode)
        self.adapted, self.similarity, self.mode = adapted, similarity, mode
        self.prefix: int | None = None  # blocks that are already done in what is read (petvr.training.prefix)
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
        self.adapted.to(device)
        self.similarity.to(device)
        return self

    def mode_of(self, training: bool) -> None:
        if self.adapted.training != training or self.similarity.training != training:
            self.adapted.train(training)
            self.similarity.train(training)

    def texts(self, ids: Tensor) -> Features:
        """[B, W] -> the similarity's text side, fp32, B rows each"""
        with precision.forward(self.mode, self.device):
            if "words" in self.similarity.NEEDS:
                features = dict(zip(("text", "words", "word_mask"), self.adapted.encode_all_words(ids), strict=True))
            else:
                features = {"text": self.adapted.encode_texts(ids)}
        return self.similarity.texts(features)

    def frames(self, pixels: Tensor, mask: Tensor, sentences: Tensor | None = None) -> Features:
        """uint8 or normalised [B, F, 3, H, W], [B, F] -> the similarity's video side, fp32, B rows each

        sentences [C, E] are the candidates for methods whose vision tower looks at some; they get no gradient.
        """
        return self.similarity.videos(self.look(pixels, mask, sentences))

    def look(self, pixels: Tensor, mask: Tensor, sentences: Tensor | None = None) -> Features:
        """As `frames`, but what the vision tower gives and the similarity's video side needs."""
        if not pixels.is_floating_point():
            pixels = self.adapted.clip.normalise(pixels)
        with precision.forward(self.mode, self.device):
            given = sentences.detach() if self.adapted.pool and sentences is not None else None
            if "patches" in self.similarity.NEEDS:
                frames, patches = self.adapted.encode_patches(pixels, mask, given, self.prefix)
                return {"frames": frames, "patches": patches, "mask": mask}
            if self.prefix is not None and self.prefix > self.adapted.clip.config.vision.layers:
                return {"frames": pixels, "mask": mask}
            return {"frames": self.adapted.encode_frames(pixels, mask, given, self.prefix), "mask": mask}

    def scores(self, texts: Features, videos: Features) -> Tensor:
        """Both sides -> [N, M], before the logit scale"""
        return self.similarity.score(texts, videos)

    def levels(self, texts: Features, videos: Features) -> Tensor:
        """Both sides -> [L, N, M], before the logit scale: what has a contrastive loss of its own"""
        return self.similarity.levels(texts, videos)

    def norms(self) -> set[str]:
        """Names in `trained` that are weights of LayerNorms."""
        return groups.layer_norm_weights(self.adapted) | {
            HEAD + name for name in groups.layer_norm_weights(self.similarity)
        }

    def has_dropout(self) -> bool:
        """Whether two passes over one text or video may differ in training."""
        if self.similarity.RANDOM or self.adapted.random:
            return True
        parts = [*self.adapted.modules(), *self.similarity.modules()]
        return any(getattr(part, "p", 0) for part in parts if "dropout" in type(part).__name__.lower())

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


def build(spec: RunSpec, weights: Path, device: torch.device) -> Model:
    """The spec's method and similarity on the weights in the folder `weights`; new parameters are drawn on the CPU."""
    recipe = spec.recipe
    needed = needed_similarity(spec.method)
    if needed not in (None, recipe.similarity):
        raise PetvrError(
            f"{spec.id}: method '{spec.method}' needs recipe.similarity '{needed}', '{recipe.similarity}' given"
        )
    adapted = adapt(
        clip_weights.load(weights),
        spec.method,
        dict(spec.setting),
        frames=recipe.frames,
        words=recipe.words,
        generator=seeds.tensors(spec.seed, "method"),
        train_logit_scale=spec.train and recipe.logit_scale == "train",
    )
    similarity = build_similarity(
        recipe.similarity,
        recipe.similarity_setting,
        adapted.embed_dim,
        seeds.tensors(spec.seed, "similarity"),
        clip=adapted.clip,
        frames=recipe.frames,
        words=recipe.words,
    )
    return Model(adapted, similarity, mode=recipe.precision).to(device)


def save(state: dict[str, Tensor], path: Path) -> None:
    """Trained tensors as safetensors, named as Adapted names them; those of the similarity begin with `similarity.`."""
    from safetensors.torch import save_file

    with atomic.replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)
