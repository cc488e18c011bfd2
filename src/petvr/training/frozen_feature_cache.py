"""The frozen beginning of the vision tower, computed once per video, and a text tower that is frozen as a whole, once
per caption: read by every run that has the same one.

A method that acts from block k on, or trains from there, leaves blocks 0..k-1 as CLIP has them (`frozen_blocks`): all
of the tower for zero-shot, CoOp and heads on a frozen CLIP, eleven blocks for Partial. Their output is kept as it is
computed (in the run's arithmetic, on its kind of device; petvr.training.feature_file). With and without a cache of
videos a run differs by rounding only. What a frozen text tower gives is computed caption by caption in the same blocks
whether a file keeps it or memory does: the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from petvr.data.frames.store import FrameStore
from petvr.methods._adapted import Adapted
from petvr.training import precision
from petvr.training.batches import TokenizedCaptions
from petvr.training.feature_file import GIB, FeatureFile, NoRoom
from petvr.training.log import RunLog
from petvr.training.model import Features, Model

# rows computed together; raising one changes results by rounding: then raise VERSION in petvr.training
VIDEOS, CAPTIONS = 8, 256
WORTH = 0.25  # of the tower's blocks; less saves nothing against reading the pictures
IN_MEMORY = 2.0  # GiB of captions' features that a run without a file keeps


def cacheable_blocks(model: Model) -> int:
    """How far a cache would bring this model's vision tower; one more than its blocks: to the projected features."""
    frozen, depth = model.adapted.frozen_blocks("vision"), model.adapted.clip.config.vision.layers
    return min(frozen, depth) if "patches" in model.similarity.NEEDS else frozen


def cached_shape(model: Model, frames: int) -> tuple[int, ...]:
    """Of one video: [F, E] where the whole tower is frozen, else [F, 1 + P, D]."""
    config = model.adapted.clip.config
    if cacheable_blocks(model) > config.vision.layers:
        return (frames, config.embed)
    return (frames, 1 + config.patches, config.vision.width)


