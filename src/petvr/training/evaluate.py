"""The test split encoded once and ranked in both directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from petvr.retrieval import ranking
from petvr.spec import Recipe
from petvr.training.model import Model
from petvr.training.reader import Reader
from petvr.training.texts import Texts

PICTURES = {"cpu": 256, "cuda": 1024}  # encoded at once: memory, not results, depends on it
KEPT = 1 << 26  # scores that are kept as one matrix (256 MiB)
SCRATCH = {"cpu": 1 << 24, "cuda": 1 << 27}  # texts x videos x E of one call to a similarity


@torch.inference_mode()
def rank(
    model: Model,
    texts: Texts,
    owner: Sequence[int],
    reader: Reader,
    recipe: Recipe,
    *,
    pictures: int | None = None,
    pause: Callable[[], None] = lambda: None,
) -> ranking.Report:
    """Rank every caption and every video of the reader's split, plain and with the recipe's dual-softmax.

    `pause` is called between batches and may raise to stop.
    """
    model.mode_of(training=False)
    text = _texts(model, texts, pictures or PICTURES[model.device.type], pause)
    frames, mask = _frames(model, reader, pictures, pause)
    scores = Scores(model, text, frames, mask, texts.place, pause)
    return ranking.evaluate(
        scores,
        owner,
        videos=len(frames),
        dsl=recipe.dsl,
        temperature=recipe.dsl_temperature,
        scale=float(model.logit_scale.exp()),
    )


class Scores:
    """Caption indices -> their scores with all videos [R, V]; distinct captions are scored once."""

    def __init__(
        self, model: Model, text: Tensor, frames: Tensor, mask: Tensor, place: Tensor, pause: Callable
    ) -> None:
        self.model, self.text, self.frames, self.mask, self.place, self.pause = model, text, frames, mask, place, pause
        cost = len(frames) * max(frames.shape[-1], frames.shape[1])
        self.rows = max(1, SCRATCH[frames.device.type] // cost)
        self.kept = None
        if len(text) * len(frames) <= KEPT:
            self.kept = self._score(torch.arange(len(text)))

    def __call__(self, captions: Tensor) -> Tensor:
        if self.kept is not None:
            return self.kept[self.place[captions].to(self.kept.device)]
        distinct, back = torch.unique(self.place[captions], return_inverse=True)
        return self._score(distinct)[back.to(self.text.device)]

    def _score(self, texts: Tensor) -> Tensor:
        parts = []
        for part in texts.split(self.rows):
            self.pause()
            parts.append(self.model.scores(self.text[part.to(self.text.device)], self.frames, self.mask))
        return torch.cat(parts)


def _texts(model: Model, texts: Texts, batch: int, pause: Callable[[], None]) -> Tensor:
    """Features of the distinct captions [U, E]; those of like length go together."""
    order = torch.argsort(texts.lengths, stable=True)
    parts = []
    for part in order.split(batch):
        pause()
        parts.append(model.texts(texts.rows(part).to(model.device)))
    return torch.cat(parts)[torch.argsort(order).to(model.device)]


def _frames(model: Model, reader: Reader, pictures: int | None, pause: Callable[[], None]) -> tuple[Tensor, Tensor]:
    """Features of all the reader's videos [V, F, E] and their mask [V, F], each video read and encoded once."""
    batch = max(1, (pictures or PICTURES[model.device.type]) // reader.frames)
    features, masks = [], []
    for part in np.split(np.arange(reader.videos), range(batch, reader.videos, batch)):
        pause()
        pixels, mask = reader.read(part)
        features.append(model.frames(pixels, mask))
        masks.append(mask)
    return torch.cat(features), torch.cat(masks)
