"""What every similarity is made of: a text side, a video side, and the scores of pairs in blocks of bounded memory.

Legend: N texts, M videos, F frames, W words, P patches, E embedding, L levels. Features are named tensors with one
leading dimension, N or M: "text" [N, E], "words" [N, W, E] with "word_mask" [N, W]; "frames" [M, F, E] with
"mask" [M, F], "patches" [M, F, P, E].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
    What a tensor has more than the mask stands in front and stays. PLACES_FIRST: `pairs` gets them, the mask too, with
    places first and rows second.
    LEVELS: the weights of the scores that make up the whole; in training each level has its own contrastive loss.
    STOCHASTIC: two passes over one video in training differ, though no dropout is seen.
    ONE_VECTOR: `pairs` is the product of the sides' "text" [N, E] and "video" [M, E], both of length 1.
    IN_CACHE: a block is so many times smaller, where its numbers are passed over so often that they should stay in the
    processor's cache. TALL: so many times more texts than a square block has are in one, where sums run along texts.
    """

    NEEDS: tuple[str, ...] = ()
    PADDED: tuple[str, ...] = ()
    PLACES_FIRST = False
    LEVELS: tuple[float, ...] = (1.0,)
    STOCHASTIC = False
    ONE_VECTOR = False
    IN_CACHE = 1
    TALL = 1

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
                return self._block(*(Rows(side, self).whole() for side in (texts, videos)))
        room = max(1, BLOCK // self.IN_CACHE // self.pair_cost(texts, videos))
        high = max(1, min(size(texts), isqrt(room) * self.TALL))
        down, across = Rows(texts, self), Rows(videos, self)
        wide = max(1, room // high)
        with torch.autocast(videos["seen"].device.type, enabled=False):
            if down.copied * high >= across.copied * wide:  # the larger copy is made once for all its blocks
                again = across.repeated_parts(wide)
                rows = [joined([self._block(part, other) for other in again()], 2) for part in down.parts(high)]
                out = joined(rows, 1)
            else:
                again = down.repeated_parts(high)
                rows = [joined([self._block(other, part) for other in again()], 1) for part in across.parts(wide)]
                out = joined(rows, 2)
        return across.back(down.back(out, 1), 2)

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
        scores = scores if scores.dim() == 3 else scores[None]
        return scores if all_shown(videos["seen"]) else scores.masked_fill(~videos["seen"], 0)


def combined(levels: Tensor, weights: tuple[float, ...]) -> Tensor:
    """[L, N, M] -> [N, M]"""
    if len(weights) == 1:
        return levels[0]
    return sum(weight * level for weight, level in zip(weights, levels, strict=True))


def joined(parts: list[Tensor], dim: int) -> Tensor:
    return torch.cat(parts, dim=dim) if len(parts) > 1 else parts[0]


def size(features: Features) -> int:
    return len(next(iter(features.values())))


class Rows:
    """One side in blocks. Where lengths differ, rows of like length go together, cut to the longest of their block."""

    def __init__(self, features: Features, head: Similarity) -> None:
        self.features, self.padded = features, {name for name in (*head.PADDED, "mask") if name in features}
        self.turned = self.padded if head.PLACES_FIRST else set()
        self.order = self.lengths = None
        if "mask" in features and len(self.padded) > 1 and not head.training:
            mask = features["mask"]
            places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
            lengths = (mask * places).amax(dim=1).clamp(min=1)  # up to the last valid place
            if bool((lengths < mask.shape[1]).any()):
                self.order = lengths.argsort(descending=True, stable=True)
                self.lengths = lengths[self.order].tolist()

    @property
    def copied(self) -> int:
        """Numbers of a row that its block copies."""
        return 0 if self.order is None else sum(tensor[0].numel() for tensor in self.features.values())

    def whole(self) -> Features:
        return {
            name: tensor.transpose(0, 1) if name in self.turned else tensor for name, tensor in self.features.items()
        }

    def parts(self, rows: int) -> Iterator[Features]:
        for start in range(0, size(self.features), rows):
            if self.order is None:
                yield {
                    name: tensor[:, start : start + rows] if name in self.turned else tensor[start : start + rows]
                    for name, tensor in self.whole().items()
                }
                continue
            which, less = self.order[start : start + rows], self.features["mask"].shape[1] - self.lengths[start]
            yield {
                name: tensor[: len(tensor) - less][:, which]
                if name in self.turned
                else (tensor[:, : tensor.shape[1] - less] if name in self.padded else tensor)[which]
                for name, tensor in self.whole().items()
            }

    def repeated_parts(self, rows: int) -> Callable[[], Iterable[Features]]:
        """`parts` as often as it is called; copied once where all copies together are no larger than a block."""
        if self.copied * size(self.features) > BLOCK:
            return lambda: self.parts(rows)
        kept = list(self.parts(rows))
        return lambda: kept

    def back(self, scores: Tensor, dim: int) -> Tensor:
        """Scores of the parts, one after the other along dim, in the order of the features."""
        if self.order is None:
            return scores
        order = self.order.argsort()
        if dim == scores.dim() - 1:  # where torch's index_select takes ten times as long on a CPU
            return scores.gather(dim, order.expand(scores.shape))
        return scores.index_select(dim, order)


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


def all_shown(mask: Tensor) -> bool:
    """Whether nothing is hidden, as in most blocks of like length; a GPU is not waited for to know it."""
    return mask.device.type == "cpu" and bool(mask.all())


def attended(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """softmax over a dimension without what the mask hides; finite where nothing is left."""
    if all_shown(mask):
        return scores.softmax(dim=dim)
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=dim)


def frame_major(frames: Tensor) -> Tensor:
    """frames [m, F, E] -> [E, F m]: products with it are [.., F, m], which sums over frames and words pass quickly."""
    return frames.permute(1, 0, 2).flatten(0, 1).T