class FrozenBeginning:
    """A vision tower that is given what its first `blocks` give, in place of pixels; all of it frozen: its features."""

    def __init__(self, adapted: Adapted, blocks: int) -> None:
        self.adapted, self.blocks = adapted, blocks
        self.whole = blocks > adapted.clip.config.vision.layers

    def encode_frames(self, stream: Tensor, mask: Tensor, texts: Tensor | None) -> Tensor:
        return stream if self.whole else self.adapted.encode_frames(stream, mask, texts, self.blocks)

    def encode_patches(self, stream: Tensor, mask: Tensor, texts: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.adapted.encode_patches(stream, mask, texts, self.blocks)


class FrozenFeatureCache(FeatureFile):
    """One cache, for one store, weights, arithmetic and number of blocks; read in place of the store."""

    def __init__(self, model: Model, store: FrameStore, folder: Path) -> None:
        self.model, self.store, self.blocks, self.frames = model, store, cacheable_blocks(model), store.frames
        self.whole = self.blocks > model.adapted.clip.config.vision.layers
        self.what, self.mode = str(store.path), model.mode
        kind = self.compute_rows(np.zeros(1, np.int64)).dtype
        super().__init__(folder, len(store), cached_shape(model, store.frames), kind, VIDEOS)

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        return self.store.rows(ids)

    def counts(self, ids: Sequence[str]) -> np.ndarray:
        return self.store.counts(ids)

    def fill(self, rows: np.ndarray, buffer: Tensor) -> np.ndarray:
        """Positions in the store -> [V, F, E] or [V, F, 1 + P, D] in the buffer, and the mask; all were computed."""
        self.take(rows, buffer)
        return self.store.masks(rows)

    @torch.inference_mode()
    def compute_rows(self, rows: np.ndarray) -> Tensor:
        model = self.model
        pixels, mask = map(torch.from_numpy, self.store.get_rows(rows))
        model.set_training(False)
        with model.autocast():
            clip = model.adapted.clip
            pixels = clip.normalise(pixels.to(model.device))
            return clip.encode_frames(pixels, mask) if self.whole else clip.encode_prefix(pixels, mask, self.blocks)


class FrozenCaptions(FeatureFile):
    """What a frozen text tower gives for distinct captions: the sentence and, where the similarity reads them, all
    words, [1 (+ W), E] a caption. The longest captions come first, so that a block has few columns of padding."""

    def __init__(self, model: Model, captions: TokenizedCaptions, folder: Path | None) -> None:
        self.model, self.captions = model, captions
        self.order = torch.argsort(captions.tokenized()[1], stable=True, descending=True)
        self.place = torch.argsort(self.order).numpy()
        self.what, self.mode = "captions", model.mode
        kind = self.compute_rows(np.zeros(1, np.int64)).dtype
        super().__init__(folder, len(captions), captions_shape(model, captions), kind, CAPTIONS)

    @torch.inference_mode()
    def compute_rows(self, rows: np.ndarray) -> Tensor:
        self.model.set_training(False)
        sentences = self.model.encode_sentences(self.captions.rows(self.order[rows]).to(self.model.device))
        text, words = sentences["text"][:, None], sentences.get("words")
        if words is None:
            return text
        out = text.new_zeros((len(rows), *captions_shape(self.model, self.captions)))
        out[:, :1], out[:, 1 : 1 + words.shape[1]] = text, words
        return out

    def sentences(self, which: Tensor, device: torch.device) -> Features:
        """Distinct captions by number -> what Model.encode_sentences gives for them, without a graph."""
        pinned = device.type == "cuda"
        buffer = self.buffer(len(which), pinned)
        self.take(self.place[which.numpy()], buffer)
        features = {"text": buffer[:, 0]}
        if len(buffer[0]) > 1:
            lengths = self.captions.tokenized(which)[1]
            longest = int(lengths.max())
            features["words"] = buffer[:, 1 : 1 + longest]
            features["word_mask"] = torch.arange(longest) < lengths[:, None]
        return {name: feature.to(device, non_blocking=True) for name, feature in features.items()}


def captions_shape(model: Model, captions: TokenizedCaptions) -> tuple[int, int]:
    words = captions.max_tokens if "words" in model.similarity.NEEDS else 0
    return (1 + words, model.adapted.clip.config.embed)


def open_captions(
    model: Model,
    captions: TokenizedCaptions,
    *,
    root: Path | None,
    gib: float,
    weights_digest: str,
    log: RunLog,
    raise_if_stopped: Callable[[], None],
) -> bool:
    """Give the captions what the model's text tower, all of which is frozen, makes of them; False: that takes more than
    `gib` on the disk and IN_MEMORY, which is said. root: the folder of all caches; None: no files.
    """
    wide = 2 if model.mode in precision.HALF else 4
    size = len(captions) * wide * float(np.prod(captions_shape(model, captions))) / GIB
    what = f"the whole text tower, {len(captions)} captions"
    words = "words" * ("words" in model.similarity.NEEDS)
    all_ids = captions.tokenized()[0]
    ids = hashlib.sha256(all_ids.numpy().tobytes() + str(all_ids.shape).encode()).hexdigest()[:16]
    key = f"{ids}-{weights_digest}-{model.mode}-{model.device.type}-{words or 'sentences'}"
    folders = [root / "captions" / key] if root is not None and 0 < size <= gib else []
    for folder in [*folders, *[None] * (size <= IN_MEMORY)]:
        try:
            frozen = FrozenCaptions(model, captions, folder)
            rows = np.arange(len(captions))
            new = len(frozen.missing(rows))
            label = "frozen part, block of captions"
            frozen.compute(rows, lambda done, total, label=label: log.step(done, total, None, label), raise_if_stopped)
        except NoRoom as error:
            log.line(f"frozen: {error}; going on without this cache")
            continue
        captions.frozen = frozen
        how = "computed now" if new else "nothing to compute"
        log.line(f"frozen: {what}, read from {folder or 'memory'} ({how})")
        return True
    log.line(f"frozen: {what}; a cache of it would take {size:.0f} GiB, feature_cache_gib allows {gib:g}")
    return False


def open_cache(
    model: Model,
    store: FrameStore,
    videos: Sequence[str],
    *,
    root: Path,
    gib: float,
    weights_digest: str,
    log: RunLog,
    raise_if_stopped: Callable[[], None],
) -> FrozenFeatureCache | None:
    """The filled cache of these videos, from which the model's vision tower goes on from here; None: nothing much of
    the tower is frozen, or the cache would take more than `gib`, which is said. root: the folder of all caches.
    """
    count, depth = cacheable_blocks(model), model.adapted.clip.config.vision.layers
    if gib <= 0 or count < max(1, WORTH * depth):
        return None
    rows = store.rows(videos)
    wide = 2 if model.mode in precision.HALF else 4
    size = len(np.unique(rows // VIDEOS)) * VIDEOS * wide * float(np.prod(cached_shape(model, store.frames))) / GIB
    reach = "the whole vision tower" if count > depth else f"{count} of {depth} blocks of the vision tower"
    if size > gib:
        log.line(f"frozen: {reach}; a cache of it would take {size:.0f} GiB, feature_cache_gib allows {gib:g}")
        return None
    key = f"{store.digest}-{weights_digest}-{model.mode}-{model.device.type}-{'whole' if count > depth else count}"
    try:
        cache = FrozenFeatureCache(model, store, root / f"{store.path.parent.name}-{store.path.name}" / key)
        new = len(cache.missing(rows))
        label = "frozen part, block of videos"
        cache.compute(rows, lambda done, total: log.step(done, total, None, label), raise_if_stopped)
    except NoRoom as error:
        log.line(f"frozen: {error}; going on without this cache")
        return None
    how = f"{new * VIDEOS} videos computed now" if new else "nothing to compute"
    log.line(f"frozen: {reach}, read from {cache.folder} ({how})")
    model.vision = FrozenBeginning(model.adapted, count)
    return cache
