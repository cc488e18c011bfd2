"""The best videos for a sentence, and the best captions for a video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from petvr.data.datasets import Split
from petvr.data.frames import single
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.search import features
from petvr.search.opened import OpenedRun
from petvr.training.model import Features


@dataclass(frozen=True)
class Hit:
    """rank from 1; score before CLIP's logit scale, for most similarities a cosine."""

    rank: int
    score: float
    index: int  # which video or caption


@torch.inference_mode()
def best_videos(run: OpenedRun, query: str, split: Split, *, top: int, keep: Path, progress: bool = True) -> list[Hit]:
    """Videos of the split for a sentence, `index` counting its videos. Raises PetvrError for an empty sentence."""
    require_sentence(query)
    return rank_videos(run, query, features.videos(run, split, keep, progress), top)


def require_sentence(query: str) -> None:
    """Raises PetvrError for an empty one, and for what is no text."""
    if not query.strip():
        raise PetvrError("the sentence to search for is empty")
    try:
        query.encode()
    except UnicodeEncodeError as error:  # bytes of another encoding on the command line
        raise PetvrError(f"the sentence to search for is no text in UTF-8: {query!r:.80}") from error


@torch.inference_mode()
def rank_videos(run: OpenedRun, query: str, gallery: Features, top: int) -> list[Hit]:
    """As `best_videos`, from features that are at hand."""
    require_sentence(query)
    text = run.model.similarity.texts(run.text_video.encode_text([query]).features)
    return _best(run.model.scores(text, gallery)[0], top)


@torch.inference_mode()
def best_captions(
    run: OpenedRun,
    shown: tuple[Tensor, Tensor],
    split: Split,
    *,
    top: int,
    keep: Path,
    progress: bool = True,
) -> tuple[list[str], list[Hit]]:
    """The split's distinct captions, and the best of them for a video: `shown` is what `pictures_of` gave."""
    pixels, mask = shown
    distinct, texts = features.captions(run, split, keep, progress)
    side = run.model.encode_videos(pixels.to(run.device), mask, features.sentences(run, keep, progress))
    return distinct, _best(run.model.scores(texts, side)[:, 0], top)


def pictures_of(store: FrameStore, video: str, window: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
    """uint8 [1, F, 3, S, S] and its mask [1, F] of a video file, as the store holds its own, or of one of these by its
    id. window: the part of the file to look at, in seconds (start, end). PetvrError for a file that cannot be read.
    """
    if not Path(video).exists() and video in store:
        stored, present = store.get([video])
        return torch.from_numpy(stored), torch.from_numpy(present)
    decoded = single.read_video(
        Path(video),
        sampler=store.sampler,
        frames=store.frames,
        size=store.size,
        picture=store.picture,
        window=window,
    )
    pixels = torch.zeros((1, store.frames, *decoded.shape[1:]), dtype=torch.uint8)
    mask = torch.zeros((1, store.frames), dtype=torch.bool)
    pixels[0, : len(decoded)] = torch.from_numpy(decoded)
    mask[0, : len(decoded)] = True
    return pixels, mask


def _best(scores: Tensor, top: int) -> list[Hit]:
    order = torch.argsort(scores, descending=True, stable=True)[:top].tolist()
    values = scores.tolist()
    return [Hit(rank, values[index], index) for rank, index in enumerate(order, 1)]
