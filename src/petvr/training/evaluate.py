"""The test split encoded once and ranked in both directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from petvr.retrieval import ranking
from petvr.spec import Recipe
from petvr.training.model import Features, Model
from petvr.training.reader import Reader
from petvr.training.texts import Texts

PICTURES = {"cpu": 256, "cuda": 1024}  # encoded at once: memory, not results, depends on it
KEPT = 1 << 26  # scores that are kept as one matrix (256 MiB)
SCRATCH = {"cpu": 1 << 30, "cuda": 1 << 35}  # numbers worked through between two pauses; memory is the similarity's


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
    pool: Texts | None = None,
) -> ranking.Report:
    """Rank every caption and every video of the reader's split, plain and with the recipe's dual-softmax.

    pool: the sentences a method may look at while it reads a video; None: `texts` (petvr.training.pool).
    `pause` is called between batches and may raise to stop.
    """
    model.mode_of(training=False)
    batch = pictures or PICTURES[model.device.type]
    text = text_sides(model, texts, batch, pause)
    sentences = (text if pool is None else text_sides(model, pool, batch, pause))["text"]
    videos = video_sides(model, reader, pictures, pause, sentences)
    scores = Scores(model, text, videos, texts.place, pause)
    return ranking.evaluate(
        scores,
        owner,
        videos=reader.videos,
        dsl=recipe.dsl,
        temperature=recipe.dsl_temperature,
        scale=float(model.logit_scale.exp()),
    )


class Scores:
    """Caption indices -> their scores with all videos [R, V]; distinct captions are scored once."""

    def __init__(self, model: Model, texts: Features, videos: Features, place: Tensor, pause: Callable) -> None:
        self.model, self.texts, self.videos, self.place, self.pause = model, texts, videos, place, pause
        count, device = len(videos["seen"]), videos["seen"].device
        cost = count * model.similarity.pair_cost(texts, videos)
        self.rows, self.device = max(1, SCRATCH[device.type] // cost), device
        self.kept = None
        distinct = _size(texts)
        if distinct * count <= KEPT:
            self.kept = self._score(torch.arange(distinct))

    def __call__(self, captions: Tensor) -> Tensor:
        if self.kept is not None:
            return self.kept[self.place[captions].to(self.kept.device)]
        distinct, back = torch.unique(self.place[captions], return_inverse=True)
        return self._score(distinct)[back.to(self.device)]

    def _score(self, texts: Tensor) -> Tensor:
        parts = []
        for part in texts.split(self.rows):
            self.pause()
            rows = part.to(self.device)
            parts.append(self.model.scores({name: each[rows] for name, each in self.texts.items()}, self.videos))
        return torch.cat(parts)


def text_sides(model: Model, texts: Texts, batch: int, pause: Callable[[], None]) -> Features:
    """Text sides of the distinct captions; those of like length go together, the longest first."""
    order = torch.argsort(texts.lengths, stable=True, descending=True)
    found: Features = {}
    for part in order.split(batch):
        pause()
        _put(found, part, model.texts(texts.rows(part).to(model.device)), len(texts))
    return found


def video_sides(
    model: Model, reader: Reader, pictures: int | None, pause: Callable[[], None], sentences: Tensor
) -> Features:
    """Video sides of all the reader's videos, each video read and encoded once."""
    batch = max(1, (pictures or PICTURES[model.device.type]) // reader.frames)
    found: Features = {}
    for part in torch.arange(reader.videos).split(batch):
        pause()
        _put(found, part, model.frames(*reader.read(part.numpy()), sentences), reader.videos)
    return found


def _put(found: Features, rows: Tensor, features: Features, total: int) -> None:
    """Write rows into the whole, which is made by the first ones: joined at the end it would stand there twice.

    Later texts may have fewer words than the first ones: what they lack stays zero.
    """
    for name, part in features.items():
        if name not in found:
            found[name] = part.new_zeros((total, *part.shape[1:]))
        whole = found[name] if part.dim() == 1 else found[name][:, : part.shape[1]]
        whole[rows.to(part.device)] = part


def _size(features: Features) -> int:
    return len(next(iter(features.values())))
