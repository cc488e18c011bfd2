"""The frozen beginning of the vision tower, computed once per video and read by every run that has the same one.

A method that acts from block k on, or trains from there, leaves blocks 0..k-1 as CLIP has them (`frozen_blocks`): all
of the tower for zero-shot, CoOp and heads on a frozen CLIP, eleven blocks for Partial. Their output is kept as it is
computed (in the run's arithmetic, on its kind of device), for blocks of videos that are always the same, so that what
stands in a cache does not depend on which run filled it. With and without a cache a run differs by rounding only.

Files in a cache's folder: stream.bin (a sparse array over the store's videos), done.bin (a byte for each block of
videos, set after its pictures are on disk). Both may be deleted at any time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from petvr.atomic import file_lock
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.methods._adapted import Adapted
from petvr.training import precision
from petvr.training.log import RunLog
from petvr.training.model import Model

VIDEOS = 8  # computed together; raising it changes results by rounding: then raise VERSION in petvr.training
WORTH = 0.25  # of the tower's blocks; less saves nothing against reading the pictures
FLUSH = 20.0  # seconds between two times that what was computed is made sure of
GIB = 1 << 30


def cacheable_blocks(model: Model) -> int:
    """How far a cache would bring this model's vision tower; one more than its blocks: to the projected features."""
    frozen, depth = model.adapted.frozen_blocks(), model.adapted.clip.config.vision.layers
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


class NoRoom(PetvrError):
    """The cache does not fit: its run can do without."""


class FrozenFeatureCache:
    """One cache, for one store, weights, arithmetic and number of blocks; read in place of the store."""

    def __init__(self, model: Model, store: FrameStore, folder: Path) -> None:
        self.model, self.store, self.folder, self.blocks = model, store, folder, cacheable_blocks(model)
        self.frames, videos = store.frames, len(store)
        self.whole = self.blocks > model.adapted.clip.config.vision.layers
        self.type = self._compute(np.zeros(1, np.int64)).dtype
        each = cached_shape(model, store.frames)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            size = torch.empty(0, dtype=self.type).element_size()
            numbers = {1: np.uint8, 2: np.uint16, 4: np.uint32}[size]
            self.stream = _map(folder / "stream.bin", numbers, (videos, *each))
            self.done = _map(folder / "done.bin", np.uint8, (-(-videos // VIDEOS),))
            with open(folder / "done.bin", "r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, len(self.done))
        except OSError as error:
            raise NoRoom(f"{folder}: cannot be written: {error.strerror or error}") from error

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        return self.store.rows(ids)

    def counts(self, ids: Sequence[str]) -> np.ndarray:
        return self.store.counts(ids)

    def buffer(self, videos: int, pinned: bool) -> Tensor:
        return torch.empty((videos, *self.stream.shape[1:]), dtype=self.type, pin_memory=pinned)

    def fill(self, rows: np.ndarray, buffer: Tensor) -> np.ndarray:
        """Positions in the store -> [V, F, E] or [V, F, 1 + P, D] in the buffer, and the mask; all were computed."""
        numbers = buffer.view(torch.uint8).numpy().view(self.stream.dtype)
        if os.stat(self.folder / "stream.bin").st_size < self.stream.nbytes:
            raise PetvrError(f"{self.folder}: cut off while it was in use; delete it and start again")
        np.take(self.stream, rows, axis=0, out=numbers, mode="clip")  # without "clip" numpy copies twice
        return self.store.masks(rows)

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Blocks of videos that some row needs and nobody has computed."""
        wanted = np.unique(rows // VIDEOS)
        return wanted[self.done[wanted] == 0]

    def compute(
        self, rows: np.ndarray, on_progress: Callable[[int, int], None], raise_if_stopped: Callable[[], None]
    ) -> None:
        """Compute what is missing of these rows; another process that is at it is waited for.

        on_progress(done, total) after every block; what was computed until a stop stays.
        """
        with file_lock(self.folder / "lock", "busy", wait=lambda _: raise_if_stopped()):
            missing = self.missing(rows)
            written: list[int] = []
            flushed = time.monotonic()
            try:
                for number, block in enumerate(missing):
                    raise_if_stopped()
                    part = np.arange(block * VIDEOS, min((block + 1) * VIDEOS, len(self.store)))
                    stream = self._compute(part).cpu().contiguous()
                    if not stream.isfinite().all():
                        raise PetvrError(
                            f"{self.store.path}: the frozen tower gives NaN or infinity in {self.model.mode}"
                        )
                    self._reserve(int(part[0]), len(part))
                    self.stream[part] = stream.view(torch.uint8).numpy().view(self.stream.dtype).reshape(stream.shape)
                    written.append(block)
                    if time.monotonic() - flushed > FLUSH:
                        self._flush(written)
                        flushed = time.monotonic()
                    on_progress(number + 1, len(missing))
            finally:
                self._flush(written)

    def _reserve(self, first: int, videos: int) -> None:
        """Room on the disk before it is written to: in a mapped file a full disk would be the end of the process."""
        each = self.stream[:1].nbytes
        try:
            with open(self.folder / "stream.bin", "r+b") as stream:
                os.posix_fallocate(stream.fileno(), first * each, videos * each)
        except OSError as error:
            raise NoRoom(f"{self.folder}: cannot be written: {error.strerror or error}") from error

    def _flush(self, written: list[int]) -> None:
        if written:
            self.stream.flush()
            self.done[written] = 1
            self.done.flush()
            written.clear()

    @torch.inference_mode()
    def _compute(self, rows: np.ndarray) -> Tensor:
        model = self.model
        pixels, mask = map(torch.from_numpy, self.store.get_rows(rows))
        model.set_training(False)
        with model.autocast():
            clip = model.adapted.clip
            pixels = clip.normalise(pixels.to(model.device))
            return clip.encode_frames(pixels, mask) if self.whole else clip.encode_prefix(pixels, mask, self.blocks)


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


def _map(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """An array in a file that is as long as it needs to be; what was never written reads as zeros."""
    length = int(np.prod(shape)) * np.dtype(kind).itemsize
    with open(path, "ab") as stream:
        if os.fstat(stream.fileno()).st_size < length:
            stream.truncate(length)  # no room is taken yet
    return np.memmap(path, kind, "r+", shape=shape)
