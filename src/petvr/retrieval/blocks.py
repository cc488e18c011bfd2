"""Blocks of captions small enough for memory, in which all captions of a video stay together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from petvr.errors import PetvrError

ELEMENTS = 1 << 20  # scores in one block: 4 MiB in float32, about ten times that at the worst moment of dual-softmax


@dataclass(frozen=True)
class Block:
    captions: Tensor  # int64 [R], ordered by video
    owner: Tensor  # int64 [R]: the captions' videos
    videos: Tensor  # int64 [G]: the distinct ones among them
    starts: Tensor  # int64 [G]: first row of each
    sizes: Tensor  # int64 [G]: rows of each

    def best(self, scores: Tensor) -> Tensor:
        """Maximum over the captions of each video: [R, M] -> [G, M] (multi-caption rule of v2t)."""
        largest = int(self.sizes.max())
        if largest == 1:
            return scores
        starts, sizes = self.starts.to(scores.device), self.sizes.to(scores.device)
        best = scores[starts]
        for offset in range(1, largest):
            has = torch.nonzero(sizes > offset).squeeze(1)
            best[has] = torch.maximum(best[has], scores[starts[has] + offset])
        return best


def plan(owner: np.ndarray, videos: int, elements: int = ELEMENTS) -> list[Block]:
    """Captions ordered by video and cut between videos, at most `elements` scores a block (one video at least)."""
    if owner.ndim != 1 or not len(owner):
        raise PetvrError("no captions to rank")
    if owner.min() < 0 or owner.max() >= videos:
        raise PetvrError(f"owner holds indices outside 0..{videos - 1}")
    order = np.argsort(owner, kind="stable")
    ids, starts, sizes = np.unique(owner[order], return_index=True, return_counts=True)
    rows = max(1, elements // videos)
    blocks, first = [], 0
    while first < len(ids):
        last = int(np.searchsorted(starts + sizes, starts[first] + rows, side="right"))
        last = max(last, first + 1)
        low, high = starts[first], starts[last - 1] + sizes[last - 1]
        parts = (order[low:high], owner[order[low:high]], ids[first:last], starts[first:last] - low, sizes[first:last])
        blocks.append(Block(*(torch.from_numpy(np.ascontiguousarray(part, dtype=np.int64)) for part in parts)))
        first = last
    return blocks
