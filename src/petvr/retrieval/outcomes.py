"""What each query of a run gave, read from its ranks.npz: the ground of intervals, comparisons and verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from petvr.array_files import read_arrays
from petvr.errors import PetvrError
from petvr.result import Result
from petvr.retrieval.intervals import query_outcomes
from petvr.retrieval.metrics import RankCounts


@dataclass
class RankFile:
    """A ranks.npz, whose arrays are read when they are asked for, and kept: a run has many evaluations.

    Raises PetvrError naming a file that is damaged, lacks an array, or whose arrays do not belong together.
    """

    path: Path
    _arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._arrays:
            self._arrays[key] = read_arrays(self.path, key)[0]
            if key == "owner":
                self._require_owner()
        return self._arrays[key]

    def _require_owner(self) -> None:
        owner, videos = self["owner"], self["videos"]
        if videos.ndim != 1 or owner.ndim != 1 or owner.dtype.kind not in "iu" or not len(owner):
            raise PetvrError(f"{self.path}: 'owner' of shape {owner.shape}, {owner.dtype}: expected a video a caption")
        if owner.min() < 0 or owner.max() >= len(videos):
            raise PetvrError(f"{self.path}: 'owner' names videos {owner.min()} to {owner.max()} of {len(videos)}")

    def counts(self, entry: int, scores: str, direction: str) -> RankCounts:
        """Of one evaluation; scores: plain or dsl."""
        key, owner = f"{entry}/{scores}/{direction}", self["owner"]
        queries = len(owner) if direction == "t2v" else len(np.unique(owner))
        stored = self[key]
        if stored.dtype.kind not in "iuf" or stored.ndim not in (1, 2) or stored.shape[-1] != queries:
            raise PetvrError(f"{self.path}: '{key}' of shape {stored.shape}, {stored.dtype}: it has {queries} queries")
        most = max(len(self["videos"]), len(owner))
        if not np.isfinite(stored).all() or stored.min() < 0 or stored.max() > most:
            raise PetvrError(f"{self.path}: '{key}' holds {stored.min()} to {stored.max()}, possible: 0 to {most}")
        try:
            return RankCounts.from_array(stored)
        except PetvrError as error:
            raise PetvrError(f"{self.path}: '{key}': {error}") from error


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
            kept.append(query_outcomes(ranks.counts(entry, "dsl" if dsl else "plain", direction))[metric])
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
