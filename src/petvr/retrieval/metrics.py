"""Ranks of the true candidates and the metrics on them (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from petvr.errors import PetvrError

RECALLS = (1, 5, 10)


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
