"""Arithmetic of a cell: mean and sample standard deviation over seeds, distance to the paper, best and second best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from petvr.papers import Printed

Comparison = Literal["inside", "better", "worse"]


@dataclass(frozen=True)
class Estimate:
    """`std` is the sample standard deviation (ddof = 1), None for a single seed; n = 0: counted, not measured."""

    mean: float
    std: float | None
    n: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """None without values; every value must be finite."""
    if not values:
        return None
    n = len(values)
    if n > 1 and min(values) == max(values):
        return Estimate(values[0], 0.0, n)  # exactly: no rounding residue of the sum
    mean = math.fsum(values) / n
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else None
    return Estimate(mean, std, n)


def compare_to_paper(ours: Estimate, printed: Printed, best: str | None, k: float = 2.0) -> Comparison | None:
    """Does the printed value lie within ±k standard deviations of our mean (plus half its last printed digit)?

    The paper's own standard deviation, where it prints one, is added in quadrature. None with a single seed,
    where there is no spread to compare with.
    """
    if printed.value is None or ours.std is None or best is None:
        return None
    difference = ours.mean - printed.value
    spread = math.hypot(ours.std, printed.std or 0.0)
    if abs(difference) <= k * spread + 0.5 * 10.0**-printed.decimals + 1e-9:
        return "inside"
    return "better" if (difference > 0) == (best == "max") else "worse"


def ranks(values: Sequence[float | None], best: str | None, decimals: int) -> list[int]:
    """1 for the best, 2 for the second best, 0 otherwise; equal at the digits shown means equal, and ties share.

    Where fewer than two different values stand there is nothing to tell apart and nothing is marked.
    """
    shown = [None if value is None else round(value, decimals) for value in values]
    distinct = sorted({value for value in shown if value is not None}, reverse=best == "max")
    if best is None or len(distinct) < 2:
        return [0] * len(shown)
    order = {value: rank for rank, value in enumerate(distinct[:2], start=1)}
    return [order.get(value, 0) if value is not None else 0 for value in shown]
