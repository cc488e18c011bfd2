"""The contrastive loss of all four papers (METHODS A.0)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def symmetric(scores: Tensor, logit_scale: Tensor) -> Tensor:
    """Mean of both cross-entropies over B x B scores whose diagonal holds the true pairs.

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
