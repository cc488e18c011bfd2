"""Both directions of a test set ranked, plain and with dual-softmax, in blocks of captions small enough for memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from petvr.errors import PetvrError
from petvr.retrieval import dsl as forms
from petvr.retrieval.metrics import RankCounts

Direction = Literal["t2v", "v2t"]
Scores = np.ndarray | Tensor | Callable[[Tensor], Tensor]
ELEMENTS = 1 << 20  # scores in one block: 4 MiB in float32, about ten times that at the worst moment of dual-softmax


class NanScores(PetvrError):
    """A model that diverged."""


@dataclass(frozen=True)
class CaptionBlock:
    captions: Tensor  # int64 [R], ordered by video
    owner: Tensor  # int64 [R]: the captions' videos
    videos: Tensor  # int64 [G]: the distinct ones among them
    starts: Tensor  # int64 [G]: first row of each
    sizes: Tensor  # int64 [G]: rows of each

    def best(self, scores: Tensor) -> Tensor:
        """Maximum over the captions of each video: [R, M] -> [G, M] (multi-caption rule of v2t)."""
        largest = int(self.sizes.max())
        if largest == 1:
            return scores
        starts, sizes = self.starts.to(scores.device), self.sizes.to(scores.device)
        best = scores[starts]
        for offset in range(1, largest):
            has = torch.nonzero(sizes > offset).squeeze(1)
            best[has] = torch.maximum(best[has], scores[starts[has] + offset])
        return best


def plan_blocks(owner: np.ndarray, videos: int, elements: int = ELEMENTS) -> list[CaptionBlock]:
    """Captions ordered by video and cut between videos, at most `elements` scores a block (one video at least)."""
    if owner.ndim != 1 or not len(owner):
        raise PetvrError("no captions to rank")
    if owner.min() < 0 or owner.max() >= videos:
        raise PetvrError(f"owner holds indices outside 0..{videos - 1}")
    order = np.argsort(owner, kind="stable")
    ids, starts, sizes = np.unique(owner[order], return_index=True, return_counts=True)
    rows = max(1, elements // videos)
    blocks, first = [], 0
    while first < len(ids):
        last = int(np.searchsorted(starts + sizes, starts[first] + rows, side="right"))
        last = max(last, first + 1)
        low, high = starts[first], starts[last - 1] + sizes[last - 1]
        parts = (order[low:high], owner[order[low:high]], ids[first:last], starts[first:last] - low, sizes[first:last])
        blocks.append(CaptionBlock(*(torch.from_numpy(np.ascontiguousarray(part, dtype=np.int64)) for part in parts)))
        first = last
    return blocks


@dataclass(frozen=True)
class Ranking:
    """Where the true candidates stand: `t2v` per caption [C], `v2t` per video that has captions [V].

    `counts` holds the candidates above and beside each; the ranks from 1 (float64) are averaged over ties.
    """

    counts: dict[Direction, RankCounts]

    @property
    def t2v(self) -> np.ndarray:
        return self.counts["t2v"].mean_place

    @property
    def v2t(self) -> np.ndarray:
        return self.counts["v2t"].mean_place

    def directions(self) -> dict[Direction, dict[str, float]]:
        """The metrics, of tied candidates the expected value."""
        return {"t2v": self.counts["t2v"].summary(), "v2t": self.counts["v2t"].summary()}

    def released(self) -> dict[Direction, dict[str, float]]:
        """As CLIP4Clip's code counts, which sorts where a video has several captions: there any order is its order."""
        several = len(self.counts["t2v"].above) > len(self.counts["v2t"].above)
        t2v = self.counts["t2v"].summary("expected" if several else "released")
        return {"t2v": t2v, "v2t": self.counts["v2t"].summary("released")}


@dataclass(frozen=True)
class Rankings:
    plain: Ranking
    dsl: Ranking | None

    def arrays(self) -> dict[str, np.ndarray]:
        """ "plain/t2v" and so on -> int32 [2, Q]: candidates above the true one, and tied with it"""
        return {
            f"{name}/{way}": counts.to_array()
            for name, ranking in self.by_name().items()
            for way, counts in ranking.counts.items()
        }

    def with_t2v_of(self, other: Rankings) -> Rankings:
        """Text to video from `other`, the other direction from here: of scores that differ between the two."""
        pairs = [(self.plain, other.plain), (self.dsl, other.dsl)]
        mixed = [Ranking(mine.counts | {"t2v": its.counts["t2v"]}) if mine and its else None for mine, its in pairs]
        assert mixed[0] is not None
        return Rankings(mixed[0], mixed[1])

    def by_name(self) -> dict[Literal["plain", "dsl"], Ranking]:
        return {"plain": self.plain, "dsl": self.dsl} if self.dsl else {"plain": self.plain}


