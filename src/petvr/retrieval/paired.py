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
import string
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

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
    return all_differences({0: a, 1: b}, cluster, level=level)[0, 1]


def all_differences(
    outcomes: Mapping[int, np.ndarray], cluster: np.ndarray, *, level: float = LEVEL
) -> dict[tuple[int, int], Difference]:
    """`paired_difference` of each two; what a method brings by itself is computed once."""
    _, cluster = np.unique(cluster, return_inverse=True)
    means = {key: each.mean(0) for key, each in outcomes.items()}
    seeds = {key: _seed_variances(each, cluster) for key, each in outcomes.items() if len(each) > 1}
    return {
        (one, other): _difference(
            means[one] - means[other], [seeds[k] for k in (one, other) if k in seeds], cluster, level
        )
        for one, other in itertools.combinations(outcomes, 2)
    }


def _difference(
    by_query: np.ndarray, seeds: Sequence[tuple[float, float, int]], cluster: np.ndarray, level: float
) -> Difference:
    value = float(by_query.mean())
    of_queries = clustered_error(by_query, cluster) ** 2
    added = sum(between - within for between, within, _ in seeds)
    variance = of_queries + max(added, 0.0)
    if variance <= 1e-18 * (1 + value**2):  # every query differs by the same: what is left is rounding
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    spread = of_queries**2 / cluster.max()
    if added > 0:
        spread += sum(between**2 / freedom for between, _, freedom in seeds)
    freedom = variance**2 / spread
    half = float(special.stdtrit(freedom, (1 + level) / 2)) * variance**0.5
    p = 2 * float(special.stdtr(freedom, -abs(value) / variance**0.5))
    return Difference(value, value - half, value + half, p)


def mean_with_interval(a: np.ndarray, cluster: np.ndarray) -> Difference:
    """The mean of outcomes [S, Q] itself, by queries and seeds together (p: of being 0)."""
    return paired_difference(a, np.zeros_like(a[:1]), cluster)


def _seed_variances(outcomes: np.ndarray, cluster: np.ndarray) -> tuple[float, float, int]:
    """V_s, V_e and the degrees of freedom of outcomes [S, Q] with S > 1."""
    seeds, queries = outcomes.shape
    means = outcomes.mean(1)
    residual = outcomes - means[:, None] - outcomes.mean(0) + means.mean()
    videos = int(cluster.max()) + 1
    sums = np.stack([np.bincount(cluster, row, videos) for row in residual])
    within = (sums**2).sum() / ((seeds - 1) * (videos - 1)) * videos / (seeds * queries**2)
    return float(means.var(ddof=1) / seeds), float(within), seeds - 1


def sign_flip(a: np.ndarray, b: np.ndarray, cluster: np.ndarray, *, flips: int = FLIPS) -> float:
    """p of the sign-flip test over videos: (1 + flips at least as far from 0) / (1 + flips), by a seeded generator."""
    sums = np.bincount(np.unique(cluster, return_inverse=True)[1], a.mean(0) - b.mean(0))
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([0, len(sums)])))
    seen, far = abs(sums.sum()) - 1e-9, 0
    for start in range(0, flips, 500):
        signs = random.integers(0, 2, (min(500, flips - start), len(sums)), dtype=np.int8) * 2.0 - 1.0
        far += int((np.abs(signs @ sums) >= seen).sum())
    return (1 + far) / (1 + flips)


def letters(order: Sequence[int], differ: Container[frozenset[int]]) -> dict[int, str]:
    """Item -> letters: two share one exactly where they are not in `differ`; "a" goes to the first of `order`.

    A letter is a set of items none of which differ. It begins with two that share none yet and takes in, from the first
    of `order` on, whatever differs from none of it: fewer than all largest such sets (Piepho 2004).
    """
    groups: list[frozenset[int]] = []
    for one, other in itertools.combinations(order, 2):
        if frozenset((one, other)) in differ or any({one, other} <= group for group in groups):
            continue
        group = [one, other]
        for item in order:
            if item not in group and not any(frozenset((item, member)) in differ for member in group):
                group.append(item)
        groups.append(frozenset(group))
    return _named(order, groups)


def run_letters(order: Sequence[int], differ: Container[frozenset[int]]) -> dict[int, str]:
    """As `letters`, of many items in few: a letter is a run of `order` of which the first and the last do not differ.

    Two that share none are in `differ`; of those that share one some may be, between the ends of a run.
    """
    runs: list[tuple[int, int]] = []
    for first, one in enumerate(order):
        last = max(n for n in range(first, len(order)) if n == first or frozenset((one, order[n])) not in differ)
        if last > (runs[-1][1] if runs else -1):
            runs.append((first, last))
    return _named(order, [frozenset(order[first : last + 1]) for first, last in runs])


def _named(order: Sequence[int], groups: list[frozenset[int]]) -> dict[int, str]:
    """Groups by letters, in the order of their members; an item of none is one of its own."""
    groups = [*groups, *(frozenset([item]) for item in order if not any(item in group for group in groups))]
    place = {item: number for number, item in enumerate(order)}
    groups.sort(key=lambda group: sorted(place[item] for item in group))
    return {item: "".join(_letter(number) for number, group in enumerate(groups) if item in group) for item in order}


def _letter(number: int) -> str:
    known = string.ascii_letters
    return known[number] if number < len(known) else f"({number + 1})"


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p of one family, in its order (Holm 1979): (m - i) p_(i), never falling, at most 1."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate((len(order) - np.arange(len(order))) * np.asarray(p)[order]))
    return adjusted.tolist()
