"""Ranks of the true candidates and the metrics on them (docs/protocols.md), under ties.

Two integers a query say all: how many candidates stand above the true one, how many beside it. Test sets hold doubled
captions (MSR-VTT's 1k-A has 995 different sentences for 1,000 videos), so that ties are certain and a rule is part of
the number:

expected    the mean over all orders of tied candidates, exactly: unbiased, a constant scorer gets chance
mean_place  tied candidates share the mean of their places; biased downwards for R@K (two equal best both miss R@1)
released    as the code of CLIP4Clip and its descendants counts: a query with t ties enters t + 1 times, once per place
            (not text to video with several captions a video: there it sorts, and the order of the tied is arbitrary)

McSherry & Najork 2008 give the expected form for ranked retrieval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from petvr.errors import PetvrError, unknown

RECALLS = (1, 5, 10)
RULES = ("expected", "mean_place", "released")


def tied_rank(greater: np.ndarray, equal: np.ndarray) -> np.ndarray:
    """Rank from 1 of a candidate with `greater` candidates above it and `equal` others of exactly its score.

    Ties get the average of the places they share, so a constant scorer stands at the middle of the gallery
    and gains nothing.
    """
    return 1.0 + greater + equal / 2.0


def ranks(scores: np.ndarray, truth: Sequence[int] | np.ndarray) -> np.ndarray:
    """Rank from 1 of column `truth[n]` in row n of `scores` [N, M], in descending order, as float64 [N].

    Raises PetvrError for NaN and for shapes that do not fit.
    """
    scores, truth = np.asarray(scores), np.asarray(truth)
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise PetvrError(f"scores {scores.shape} and truth {truth.shape}: expected [N, M] and [N]")
    if truth.size and not (truth.min() >= 0 and truth.max() < scores.shape[1]):
        raise PetvrError(f"truth holds indices outside 0..{scores.shape[1] - 1}")
    if np.isnan(scores).any():
        raise PetvrError("scores contain NaN: nothing can be ranked")
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    return tied_rank((scores > own).sum(1), (scores == own).sum(1) - 1)


def summary(ranks: Sequence[float] | np.ndarray) -> dict[str, float]:
    """R@1, R@5, R@10 and their sum RSum in percent; MdR and MnR as ranks from 1.

    A query counts for R@K when its rank is <= K. A rank between places, which only ties give, counts by the
    same rule: two equal best candidates stand both at 1.5 and miss R@1. MdR averages the two middle ranks of
    an even number of queries.
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    if ranks.size == 0:
        raise PetvrError("no queries: there is nothing to summarise")
    if not np.isfinite(ranks).all() or ranks.min() < 1:
        raise PetvrError("ranks must be finite and start at 1")
    result = {f"R@{k}": 100.0 * float(np.mean(ranks <= k)) for k in RECALLS}
    result["RSum"] = sum(result.values())
    result["MdR"] = float(np.median(ranks))
    result["MnR"] = float(np.mean(ranks))
    return result


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

    @classmethod
    def from_array(cls, stored: np.ndarray) -> RankCounts:
        """Of a ranks.npz: int32 [2, Q]; or a rank from 1 a query (float32 [Q]), as petvr wrote before.

        Such a rank is the mean place of the tied: with a half it is read as one tied candidate, else as none.
        """
        if stored.ndim == 2 and len(stored) == 2:
            return cls(*stored.astype(np.int64))
        whole = np.floor(stored).astype(np.int64)
        return cls(whole - 1, (stored > whole).astype(np.int64))

    def to_array(self) -> np.ndarray:
        """int32 [2, Q]: above, tied."""
        return np.stack([self.above, self.tied]).astype(np.int32)

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