def evaluate(
    scores: Scores,
    owner: Sequence[int] | np.ndarray,
    *,
    videos: int | None = None,
    dsl: str = "none",
    temperature: float = 1.0,
    scale: float = 1.0,
    elements: int = ELEMENTS,
) -> Rankings:
    """Rank captions against videos and videos against captions.

    `scores` is [C captions, V videos], or a function from caption indices (int64 [R]) to their rows [R, V]; a
    function is called twice for every block of at most `elements` scores and must give the same rows both times.
    `owner[c]` is the video that caption c describes; `videos` is V where `scores` is a function.
    t2v: every caption is one query. v2t: a video's score with another one is the best over the other's captions.
    `scale` is exp(logit_scale), for the dual-softmax forms that include it.
    Raises PetvrError for NaN, unknown forms and shapes that do not fit.
    """
    owner = np.asarray(owner, dtype=np.int64)
    rows, videos = _source(scores, len(owner), videos)
    blocks = plan_blocks(owner, videos, elements)
    work = [_Plain(owner, videos, blocks)]
    if dsl != "none":
        work.append(_Reweighed(owner, videos, blocks, dsl, temperature, scale))
    for block in blocks:
        part = _checked(rows(block.captions), len(block.captions), videos)
        for each in work:
            each.first(block, part)
    for each in work:
        each.between()
    for block in blocks:
        part = _checked(rows(block.captions), len(block.captions), videos)
        for each in work:
            each.second(block, part)
    rankings = [each.ranking() for each in work]
    return Rankings(rankings[0], rankings[1] if len(rankings) > 1 else None)


def recall_in_drawn_galleries(
    scores: np.ndarray, owner: np.ndarray, size: int, *, draws: int = 100, dsl: str, temperature: float, scale: float
) -> dict[Direction, float]:
    """R@1 with dual-softmax, the mean over `draws` galleries of `size` videos with their captions, scored anew.

    For scores that depend on the gallery; of others metrics.success_in_smaller_gallery is exact. The generator is
    seeded. Raises PetvrError for sizes outside 1 to the number of videos.
    """
    videos = scores.shape[1]
    if not 1 <= size <= videos:
        raise PetvrError(f"gallery of {size}: allowed are 1 to {videos}, the number of videos")
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([videos, size])))
    totals: dict[Direction, float] = {"t2v": 0.0, "v2t": 0.0}
    for _ in range(draws):
        chosen = np.sort(random.choice(videos, size, replace=False))
        rows = np.flatnonzero(np.isin(owner, chosen))
        part, its = scores[np.ix_(rows, chosen)], np.searchsorted(chosen, owner[rows])
        reweighed = evaluate(part, its, dsl=dsl, temperature=temperature, scale=scale).dsl
        assert reweighed is not None  # a form was given
        for direction, metrics in reweighed.directions().items():
            totals[direction] += metrics["R@1"] / draws
    return totals


class _Plain:
    """Counts of candidates above and beside the true one. First visit: t2v, and the true scores of v2t; second: v2t."""

    def __init__(self, owner: np.ndarray, videos: int, blocks: list[CaptionBlock]) -> None:
        self.owner, self.blocks = owner, blocks
        self.above = np.zeros(len(owner), np.int64)  # of each caption
        self.tied = np.zeros(len(owner), np.int64)
        self.queries = np.unique(owner)
        self.truth = torch.full((videos,), -torch.inf, dtype=torch.float64)
        self.greater = torch.zeros(videos, dtype=torch.int64)
        self.equal = torch.zeros(videos, dtype=torch.int64)

    def first(self, block: CaptionBlock, scores: Tensor) -> None:
        own = self._count_rows(block, scores)
        self._note_truth(block, own.cpu().double())

    def between(self) -> None:
        """All blocks have been visited once."""

    def second(self, block: CaptionBlock, scores: Tensor) -> None:
        self._count_columns(block, scores)

    def ranking(self) -> Ranking:
        v2t = RankCounts(self.greater.numpy()[self.queries], self.equal.numpy()[self.queries])
        return Ranking({"t2v": RankCounts(self.above, self.tied), "v2t": v2t})

    def _count_rows(self, block: CaptionBlock, scores: Tensor) -> Tensor:
        own = scores.gather(1, block.owner.to(scores.device)[:, None])
        captions = block.captions.numpy()
        self.above[captions] = (scores > own).sum(1).cpu().numpy()
        self.tied[captions] = (scores == own).sum(1).cpu().numpy() - 1
        return own.squeeze(1)

    def _note_truth(self, block: CaptionBlock, own: Tensor) -> None:
        self.truth[block.videos] = block.best(own[:, None]).squeeze(1)

    def _count_columns(self, block: CaptionBlock, scores: Tensor) -> None:
        best = block.best(scores)
        truth = self.truth.to(best.device, best.dtype)
        greater, equal = (best > truth).sum(0).cpu(), (best == truth).sum(0).cpu()
        # a video is not its own rival
        own = best[torch.arange(len(best), device=best.device), block.videos.to(best.device)].cpu().double()
        mine = self.truth[block.videos].to(best.dtype).double()
        greater[block.videos] -= (own > mine).long()
        equal[block.videos] -= (own == mine).long()
        self.greater += greater
        self.equal += equal


