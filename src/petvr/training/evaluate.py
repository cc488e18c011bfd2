"""The test split encoded once and ranked in both directions; and how long encoding takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from petvr.clip.tokenizer import Tokenizer
from petvr.data.datasets import Split
from petvr.data.frames.store import FrameStore
from petvr.retrieval import ranking
from petvr.spec import Recipe, RunSpec
from petvr.training.batches import BatchReader, FrameReader, FrameSource, TokenizedCaptions
from petvr.training.candidate_texts import candidate_captions
from petvr.training.data import Splits
from petvr.training.model import Features, Model

FRAMES_PER_BATCH = {"cpu": 256, "cuda": 1024}  # encoded at once: memory, not results, depends on it
KEPT = 1 << 26  # scores that are kept as one matrix (256 MiB)
TURNS = 3  # timed ones, behind one that warms up
TIMED = {"cpu": 64, "cuda": 1024}  # frames, and texts, of one
SCRATCH = {"cpu": 1 << 32, "cuda": 1 << 35}  # numbers worked through between two stops; memory is the similarity's


@dataclass(frozen=True)
class EvaluationData:
    """Captions and videos of the test or the validation split, `caption_video[c]` the video of caption c.

    candidates: the sentences a method may look at while it reads a video; None: the captions
    (petvr.training.candidate_texts).
    """

    captions: TokenizedCaptions
    caption_video: Sequence[int]
    reader: FrameReader
    candidates: TokenizedCaptions | None = None
    frames_per_batch: int | None = None  # encoded at once; None: FRAMES_PER_BATCH


def open_evaluation_data(
    spec: RunSpec,
    splits: Splits,
    model: Model,
    frames: FrameStore | FrameSource,
    tokenize: Tokenizer,
    frames_per_batch: int | None = None,
    split: Split | None = None,
) -> EvaluationData:
    """Of the test split, or of `split`."""
    test, pool, max_tokens = split or splits.test.split, model.adapted.needs_texts, spec.recipe.words
    sentences = candidate_captions(pool, splits.train.split.captions) if pool else None
    return EvaluationData(
        captions=TokenizedCaptions(test.captions, tokenize, max_tokens),
        caption_video=test.caption_video,
        reader=FrameReader(frames, test.videos, model.device),
        candidates=TokenizedCaptions(sentences, tokenize, max_tokens) if sentences else None,
        frames_per_batch=frames_per_batch,
    )


def evaluation_steps(per_epoch: int, epochs: int, evaluations: int) -> dict[int, int]:
    """Steps taken -> epoch (from 1), where the test split is ranked: evenly spread, each epoch's end included.

    `evaluations` 0 ranks only at the end of the training. An epoch of fewer steps than evaluations is ranked after
    each step.
    """
    if evaluations == 0:
        return {per_epoch * epochs: epochs} if epochs else {}
    epoch_at = {}
    for epoch in range(epochs):
        for part in range(1, evaluations + 1):
            taken = -(-per_epoch * part // evaluations)
            epoch_at[epoch * per_epoch + taken] = epoch + 1
    return epoch_at


@torch.inference_mode()
def rank_split(
    model: Model, test: EvaluationData, recipe: Recipe, raise_if_stopped: Callable[[], None] = lambda: None
) -> ranking.Rankings:
    """Rank every caption and every video of the split, plain and with the recipe's dual-softmax.

    `raise_if_stopped` is called between batches.
    """
    model.set_training(False)
    batch = test.frames_per_batch or FRAMES_PER_BATCH[model.device.type]
    text = encode_captions(model, test.captions, batch, raise_if_stopped)
    sentences = text if test.candidates is None else encode_captions(model, test.candidates, batch, raise_if_stopped)
    videos = encode_videos(model, test.reader, test.frames_per_batch, raise_if_stopped, sentences["text"])
    rank = partial(
        ranking.evaluate,
        owner=test.caption_video,
        videos=test.reader.videos,
        dsl=recipe.dsl,
        temperature=recipe.dsl_temperature,
        scale=float(model.logit_scale.exp()),
    )
    rankings = rank(Scores(model, text, videos, test.captions.distinct, raise_if_stopped))
    if model.adapted.needs_texts != "query":
        return rankings
    rows = []  # of the distinct captions: scores with videos that were read with this one in mind
    for number in range(_size(text)):
        one = {name: each[number : number + 1] for name, each in text.items()}
        read = encode_videos(model, test.reader, test.frames_per_batch, raise_if_stopped, one["text"])
        rows.append(model.scores(one, read))
    by_query = torch.cat(rows)
    distinct = test.captions.distinct.to(by_query.device)
    return rankings.with_t2v_of(rank(lambda captions: by_query[distinct[captions.to(distinct.device)]]))


class Scores:
    """Caption indices -> their scores with all videos [R, V]; distinct captions are scored once."""

    def __init__(
        self, model: Model, texts: Features, videos: Features, distinct: Tensor, raise_if_stopped: Callable[[], None]
    ) -> None:
        self.model, self.texts, self.videos, self.distinct = model, texts, videos, distinct
        self.raise_if_stopped = raise_if_stopped
        count, device = len(videos["seen"]), videos["seen"].device
        cost = count * model.similarity.pair_cost(texts, videos)
        self.rows, self.device = max(1, SCRATCH[device.type] // cost), device
        self.kept = None
        if _size(texts) * count <= KEPT:
            self.kept = self._score(torch.arange(_size(texts)))

    def __call__(self, captions: Tensor) -> Tensor:
        if self.kept is not None:
            return self.kept[self.distinct[captions].to(self.kept.device)]
        distinct, back = torch.unique(self.distinct[captions], return_inverse=True)
        return self._score(distinct)[back.to(self.device)]

    def _score(self, texts: Tensor) -> Tensor:
        parts = []
        for part in texts.split(self.rows):
            self.raise_if_stopped()
            rows = part.to(self.device)
            parts.append(self.model.scores({name: each[rows] for name, each in self.texts.items()}, self.videos))
        return torch.cat(parts)


def encode_captions(
    model: Model, captions: TokenizedCaptions, batch: int, raise_if_stopped: Callable[[], None]
) -> Features:
    """Text sides of the distinct captions; those of like length go together, the longest first."""
    order = torch.argsort(captions.tokenized()[1], stable=True, descending=True)
    features: Features = {}
    for part in order.split(batch):
        raise_if_stopped()
        put_rows(features, part, model.encode_texts(*captions.read(part, model.device)), len(captions))
    return features


def encode_videos(
    model: Model,
    reader: FrameReader,
    frames_per_batch: int | None,
    raise_if_stopped: Callable[[], None],
    sentences: Tensor | None,
) -> Features:
    """Video sides of all the reader's videos, each video read and encoded once."""
    batch = max(1, (frames_per_batch or FRAMES_PER_BATCH[model.device.type]) // reader.frames)
    features: Features = {}
    parts = torch.arange(reader.videos).split(batch)
    frames = BatchReader(reader, lambda number: parts[number].numpy(), len(parts), min(batch, reader.videos))
    for number, part in enumerate(parts):
        raise_if_stopped()
        put_rows(features, part, model.encode_videos(*frames.read(number), sentences), reader.videos)
    return features


def put_rows(whole: Features, rows: Tensor, features: Features, total: int) -> None:
    """Write rows into the whole, which is made by the first ones: joined at the end it would stand there twice.

    Later texts may have fewer words than the first ones: what they lack stays zero.
    """
    for name, part in features.items():
        if name not in whole:
            whole[name] = part.new_zeros((total, *part.shape[1:]))
        target = whole[name] if part.dim() == 1 else whole[name][:, : part.shape[1]]
        target[rows.to(part.device)] = part


def _size(features: Features) -> int:
    return len(next(iter(features.values())))


@torch.inference_mode()
def encoding_ms(model: Model, store: FrameStore, videos: Sequence[str], test: EvaluationData) -> tuple[float, float]:
    """Milliseconds a video and a text, medians of TURNS over one of the evaluation's batches, or TIMED of it.

    `videos`: ids of the test split, of which the first are taken, from their pixels even where the run read its frozen
    beginning from a cache; the texts are the first distinct captions. A method that looks at sentences has those of the
    evaluation, one at a time where it reads a video anew for each query.
    """
    model.set_training(False)
    on, at_once = model.device, test.frames_per_batch or FRAMES_PER_BATCH[model.device.type]
    timed_at_once = min(at_once, TIMED[on.type])
    ids = test.captions.rows(torch.arange(min(timed_at_once, len(test.captions)))).to(on)
    seen = test.captions if test.candidates is None else test.candidates
    sentences = encode_captions(model, seen, at_once, lambda: None)["text"] if model.adapted.needs_texts else None
    if sentences is not None and model.adapted.needs_texts == "query":
        sentences = sentences[:1]
    first = videos[: max(1, timed_at_once // store.frames)]
    reader = BatchReader(FrameReader(store, first, on), lambda _: np.arange(len(first)), 1, len(first), depth=0)
    pixels, mask = reader.read(0)
    pixels = pixels.to(on)
    whole, model.vision = model.vision, model.adapted
    try:
        video = _median_ms(lambda: model.encode_videos(pixels, mask, sentences), on)
        text = _median_ms(lambda: model.encode_texts(ids), on)
    finally:
        model.vision = whole
    return video / len(first), text / len(ids)


def _median_ms(work: Callable[[], object], on: torch.device) -> float:
    timed(work, on)
    return 1e3 * statistics.median(timed(work, on) for _ in range(TURNS))


def timed(work: Callable[[], object], on: torch.device, times: int = 1) -> float:
    """Seconds a call: the clock's on a GPU, the processor's on a CPU."""
    cuda = on.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    start = clock()
    for _ in range(times):
        work()
    if cuda:
        torch.cuda.synchronize(on)
    return (clock() - start) / times
