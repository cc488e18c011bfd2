"""What each query of a run gave, read from its ranks.npz: the ground of intervals, comparisons and verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petvr.errors import PetvrError
from petvr.result import Result
from petvr.retrieval.intervals import query_outcomes
from petvr.retrieval.metrics import RankCounts


@dataclass(frozen=True)
class RunOutcomes:
    """The finished seeds of one cell, or one run; `ranks` holds one ranks.npz a result."""

    name: str
    results: list[Result]
    ranks: list[dict[str, np.ndarray]]

    def of(self, direction: str, metric: str, rule: str, *, dsl: bool = False, epoch: int | None = None) -> np.ndarray:
        """[seeds, queries], float64: a metric (R@K and RSum in percent, MnR a rank) is its mean over queries.

        rule: "paper" (each run's own), "best_on_test" or "last"; epoch: the evaluation at that epoch's end instead.
        Tied candidates count by their expected value. Raises PetvrError for an epoch that was not evaluated, and for
        MdR, which is no mean.
        """
        if metric == "MdR":
            raise PetvrError("a median has no paired difference")
        kept = []
        for result, ranks in zip(self.results, self.ranks, strict=True):
            entry = result.selected[result.spec.recipe.selection if rule == "paper" else rule]
            if epoch is not None:
                entries = [n for n, evaluation in enumerate(result.evaluations) if evaluation.epoch == epoch]
                if not entries:
                    raise PetvrError(f"{result.id}: epoch {epoch} was not evaluated")
                entry = entries[-1]
            stored = ranks[f"{entry}/{'dsl' if dsl else 'plain'}/{direction}"]
            kept.append(query_outcomes(RankCounts.from_array(stored))[metric])
        return np.stack(kept)

    @property
    def mean_places(self) -> bool:
        """Whether a run is of an earlier petvr, whose files tell no tied candidates (see RankCounts.from_array)."""
        return any(array.dtype.kind == "f" for ranks in self.ranks for array in ranks.values())

    def videos_of(self, direction: str) -> np.ndarray:
        """The video of each query: queries of one video are one unit."""
        return self.ranks[0]["owner"] if direction == "t2v" else np.unique(self.ranks[0]["owner"])


def load_outcomes(name: str, files: list[Path]) -> RunOutcomes:
    """`files`: the result.json of each seed, with ranks.npz beside it. Raises PetvrError naming a damaged one."""
    results, ranks = [], []
    for path in files:
        beside = path.with_name("ranks.npz")
        results.append(Result.read(path))
        try:
            with np.load(beside, allow_pickle=False) as archive:
                ranks.append({key: archive[key] for key in archive.files})
        except (OSError, ValueError, EOFError) as error:
            raise PetvrError(f"{beside}: cannot be read ({error}); delete the run and train it again") from error
    return RunOutcomes(name, results, ranks)


def require_same_queries(one: RunOutcomes, other: RunOutcomes) -> None:
    """The same test queries in the same order, or PetvrError naming the run: both MSR-VTT splits share a test set."""
    reference, queries = one.results[0], one.ranks[0]
    for result, ranks in zip((*one.results, *other.results), (*one.ranks, *other.ranks), strict=True):
        same = all(np.array_equal(ranks[key], queries[key]) for key in ("videos", "owner"))
        if not same or (result.spec.options, result.data.world) != (reference.spec.options, reference.data.world):
            raise PetvrError(
                f"{result.id}: its test set ({result.spec.dataset}, {result.data.test_videos:,} videos) is not that of "
                f"{reference.id}; only runs on the same test queries are compared"
            )
