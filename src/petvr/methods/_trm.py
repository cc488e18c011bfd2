"""The lightweight transformer of MV-Adapter's two branches: positions, LayerNorm, one pre-LN block of width d'."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from petvr.clip.towers import quick_gelu

HEADS = 2
POSITION_STD = 0.01


class Trm(nn.Module):
    """`tokens` positions, width d'. Start values are set by the width D of the tower it stands in [released code]:
    N(0, D^-1/2) for q, k, v and N(0, (2D)^-1/2) for the other weights; biases of the attention zero."""

    def __init__(self, tokens: int, width: int, outer: int, generator: torch.Generator):
        super().__init__()
        self.positions = nn.Parameter(torch.empty(tokens, width).normal_(std=POSITION_STD, generator=generator))
        self.norm, self.norm1, self.norm2 = (nn.LayerNorm(width) for _ in range(3))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for layer in (self.qkv, self.out, self.fc1, self.fc2):
            std = outer**-0.5 if layer is self.qkv else (2 * outer) ** -0.5
            nn.init.normal_(layer.weight, std=std, generator=generator)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, positions: Tensor, valid: Tensor | None = None, causal: bool = False) -> Tensor:
        """x [N, S, d'], positions [S, d'] -> [N, S, d']; valid [N, S]: keys that are False are read by no token."""
        x = self.norm(x + positions)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        keys = None if valid is None else valid[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=keys, is_causal=causal)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return quick_gelu(x + self.fc2(quick_gelu(self.fc1(self.norm2(x)))))
