"""A run's answers to every caption and every video of a split: scores, ranks and the best candidates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from petvr.data.datasets import Split
from petvr.retrieval.metrics import ranks
from petvr.search import features
from petvr.search.opened import OpenedRun

ROWS = 1024  # captions scored at once


@dataclass(frozen=True)
class SplitAnswers:
    """scores: float32 [distinct captions, videos]; text_of: caption -> its row; plain scores, before dual-softmax."""

    split: Split
    texts: list[str]
    text_of: np.ndarray
    scores: np.ndarray

    @property
    def owner(self) -> np.ndarray:
        """The video of each caption."""
        return np.asarray(self.split.caption_video)

    def caption_ranks(self) -> np.ndarray:
        """The place of its video, for every caption; tied videos share the mean of their places."""
        return ranks(self.scores[self.text_of], self.owner)

    def best_videos(self, caption: int, top: int) -> list[tuple[int, float]]:
        """(video, score), best first, equal ones in the order of the split."""
        row = self.scores[self.text_of[caption]]
        return [(int(index), float(row[index])) for index in np.argsort(-row, kind="stable")[:top]]

    def best_texts(self, video: int, top: int) -> list[tuple[int, float]]:
        """(distinct caption, score), best first."""
        column = self.scores[:, video]
        return [(int(index), float(column[index])) for index in np.argsort(-column, kind="stable")[:top]]


@torch.inference_mode()
def split_answers(run: OpenedRun, split: Split, keep: Path, progress: bool = True) -> SplitAnswers:
    """Features of both sides are computed once and kept in `keep` (petvr.search.features)."""
    gallery = features.videos(run, split, keep, progress)
    texts, sides = features.captions(run, split, keep, progress)
    parts = []
    for rows in torch.arange(len(texts)).split(ROWS):
        parts.append(run.model.scores({name: each[rows] for name, each in sides.items()}, gallery).float().cpu())
    row_of = {text: row for row, text in enumerate(texts)}
    text_of = np.array([row_of[caption] for caption in split.captions], np.int64)
    return SplitAnswers(split, texts, text_of, torch.cat(parts).numpy())
