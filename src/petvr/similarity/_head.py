"""What every similarity is made of: a text side, a video side, and the scores of pairs in blocks of bounded memory.

Legend: N texts, M videos, F frames, W words, P patches, E embedding, L levels. Features are named tensors with one
leading dimension, N or M: "text" [N, E], "words" [N, W, E] with "word_mask" [N, W]; "frames" [M, F, E] with
"mask" [M, F], "patches" [M, F, P, E].
"""

from __future__ import annotations

from collections.abc import Iterator
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
class HeadContext:
    """What a similarity is built for: E, F, the longest text W, and the CLIP its weights may start from, if any."""

    embed: int
    frames: int
    words: int
    clip: Clip | None


class Similarity(nn.Module):
    """Text side and video side are computed once per text and video, `pairs` once per pair.

    NEEDS: what the towers have to give besides the text's and the frames' features: "words", "patches".
    PADDED: the sides' tensors whose second dimension runs along the side's "mask"; blocks cut them to what is valid.
    LEVELS: the weights of the scores that make up the whole; in training each level has its own contrastive loss.
    STOCHASTIC: two passes over one video in training differ, though no dropout is seen.
    ONE_VECTOR: `pairs` is the product of the sides' "text" [N, E] and "video" [M, E], both of length 1.
    IN_CACHE: a block is so many times smaller, where its numbers are passed over so often that they should stay in the
    processor's cache.
    """

    NEEDS: tuple[str, ...] = ()
    PADDED: tuple[str, ...] = ()
    LEVELS: tuple[float, ...] = (1.0,)
    STOCHASTIC = False
    ONE_VECTOR = False
    IN_CACHE = 1

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
        if (
            self.training
        ):  # in one piece: dropout draws once for all pairs; petvr.training.gradient_cache bounds the memory
            with torch.autocast(videos["seen"].device.type, enabled=False):
                return self._block(texts, videos)
        room = max(1, BLOCK // self.IN_CACHE // self.pair_cost(texts, videos))
        high = max(1, min(size(texts), isqrt(room)))
        down, across = Rows(texts, self.PADDED), Rows(videos, self.PADDED)
        with torch.autocast(videos["seen"].device.type, enabled=False):
            out = [
                torch.cat([self._block(left, right) for right in across.parts(max(1, room // high))], dim=2)
                for left in down.parts(high)
            ]
        return across.back(down.back(torch.cat(out, dim=1) if len(out) > 1 else out[0], 1), 2)

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


class Rows:
    """One side in blocks. Where lengths differ, rows of like length go together, cut to the longest of their block."""

    def __init__(self, features: Features, padded: tuple[str, ...]) -> None:
        self.features, self.padded = features, {name for name in (*padded, "mask") if name in features}
        self.order = self.lengths = None
        if "mask" in features and len(self.padded) > 1:
            mask = features["mask"]
            places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
            lengths = (mask * places).amax(dim=1).clamp(min=1)  # up to the last valid place
            if bool((lengths < mask.shape[1]).any()):
                self.order = lengths.argsort(descending=True, stable=True)
                self.lengths = lengths[self.order].tolist()

    def parts(self, rows: int) -> Iterator[Features]:
        for start in range(0, size(self.features), rows):
            if self.order is None:
                yield {name: tensor[start : start + rows] for name, tensor in self.features.items()}
                continue
            which, longest = self.order[start : start + rows], self.lengths[start]
            yield {
                name: (tensor[:, :longest] if name in self.padded else tensor)[which]
                for name, tensor in self.features.items()
            }

    def back(self, scores: Tensor, dim: int) -> Tensor:
        """Scores of the parts, one after the other along dim, in the order of the features."""
        return scores if self.order is None else scores.index_select(dim, self.order.argsort())


def hidden(features: Features, mask: str, *names: str) -> Features:
    """fp32, and zero where the mask is False: a NaN there must reach neither scores nor gradients."""
    single = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in features.items()}
    for name in names:
        if name in single and mask in single:
            valid = single[mask][(...,) + (None,) * (single[name].dim() - 2)]
            single[name] = single[name].masked_fill(~valid, 0)
    return single


def unit(x: Tensor) -> Tensor:
    return functional.normalize(x, dim=-1)


def mean_of(frames: Tensor, mask: Tensor) -> Tensor:
    """CLIP4Clip's meanP: frames [M, F, E] normalised, the valid ones averaged, normalised: [M, E]."""
    frames = unit(frames).masked_fill(~mask[..., None], 0)
    return unit(frames.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1))


def attended(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """softmax over a dimension without what the mask hides; finite where nothing is left."""
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=dim)


def frame_major(frames: Tensor) -> Tensor:
    """frames [m, F, E] -> [E, F m]: products with it are [.., F, m], which sums over frames and words pass quickly."""
    return frames.permute(1, 0, 2).flatten(0, 1).T