class _Reweighed(_Plain):
    """The same with dual-softmax. First visit: the softmax's denominators; second: both directions."""

    def __init__(
        self, owner: np.ndarray, videos: int, blocks: list[CaptionBlock], name: str, temperature: float, scale: float
    ) -> None:
        super().__init__(owner, videos, blocks)
        self.form = forms.variant(name)
        forms.check_temperature(temperature)
        self.temperature = temperature
        self.scale = scale if self.form.scaled else 1.0
        self.columns = torch.full((videos,), -torch.inf, dtype=torch.float64)
        self.own = torch.zeros(len(owner), dtype=torch.float64)  # true scores, scaled, before reweighing
        self.rows = torch.zeros(len(owner), dtype=torch.float64)

    def first(self, block: CaptionBlock, scores: Tensor) -> None:
        scores = scores.double() * self.scale
        sums = forms.log_sum(scores, self.temperature, axis=0).cpu()
        self.columns = forms.add_log_sums(self.columns, sums)
        self.rows[block.captions] = forms.log_sum(scores, self.temperature, axis=1).cpu()
        self.own[block.captions] = scores.gather(1, block.owner.to(scores.device)[:, None]).squeeze(1).cpu()

    def second(self, block: CaptionBlock, scores: Tensor) -> None:
        scores = scores.double() * self.scale
        columns = self.columns.to(scores.device)[None]
        rows = self.rows[block.captions].to(scores.device)[:, None]
        t2v = forms.reweigh(scores, self.temperature, columns if self.form.t2v_axis == 0 else rows)
        self._count_rows(block, _finite(t2v))
        v2t = t2v
        if self.form.v2t_axis != self.form.t2v_axis:
            v2t = _finite(forms.reweigh(scores, self.temperature, columns if self.form.v2t_axis == 0 else rows))
        self._count_columns(block, v2t)

    def between(self) -> None:
        owner = torch.from_numpy(self.owner)
        sums = self.columns[owner] if self.form.v2t_axis == 0 else self.rows
        own = _finite(forms.reweigh(self.own, self.temperature, sums))
        for block in self.blocks:
            self._note_truth(block, own[block.captions])


def _finite(scores: Tensor) -> Tensor:
    if torch.isnan(scores).any():
        raise PetvrError("scores contain infinities: dual-softmax cannot weigh them")
    return scores


def _source(scores: Scores, captions: int, videos: int | None) -> tuple[Callable[[Tensor], Tensor], int]:
    if callable(scores) and not isinstance(scores, Tensor):
        if videos is None:
            raise PetvrError("scores come from a function: the number of videos must be given")
        return scores, videos
    matrix = torch.as_tensor(scores)
    if matrix.ndim != 2 or len(matrix) != captions or (videos is not None and matrix.shape[1] != videos):
        raise PetvrError(f"scores {tuple(matrix.shape)} do not fit {captions} captions and {videos or 'any'} videos")
    return lambda index: matrix[index.to(matrix.device)], matrix.shape[1]


def _checked(scores: Tensor, captions: int, videos: int) -> Tensor:
    if scores.shape != (captions, videos):
        raise PetvrError(f"scores {tuple(scores.shape)}: expected [{captions}, {videos}]")
    if torch.isnan(scores).any():
        raise NanScores("scores contain NaN: nothing can be ranked")
    return scores
