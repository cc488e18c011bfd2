"""What every similarity is made of: a text side, a video side, and the scores of pairs in blocks of bounded memory.

Legend: N texts, M videos, F frames, W words, P patches, E embedding, L levels. Features are named tensors with one
leading dimension, N or M: "text" [N, E], "words" [N, W, E] with "word_mask" [N, W]; "frames" [M, F, E] with
"mask" [M, F], "patches" [M, F, P, E].
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from petvr.clip.towers import Clip

Features = dict[str, Tensor]

BLOCK = 2**24  # numbers that live at a time while pairs are scored (64 MiB)


@dataclass(frozen=True)
class Made:
    """What a similarity is built for: E, F, the longest text W, and the CLIP its weights may start from, if any."""

    embed: int
    frames: int
    words: int
    clip: Clip | None


class Similarity(nn.Module):
    """Text side and video side are computed once per text and video, `pairs` once per pair.

    NEEDS: what the towers have to give besides the text's and the frames' features: "words", "patches".
    LEVELS: the weights of the scores that make up the whole; in training each level has its own contrastive loss.
    RANDOM: two passes over one video in training differ, though no dropout is seen.
    """

    NEEDS: tuple[str, ...] = ()
    LEVELS: tuple[float, ...] = (1.0,)
    RANDOM = False

    def text_side(self, features: Features) -> Features:
        return features

    def video_side(self, features: Features) -> Features:
        return features

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        """Both sides -> [n, m], or [L, n, m] where there are several levels."""
        raise TypeError(f"{type(self).__name__} says nothing of pairs")

    def pair_cost(self, texts: Features, videos: Features) -> int:
        """Numbers that live for one pair while it is scored."""
        return 1

    def texts(self, features: Features) -> Features:
        """The text side in fp32; words behind EOT are zero from here on."""
        features = hidden(features, "word_mask", "words")
        with torch.autocast(features["text"].device.type, enabled=False):
            return self.text_side(features)

    def videos(self, features: Features) -> Features:
        """The video side in fp32; masked frames are zero from here on."""
        if features.get("mask") is None:
            frames = features["frames"]
            features = features | {"mask": torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)}
        features = hidden(features, "mask", "frames", "patches")
        with torch.autocast(features["frames"].device.type, enabled=False):
            return self.video_side(features) | {"seen": features["mask"].any(dim=1)}

    def levels(self, texts: Features, videos: Features) -> Tensor:
        """Both sides -> [L, N, M] in fp32, before exp(logit_scale); a video without a valid frame scores 0."""
        if self.training:  # in one piece: dropout draws once for all pairs; petvr.training.chunks bounds the memory
            with torch.autocast(videos["seen"].device.type, enabled=False):
                return self._block(texts, videos)
        rows = size(texts)
        room = max(1, BLOCK // self.pair_cost(texts, videos))
        high = max(1, min(rows, isqrt(room)))
        wide = max(1, room // high)
        with torch.autocast(videos["seen"].device.type, enabled=False):
            out = [
                torch.cat([self._block(part(texts, a, a + high), part(videos, b, b + wide)) for b in starts], dim=2)
                for a in range(0, rows, high)
                for starts in [range(0, size(videos), wide)]
            ]
        return torch.cat(out, dim=1) if len(out) > 1 else out[0]

    def score(self, texts: Features, videos: Features) -> Tensor:
        """Both sides -> [N, M]: the levels' weighted sum."""
        return combined(self.levels(texts, videos), self.LEVELS)

    def forward(
        self,
        text: Tensor,
        frames: Tensor,
        mask: Tensor | None = None,
        *,
        words: Tensor | None = None,
        word_mask: Tensor | None = None,
        patches: Tensor | None = None,
    ) -> Tensor:
        """What the towers give -> [N, M]; what a similarity does not need may be left out."""
        texts, videos = {"text": text}, {"frames": frames}
        for features, more in ((texts, {"words": words, "word_mask": word_mask}), (videos, {"mask": mask})):
            features.update((key, value) for key, value in more.items() if value is not None)
        if patches is not None:
            videos["patches"] = patches
        return self.score(self.texts(texts), self.videos(videos))

    def _block(self, texts: Features, videos: Features) -> Tensor:
        scores = self.pairs(texts, videos)
        return (scores if scores.dim() == 3 else scores[None]).masked_fill(~videos["seen"], 0)


def combined(levels: Tensor, weights: tuple[float, ...]) -> Tensor:
    """[L, N, M] -> [N, M]"""
    if len(weights) == 1:
        return levels[0]
    return sum(weight * level for weight, level in zip(weights, levels, strict=True))


def size(features: Features) -> int:
    return len(next(iter(features.values())))


def part(features: Features, start: int, stop: int) -> Features:
    return {name: tensor[start:stop] for name, tensor in features.items()}


def hidden(features: Features, mask: str, *names: str) -> Features:
    """fp32, and zero where the mask is False: a NaN there must reach neither scores nor gradients."""
    found = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in features.items()}
    for name in names:
        if name in found and mask in found:
            shown = found[mask][(...,) + (None,) * (found[name].dim() - 2)]
            found[name] = found[name].masked_fill(~shown, 0)
    return found


def unit(x: Tensor) -> Tensor:
    return functional.normalize(x, dim=-1)


def mean_of(frames: Tensor, mask: Tensor) -> Tensor:
    """CLIP4Clip's meanP: frames [M, F, E] normalised, the valid ones averaged, normalised: [M, E]."""
    frames = unit(frames).masked_fill(~mask[..., None], 0)
    return unit(frames.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1))


def attended(scores: Tensor, mask: Tensor) -> Tensor:
    """softmax over the last dimension without what the mask hides; finite where nothing is left."""
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1)
