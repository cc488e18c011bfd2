"""Parameter-free mean pooling, CLIP4Clip's "meanP" [Luo et al. 2021, section 3.3].

Every frame is normalised, the valid ones are averaged, and the score is the cosine with the text.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

VERSION = 1
DEFAULTS = {}


class MeanPool(nn.Module):
    def forward(self, text: Tensor, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """text [N, E], frames [M, F, E], mask [M, F] -> [N, M] in fp32; a video without a valid frame scores 0."""
        with torch.autocast(text.device.type, enabled=False):
            if mask is None:
                mask = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
            hidden = ~mask[..., None]  # filled, not multiplied: a masked NaN must reach neither score nor gradient
            frames = functional.normalize(frames.float().masked_fill(hidden, 0), dim=-1).masked_fill(hidden, 0)
            video = frames.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
            return functional.normalize(text.float(), dim=-1) @ functional.normalize(video, dim=-1).T


def build(setting, embed_dim, generator):
    return MeanPool()
