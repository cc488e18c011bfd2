"""Captions as token ids: each distinct one once, and no longer than the longest that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from petvr.clip.tokenizer import Tokenizer


@dataclass(frozen=True)
class Texts:
    """Distinct captions as ids [U, W] with their lengths [U], and which of them each caption is [C].

    Equal captions get equal features that way, and their ties stay ties.
    """

    ids: Tensor
    lengths: Tensor
    place: Tensor

    @classmethod
    def of(cls, captions: Sequence[str], tokenize: Tokenizer, words: int) -> Texts:
        distinct = list(dict.fromkeys(captions))
        number = {caption: index for index, caption in enumerate(distinct)}
        ids = tokenize(distinct, words)
        lengths = (ids == tokenize.eot).int().argmax(dim=1) + 1
        return cls(ids, lengths, torch.tensor([number[caption] for caption in captions]))

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, which: Tensor) -> Tensor:
        """ids of distinct captions, without the padding that all of them have: what follows EOT changes no feature."""
        return self.ids[which, : int(self.lengths[which].max())]

    def of_captions(self, captions: np.ndarray) -> Tensor:
        return self.rows(self.place[torch.from_numpy(captions)])
