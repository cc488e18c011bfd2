"""What a training step keeps for its backward pass at a whole batch, and in micro-batches: counted, not run.

What the towers and a similarity's own sides keep grows with the batch B, what it keeps of pairs with B x B. Both are
counted on the meta device at three small batches. In micro-batches of n the towers keep n rows and the pairs n x n;
both sides' features and the scores of the batch stay, with a gradient each (petvr.training.gradient_cache).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from petvr.clip import weights
from petvr.clip.config import ClipConfig
from petvr.clip.weights import SkipMetaInit
from petvr.costs import compute

SMALL = 2, 4, 6  # batches that are counted


@dataclass(frozen=True)
class Kept:
    """Bytes of fp32 activations, as `compute` counts them: of a batch, a row, a pair, and a row's two sides."""

    fixed: float
    row: float
    pair: float
    sides: float
    levels: int

    def whole(self, batch: int) -> float:
        return self.fixed + batch * self.row + batch**2 * self.pair

    def in_micro_batches(self, batch: int, size: int) -> float:
        """The largest step of `petvr.training.gradient_cache.backward`, next to what lives through all of them."""
        size = min(batch, size)
        through = 2 * (batch * self.sides + 4 * self.levels * batch**2)
        return through + self.fixed + max(size * self.row, size**2 * self.pair)


def kept(config: ClipConfig, method: str, setting: Mapping[str, Any] | None = None, **choices: Any) -> Kept:
    """`choices` as `compute.build_model` takes them. All 0 where nothing trains. PetvrError for unknown names."""
    frames, words = choices.get("frames", 12), choices.get("words", 32)
    with SkipMetaInit():
        adapted, head = compute.build_model(weights.on_meta(config), method, setting, **choices)
    if not any(part.requires_grad for module in (adapted, head) for part in module.parameters()):
        return Kept(0.0, 0.0, 0.0, 0.0, len(head.LEVELS))
    with compute.uncast():
        first, second, third = (
            compute.saved_bytes(adapted, head, *compute.inputs(config, frames, words, batch, device="meta"))
            for batch in SMALL
        )
        with torch.no_grad():
            data = compute.inputs(config, frames, words, SMALL[0], device="meta")
            sides = sum(tensor.nbytes for side in compute.sides(adapted, head, *data) for tensor in side.values())
    pair = (third - 2 * second + first) / 8
    row = (second - first) / 2 - 6 * pair
    return Kept(first - 2 * row - 4 * pair, row, pair, sides / SMALL[0], len(head.LEVELS))
