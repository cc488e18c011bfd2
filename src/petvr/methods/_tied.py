"""MV-Adapter's bottleneck with cross modality tying (CMT): weights that a factor shared by both towers rescales."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STD = 0.02


class Tie(nn.Module):
    """beta = f_C M_S + b_S and what it rescales (equation 4). The factor f_C is handed over in every call.

    `place` is one of down_in, down_out, up_in, up_out: which projection, and which of its channels.
    """

    def __init__(self, place: str, dim: int, width: int, outer: int, bias: bool, generator: torch.Generator):
        super().__init__()
        self.projection, side = place.split("_")
        self.rows = side == "out"
        inner = place in ("down_out", "up_in")
        self.project = nn.Linear(dim, width if inner else outer, bias=bias)
        if not bias:
            nn.init.normal_(self.project.weight, 1.0, STD, generator=generator)

    def forward(self, weight: Tensor, factor: Tensor) -> Tensor:
        """weight [out, in] of a Linear -> the same, calibrated."""
        beta = self.project(factor)
        return weight * (beta[:, None] if self.rows else beta)


class Tied(nn.Module):
    """W_down [D, d'] and W_up [d', D], either calibrated by a Tie or none; W_up starts at zero, biases too."""

    def __init__(self, width: int, outer: int, norm_in: bool, tie: Tie | None):
        super().__init__()
        self.norm_in = nn.LayerNorm(outer) if norm_in else nn.Identity()
        self.down, self.up = nn.Linear(outer, width), nn.Linear(width, outer)
        self.tie = tie
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def weight(self, name: str, factor: Tensor | None) -> Tensor:
        weight = getattr(self, name).weight
        return weight if self.tie is None or self.tie.projection != name else self.tie(weight, factor)

    def lower(self, x: Tensor, factor: Tensor | None) -> Tensor:
        return functional.linear(self.norm_in(x), self.weight("down", factor), self.down.bias)

    def raise_(self, z: Tensor, factor: Tensor | None, tied: int | None = None) -> Tensor:
        """z [R, S, d'] -> [R, S, D]. Only the first `tied` tokens, by default all, see a calibrated W_up."""
        weight = self.weight("up", factor)
        if weight is self.up.weight or tied is None:
            return functional.linear(z, weight, self.up.bias)
        return torch.cat([functional.linear(z[:, :tied], weight, self.up.bias), self.up(z[:, tied:])], dim=1)
