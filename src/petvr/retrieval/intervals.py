"""What a number of queries can tell: intervals over queries of one run, the gallery held fixed.

Outcomes are drawn again, never the matrix: a video drawn twice would tie with itself (a true R@1 of 48.0 on 1,000
queries becomes 33.7). Captions of one video are one unit. The answer is about other queries against the same gallery;
the spread over seeds is another question.
"""

from __future__ import annotations

import numpy as np

from petvr.errors import PetvrError
from petvr.retrieval.metrics import RECALLS, RankCounts

DRAWS = 10_000
LEVEL = 0.95
BLOCK = 500  # draws at a time: 500 x 5,000 units are 20 MB


def query_outcomes(counts: RankCounts) -> dict[str, np.ndarray]:
    """What each query adds to each metric that is a mean, under the rule `expected`: metric -> float64 [Q]."""
    outcomes = {f"R@{k}": 100.0 * counts.success(k) for k in RECALLS}
    outcomes["RSum"] = np.sum(list(outcomes.values()), axis=0)
    outcomes["MnR"] = counts.mean_place
    return outcomes


def clustered_error(outcomes: np.ndarray, cluster: np.ndarray) -> float:
    """Standard error of the mean of `outcomes` [Q], whose queries belong to the videos `cluster` int64 [Q].

    sqrt(C / (C - 1) * sum_c (sum of c's deviations)^2) / Q over C videos; with one query each the usual s / sqrt(Q).
    """
    _, cluster = np.unique(cluster, return_inverse=True)
    sums = np.bincount(cluster, outcomes - outcomes.mean())
    if len(sums) < 2:
        raise PetvrError("one video alone has no standard error")
    return float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(outcomes))


def query_intervals(counts: RankCounts, cluster: np.ndarray) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap over videos: metric -> (low, high). The generator is seeded: the same each time."""
    _, cluster = np.unique(cluster, return_inverse=True)
    outcomes = query_outcomes(counts)
    units = cluster.max() + 1
    sizes = np.bincount(cluster).astype(np.float64)
    totals = np.stack([np.bincount(cluster, values) for values in outcomes.values()], axis=1)  # [C, metrics]
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([0, units])))
    means = []
    for start in range(0, DRAWS, BLOCK):
        times = random.multinomial(units, np.full(units, 1 / units), size=min(BLOCK, DRAWS - start)).astype(np.float64)
        means.append(times @ totals / (times @ sizes)[:, None])
    edges = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {name: (float(low), float(high)) for name, low, high in zip(outcomes, *edges, strict=True)}
