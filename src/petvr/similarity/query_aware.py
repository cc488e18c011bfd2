"""Parameter-free query-aware pooling [Jiang et al. 2022, Cross-Modal Adapter, section 3.3, equations 7-8].

For every pair of text t and video with frames f_1..f_F the frames are weighted by softmax_j(<t, f_j> / tau), their
weighted sum v is compared with t by cosine. Products and sums use raw features: normalised before, tau = 5 would make
the weights practically equal [released code].

v is never formed for all pairs: with a the weights, <t, v> = sum_j a_j <t, f_j> and |v|^2 = a^T G a, where G [F, F] is
the video's Gram matrix. So a pair costs F numbers instead of E, and pairs are computed in blocks of bounded memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.errors import PetvrError

VERSION = 1
DEFAULTS = {"tau": 5.0}

BLOCK = 2**24  # numbers of one [videos, texts, F] tensor; a handful of them live at a time (64 MB each)
TINY = 1e-12


class QueryAware(nn.Module):
    def __init__(self, tau: float):
        super().__init__()
        self.tau = tau

    def forward(self, text: Tensor, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """text [N, E], frames [M, F, E], mask [M, F] -> [N, M] in fp32; a video without a valid frame scores 0."""
        with torch.autocast(text.device.type, enabled=False):
            text, frames = text.float(), frames.float()
            if mask is None:
                mask = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
            frames = frames.masked_fill(~mask[..., None], 0)
            texts = max(1, min(len(text), BLOCK // frames.shape[1]))
            videos = max(1, BLOCK // (texts * frames.shape[1]))
            rows = [
                torch.cat(
                    [self._block(t, f, m) for f, m in zip(frames.split(videos), mask.split(videos), strict=True)], 1
                )
                for t in text.split(texts)
            ]
            return torch.cat(rows)

    def _block(self, text: Tensor, frames: Tensor, mask: Tensor) -> Tensor:
        products = (frames @ text.T).transpose(1, 2)  # [M, N, F]
        hidden = torch.finfo(products.dtype).min
        weights = (products / self.tau).masked_fill(~mask[:, None], hidden).softmax(dim=-1)
        together = (weights * products).sum(dim=-1)  # <t, v>, [M, N]
        gram = frames @ frames.transpose(1, 2)
        squares = ((weights @ gram) * weights).sum(dim=-1)  # |v|^2
        length = squares.clamp(min=TINY).sqrt() * text.norm(dim=-1).clamp(min=TINY)
        return (together / length).T


def build(setting, embed_dim, generator):
    if setting.tau <= 0:
        raise PetvrError(f"similarity 'query_aware': setting 'tau': {setting.tau:g} given, allowed: more than 0")
    return QueryAware(setting.tau)
