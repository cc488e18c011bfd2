"""Two methods on the same queries: what the difference is, and what queries and seeds together can say of it.

A test over queries alone speaks of the very models at hand: it calls identical methods different in 10 to 28 % of cases
when seeds differ by 0.9 to 1.3 points (simulated). So verdicts use a variance in which queries (videos, where captions
share one) and seeds are crossed:

    V = V_q + V_s - V_e, at least V_q;   t-interval with Satterthwaite's degrees of freedom

V_q  squared clustered error of the seeds' mean outcomes        V_s  var(means of the seeds) / S
V_e  what both contain: variance of the residuals / (S Q)
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from petvr.errors import PetvrError
from petvr.retrieval.intervals import LEVEL, clustered_error

FLIPS = 9_999


@dataclass(frozen=True)
class Difference:
    """Mean of A minus mean of B, its interval and two-sided p by queries and seeds together."""

    value: float
    low: float
    high: float
    p: float


def paired_difference(a: np.ndarray, b: np.ndarray, cluster: np.ndarray, *, level: float = LEVEL) -> Difference:
    """`a` [S, Q] and `b` [T, Q]: outcomes of each seed on the same queries, which belong to the videos `cluster` [Q].

    With one seed the seed's part is unknown and left out: the interval then speaks of these models alone.
    Raises PetvrError where the queries are not the same number.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1:] != b.shape[1:] or cluster.shape != a.shape[1:]:
        raise PetvrError(
            f"outcomes {a.shape} and {b.shape} of queries {cluster.shape}: expected [S, Q], [T, Q] and [Q]"
        )
    _, cluster = np.unique(cluster, return_inverse=True)
    by_query = a.mean(0) - b.mean(0)
    value = float(by_query.mean())
    of_queries = clustered_error(by_query, cluster) ** 2
    seeds = [_seed_variances(outcomes, cluster) for outcomes in (a, b) if len(outcomes) > 1]
    added = sum(between - within for between, within, _ in seeds)
    variance = of_queries + max(added, 0.0)
    if variance <= 1e-18 * (1 + value**2):  # every query differs by the same: what is left is rounding
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    spread = of_queries**2 / cluster.max()
    if added > 0:
        spread += sum(between**2 / freedom for between, _, freedom in seeds)
    freedom = variance**2 / spread
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * variance**0.5
    p = 2 * float(stats.t.sf(abs(value) / variance**0.5, freedom))
    return Difference(value, value - half, value + half, p)


def mean_with_interval(a: np.ndarray, cluster: np.ndarray, *, level: float = LEVEL) -> Difference:
    """The mean of outcomes [S, Q] itself, by queries and seeds together (p: of being 0)."""
    return paired_difference(a, np.zeros_like(a[:1]), cluster, level=level)


def _seed_variances(outcomes: np.ndarray, cluster: np.ndarray) -> tuple[float, float, int]:
    """V_s, V_e and the degrees of freedom of outcomes [S, Q] with S > 1."""
    seeds, queries = outcomes.shape
    means = outcomes.mean(1)
    residual = outcomes - means[:, None] - outcomes.mean(0) + means.mean()
    videos = int(cluster.max()) + 1
    sums = np.stack([np.bincount(cluster, row, videos) for row in residual])
    within = (sums**2).sum() / ((seeds - 1) * (videos - 1)) * videos / (seeds * queries**2)
    return float(means.var(ddof=1) / seeds), float(within), seeds - 1


def sign_flip(a: np.ndarray, b: np.ndarray, cluster: np.ndarray, *, flips: int = FLIPS, seed: int = 0) -> float:
    """p of the sign-flip test over videos: (1 + flips at least as far from 0) / (1 + flips), by a seeded generator."""
    sums = np.bincount(np.unique(cluster, return_inverse=True)[1], a.mean(0) - b.mean(0))
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, len(sums)])))
    seen, far = abs(sums.sum()) - 1e-9, 0
    for start in range(0, flips, 500):
        signs = random.integers(0, 2, (min(500, flips - start), len(sums)), dtype=np.int8) * 2.0 - 1.0
        far += int((np.abs(signs @ sums) >= seen).sum())
    return (1 + far) / (1 + flips)


def letters(order: Sequence[int], differ: Container[frozenset[int]]) -> dict[int, str]:
    """Item -> letters: two share one exactly where they are not in `differ`; "a" goes to the first of `order`.

    Insert and absorb (Piepho 2004): a column is a largest set of items none of which differ.
    """
    columns = [frozenset(order)]
    for one, other in itertools.combinations(order, 2):
        if frozenset((one, other)) in differ:
            split = [part for column in columns for part in _without_pair(column, one, other)]
            columns = [part for part in dict.fromkeys(split) if not any(part < larger for larger in split)]
    place = {item: number for number, item in enumerate(order)}
    columns.sort(key=lambda column: sorted(place[item] for item in column))
    return {item: "".join(_letter(number) for number, column in enumerate(columns) if item in column) for item in order}


def _without_pair(column: frozenset[int], one: int, other: int) -> list[frozenset[int]]:
    return [column - {one}, column - {other}] if {one, other} <= column else [column]


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else f"a{_letter(number - 26)}"


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p of one family, in its order (Holm 1979): (m - i) p_(i), never falling, at most 1."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate((len(order) - np.arange(len(order))) * np.asarray(p)[order]))
    return adjusted.tolist()
