"""Metrics under ties. Two integers a query say all: how many candidates stand above the true one, how many beside it.

Test sets hold doubled captions (MSR-VTT's 1k-A has 995 different sentences for 1,000 videos), so that ties are certain
and a rule is part of the number:

expected    the mean over all orders of tied candidates, exactly: unbiased, a constant scorer gets chance
mean_place  tied candidates share the mean of their places; biased downwards for R@K (two equal best both miss R@1)
released    as the code of CLIP4Clip and its descendants counts: a query with t ties enters t + 1 times, once per place

McSherry & Najork 2008 give the expected form for ranked retrieval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from petvr.errors import PetvrError, unknown
from petvr.retrieval.metrics import RECALLS, summary, tied_rank

RULES = ("expected", "mean_place", "released")


@dataclass(frozen=True)
class RankCounts:
    """`above` and `tied`, int64 [Q]: candidates strictly above the true one, and others of exactly its score."""

    above: np.ndarray
    tied: np.ndarray

    def __post_init__(self) -> None:
        if self.above.shape != self.tied.shape or self.above.ndim != 1 or not self.above.size:
            raise PetvrError(f"counts of shape {self.above.shape} and {self.tied.shape}: expected two of [Q], Q > 0")
        if min(self.above.min(), self.tied.min()) < 0:
            raise PetvrError("counts of candidates above and beside the true one cannot be negative")

    @property
    def mean_place(self) -> np.ndarray:
        """float64 [Q], from 1."""
        return tied_rank(self.above, self.tied)

    def success(self, k: int) -> np.ndarray:
        """P(rank <= k) over random orders of the tied, float64 [Q]."""
        return np.clip(k - self.above, 0, self.tied + 1) / (self.tied + 1)

    def summary(self, rule: str = "expected") -> dict[str, float]:
        """R@1, R@5, R@10, RSum in percent; MdR, MnR from 1. Raises PetvrError for an unknown rule."""
        if rule == "mean_place":
            return summary(self.mean_place)
        if rule == "released":
            repeats = self.tied + 1
            first = np.repeat(self.above + 1, repeats)
            within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
            return summary(first + within)
        if rule != "expected":
            raise unknown("rule for ties", rule, RULES)
        metrics = {f"R@{k}": 100.0 * float(self.success(k).mean()) for k in RECALLS}
        metrics["RSum"] = sum(metrics.values())
        metrics["MdR"] = self._median()
        metrics["MnR"] = float(self.mean_place.mean())  # the expected rank is the mean of the tied places
        return metrics

    def _median(self) -> float:
        """Of the mixture of all queries' ranks: the mean of the smallest k with F(k) >= 1/2 and with F(k) > 1/2."""
        weights = np.zeros(int((self.above + self.tied).max()) + 3)
        share = 1.0 / (self.tied + 1)
        np.add.at(weights, self.above + 1, share)  # rank above + 1 ... above + tied + 1, each with its share
        np.add.at(weights, self.above + self.tied + 2, -share)
        below = np.cumsum(np.cumsum(weights)) / len(self.above)
        slack = 1e-9  # sums of thirds
        return float(np.argmax(below >= 0.5 - slack) + np.argmax(below > 0.5 + slack)) / 2


def success_in_smaller_gallery(counts: RankCounts, candidates: int, size: int, k: int) -> float:
    """R@k in percent over all galleries of `size` out of `candidates` that hold the true one: exact, nothing is drawn.

    Only for scores that do not depend on the gallery (not for dual-softmax). Hypergeometric: the number of better
    candidates in a gallery without the true one. Raises PetvrError for sizes outside 1..candidates.
    """
    from scipy.stats import hypergeom

    if not 1 <= size <= candidates:
        raise PetvrError(f"gallery of {size}: allowed are 1 to {candidates}, the number of candidates")
    total = np.zeros(len(counts.above))
    for better in range(int(counts.tied.max()) + 1):  # tied candidates may stand in any number before the true one
        has = better <= counts.tied
        chance = hypergeom.cdf(k - 1, candidates - 1, counts.above[has] + better, size - 1)
        total[has] += chance / (counts.tied[has] + 1)
    return 100.0 * float(total.mean())
