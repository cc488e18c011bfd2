"""Arithmetic of a cell: mean and sample standard deviation over seeds, distance to the paper, best and second best."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from petvr.papers import Printed

Comparison = Literal["inside", "better", "worse", "open"]


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


def pooled_deviation(groups: Sequence[Sequence[float]]) -> tuple[float, int] | None:
    """Standard deviation over seeds from all rows of a column together, and its degrees of freedom.

    None where fewer than two rows have several seeds, and where Levene's test (at 5 %) says that rows differ in it; of
    rows with two seeds it can say nothing, as both lie equally far from their median.
    """
    groups = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in groups)
    if len(groups) < 2 or squares == 0:
        return None
    tested = [group for group in groups if len(group) > 2]
    differ = len(tested) > 1 and levene_p(tested) <= 0.05
    return None if differ else ((squares / freedom) ** 0.5, freedom)


def levene_p(groups: Sequence[Sequence[float]]) -> float:
    """Levene's test about the medians [Brown, Forsythe 1974]; NaN where nothing differs. scipy.stats has it, too, but
    its import takes a second."""
    from scipy.special import fdtrc

    away = [[abs(value - statistics.median(group)) for value in group] for group in groups]
    count, means = sum(map(len, away)), [statistics.fmean(group) for group in away]
    mean = math.fsum(value for group in away for value in group) / count
    between = math.fsum(len(group) * (own - mean) ** 2 for group, own in zip(away, means, strict=True))
    within = math.fsum((value - own) ** 2 for group, own in zip(away, means, strict=True) for value in group)
    if within == 0:
        return 0.0 if between else math.nan
    freedom = len(groups) - 1, count - len(groups)
    return float(fdtrc(*freedom, between / freedom[0] / (within / freedom[1])))


def compare_to_paper(
    ours: Estimate, printed: Printed, best: str | None, pooled: tuple[float, int] | None = None
) -> Comparison | None:
    """Does the printed value, a single run, lie in the 95 % prediction interval of our seeds?

    |printed - mean| <= t s sqrt(1 + 1/S), plus half the last printed digit; s and its degrees of freedom are `pooled`
    over rows, or our own. With one or two seeds nothing can be said: "open".
    """
    if printed.value is None or best is None:
        return None
    if ours.std is None or ours.n < 3:
        return "open"
    from scipy.special import stdtrit

    deviation, freedom = pooled or (ours.std, ours.n - 1)
    difference = ours.mean - printed.value
    half = float(stdtrit(freedom, 0.975)) * deviation * math.sqrt(1 + 1 / ours.n)
    if abs(difference) <= half + 0.5 * 10.0**-printed.decimals + 1e-9:
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
