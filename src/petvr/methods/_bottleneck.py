"""The bottleneck that adapter methods share: D -> r -> D, and how it stands beside a sub-layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from petvr.methods._declare import Hook, HookContext


class Bottleneck(nn.Module):
    """s * (ReLU(x W_down + b_down) W_up + b_up). W_up starts at zero, so it adds nothing before training.

    W_down starts as torch's Linear does (Kaiming uniform, a = sqrt 5), both biases at zero [AdaptFormer's code].
    `norm`: x passes a LayerNorm of the adapter's own first.
    """

    def __init__(self, width: int, hidden: int, scale: float, generator: torch.Generator, norm: bool = False):
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        self.scale = scale
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5), generator=generator)
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(torch.relu(self.down(self.norm(x)))) * self.scale


def beside(adapters: nn.ModuleDict, reads: str) -> Hook:
    """Adds the block's bottleneck to a sub-layer's output; both read the same stream, behind LN or before it."""

    def add(out: Tensor, context: HookContext) -> Tensor:
        source = context.input if reads == "normed" else context.residual
        return out + adapters[context.tower][context.layer](source)

    return add


def behind(adapters: nn.ModuleDict) -> Hook:
    """Sequential: the block's bottleneck reads a sub-layer's output and is added to it."""
    return lambda out, context: out + adapters[context.tower][context.layer](out)
