"""Momentum whose matrices are made orthogonal before each step: what lets twelve narrow layers learn within a minute.

The demo's own means to an end (the idea is Muon's, Jordan et al. 2024); no paper's recipe uses it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch

MOMENTUM, WEIGHT_DECAY = 0.9, 0.05


def nearly_orthogonal(x: torch.Tensor) -> torch.Tensor:
    """[N, a, b] with a <= b -> the same singular vectors, singular values near 1 (odd quintic iteration)."""
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    return x


class OrthogonalMomentum:
    """Steps for weight matrices; equal shapes are stacked, so that a step is a few large products."""

    def __init__(self, matrices: Iterable[torch.nn.Parameter]) -> None:
        self.groups: dict[tuple[int, int], list[torch.nn.Parameter]] = defaultdict(list)
        for matrix in matrices:
            rows, columns = matrix.flatten(1).shape
            self.groups[min(rows, columns), max(rows, columns)].append(matrix)
        self.moving = {shape: torch.zeros(len(group), *shape) for shape, group in self.groups.items()}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step; a matrix k times as long as wide takes one sqrt(k) times as large."""
        for shape, group in self.groups.items():
            lying = [matrix.flatten(1).shape == shape for matrix in group]
            grads = [matrix.grad for matrix in group if matrix.grad is not None]
            gradients = [g.flatten(1) if is_lying else g.T for g, is_lying in zip(grads, lying, strict=True)]
            gradient = torch.stack(gradients)
            moving = self.moving[shape].mul_(MOMENTUM).add_(gradient)
            updates = nearly_orthogonal(gradient + MOMENTUM * moving)
            for matrix, its, is_lying in zip(group, updates, lying, strict=True):
                matrix.mul_(1 - lr * WEIGHT_DECAY)
                its = its.reshape(matrix.shape) if is_lying else its.T
                matrix.sub_(its, alpha=lr * (shape[1] / shape[0]) ** 0.5)
