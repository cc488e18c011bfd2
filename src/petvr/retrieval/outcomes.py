"""What each query of a run gave, read from its ranks.npz: the ground of intervals, comparisons and verdicts."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from petvr.errors import PetvrError
from petvr.result import Result
from petvr.retrieval.intervals import query_outcomes
from petvr.retrieval.metrics import RankCounts


@dataclass
class RankFile:
    """A ranks.npz, whose arrays are read when they are asked for, and kept: a run has many evaluations.

    Raises PetvrError naming a file that is damaged or lacks an array.
    """

    path: Path
    _arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._arrays:
            try:
                with np.load(self.path, allow_pickle=False) as archive:
                    self._arrays[key] = archive[key]
            except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
                why = f"cannot be read ({getattr(error, 'strerror', None) or error}); delete the run and train it again"
                raise PetvrError(f"{self.path}: {why}") from error
        return self._arrays[key]


@dataclass(frozen=True)
class RunOutcomes:
    """The finished seeds of one cell, or one run; `ranks` holds one ranks.npz a result."""

    name: str
    results: list[Result]
    ranks: list[RankFile]

    def of(self, direction: str, metric: str, rule: str, *, dsl: bool = False, epoch: int | None = None) -> np.ndarray:
        """[seeds, queries], float64: a metric (R@K and RSum in percent, MnR a rank) is its mean over queries.

        rule: "paper" (each run's own), or a name in `selected`; epoch: the evaluation at that epoch's end instead.
        Tied candidates count by their expected value. Raises PetvrError for an epoch that was not evaluated, and for
        MdR, which is no mean.
        """
        if metric == "MdR":
            raise PetvrError("a median has no paired difference")
        kept = []
        for result, ranks in zip(self.results, self.ranks, strict=True):
            name = result.spec.recipe.selection if rule == "paper" else rule
            if name not in result.selected:
                raise PetvrError(f"{result.id}: was not selected by {name}; it has {', '.join(result.selected)}")
            entry = result.selected[name]
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
        return any(ranks["0/plain/t2v"].dtype.kind == "f" for ranks in self.ranks)

    def videos_of(self, direction: str) -> np.ndarray:
        """The video of each query: queries of one video are one unit."""
        return self.ranks[0]["owner"] if direction == "t2v" else np.unique(self.ranks[0]["owner"])


def load_outcomes(name: str, files: list[Path]) -> RunOutcomes:
    """`files`: the result.json of each seed, with ranks.npz beside it."""
    results = [Result.read(path) for path in files]
    for path, result in zip(files, results, strict=True):
        result.check_file(path.parent, "ranks.npz")
    return RunOutcomes(name, results, [RankFile(path.with_name("ranks.npz")) for path in files])


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
