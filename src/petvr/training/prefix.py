"""The frozen beginning of the vision tower, computed once per video and read by every run that has the same one.

A method that acts from block k on, or trains from there, leaves blocks 0..k-1 as CLIP has them (`frozen_blocks`): all
of the tower for zero-shot, CoOp and heads on a frozen CLIP, eleven blocks for Partial. Their output is kept as it is
computed (in the run's arithmetic, on its kind of device), for blocks of videos that are always the same, so that what
stands in a cache does not depend on which run filled it. With and without a cache a run differs by rounding only.

Files in a cache's folder: stream.bin (a sparse array over the store's videos), done.bin (a byte for each block of
videos, set after its pictures are on disk). Both may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.training import precision
from petvr.training.model import Model
from petvr.training.report import Report

VIDEOS = 8  # computed together; raising it changes results by rounding: then raise VERSION in petvr.training
WORTH = 0.25  # of the tower's blocks; less saves nothing against reading the pictures
FLUSH = 20.0  # seconds between two times that what was computed is made sure of
GIB = 1 << 30


def blocks(model: Model) -> int:
    """How far a cache would bring this model's vision tower; one more than its blocks: to the projected features."""
    depth = model.adapted.clip.config.vision.layers
    found = model.adapted.frozen_blocks()
    return min(found, depth) if "patches" in model.similarity.NEEDS else found


def shape(model: Model, frames: int) -> tuple[int, ...]:
    """Of one video: [F, E] where the whole tower is frozen, else [F, 1 + P, D]."""
    config = model.adapted.clip.config
    if blocks(model) > config.vision.layers:
        return (frames, config.embed)
    return (frames, 1 + config.patches, config.vision.width)


class Prefix:
    """One cache, for one store, weights, arithmetic and number of blocks."""

    def __init__(self, model: Model, store: FrameStore, folder: Path) -> None:
        self.model, self.store, self.folder, self.count = model, store, folder, blocks(model)
        videos, depth = len(store), model.adapted.clip.config.vision.layers
        self.whole = self.count > depth
        probe = self._compute(np.zeros(1, np.int64))
        self.type = probe.dtype
        each = shape(model, store.frames)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            size = torch.empty(0, dtype=self.type).element_size()
            numbers = {1: np.uint8, 2: np.uint16, 4: np.uint32}[size]
            self.stream = _map(folder / "stream.bin", numbers, (videos, *each))
            self.done = _map(folder / "done.bin", np.uint8, (-(-videos // VIDEOS),))
        except OSError as error:
            raise PetvrError(f"{folder}: cannot be written: {error.strerror or error}") from error

    def rows(self, rows: np.ndarray) -> Tensor:
        """Positions in the store -> [B, F, E] or [B, F, 1 + P, D], on the CPU; `fill` has been there."""
        return torch.from_numpy(self.stream[rows]).view(self.type)

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Blocks of videos that some row needs and nobody has computed."""
        wanted = np.unique(rows // VIDEOS)
        return wanted[self.done[wanted] == 0]

    def fill(self, rows: np.ndarray, tell: Callable[[int, int], None], pause: Callable[[], None]) -> None:
        """Compute what is missing of these rows; another process that is at it is waited for.

        tell(done, total) after every block; `pause` may raise to stop: what was computed until then stays.
        """
        with _turn(self.folder, pause):
            missing = self.missing(rows)
            written: list[int] = []
            flushed = time.monotonic()
            try:
                for number, block in enumerate(missing):
                    pause()
                    part = np.arange(block * VIDEOS, min((block + 1) * VIDEOS, len(self.store)))
                    found = self._compute(part).cpu().contiguous()
                    self.stream[part] = found.view(torch.uint8).numpy().view(self.stream.dtype).reshape(found.shape)
                    written.append(block)
                    if time.monotonic() - flushed > FLUSH:
                        self._flush(written)
                        flushed = time.monotonic()
                    tell(number + 1, len(missing))
            finally:
                self._flush(written)

    def _flush(self, written: list[int]) -> None:
        if written:
            self.stream.flush()
            self.done[written] = 1
            self.done.flush()
            written.clear()

    @torch.inference_mode()
    def _compute(self, rows: np.ndarray) -> Tensor:
        model = self.model
        pixels, mask = (torch.from_numpy(array).to(model.device) for array in self.store.get_rows(rows))
        model.mode_of(training=False)
        with precision.forward(model.mode, model.device):
            clip = model.adapted.clip
            pixels = clip.normalise(pixels)
            return clip.encode_frames(pixels, mask) if self.whole else clip.encode_prefix(pixels, mask, self.count)


@dataclass(frozen=True)
class Cache:
    """root: folder of all caches; gib: what one may take (0: none); weights: their digest; report: the run's."""

    root: Path
    gib: float
    weights: str
    report: Report


def open_for(
    model: Model, store: FrameStore, rows: np.ndarray, cache: Cache, pause: Callable[[], None]
) -> Prefix | None:
    """The filled cache this model can read for these rows of the store, or None: nothing much of its vision tower is
    frozen, or the cache would be too large, which is said.
    """
    count, depth, say = blocks(model), model.adapted.clip.config.vision.layers, cache.report.line
    if cache.gib <= 0 or count < max(1, WORTH * depth):
        return None
    wide = 2 if model.mode in precision.HALF else 4
    size = len(np.unique(rows // VIDEOS)) * VIDEOS * wide * float(np.prod(shape(model, store.frames))) / GIB
    reach = "the whole vision tower" if count > depth else f"{count} of {depth} blocks of the vision tower"
    if size > cache.gib:
        say(f"frozen: {reach}; a cache of it would take {size:.0f} GiB, prefix_gib allows {cache.gib:g}")
        return None
    key = f"{store.digest}-{cache.weights}-{model.mode}-{model.device.type}-{'whole' if count > depth else count}"
    prefix = Prefix(model, store, cache.root / f"{store.path.parent.name}-{store.path.name}" / key)
    new = len(prefix.missing(rows))
    prefix.fill(rows, lambda done, total: cache.report.step(done, total, None, "frozen part, block of videos"), pause)
    said = f"{new * VIDEOS} videos computed now" if new else "nothing to compute"
    say(f"frozen: {reach}, read from {prefix.folder} ({said})")
    model.prefix = count
    return prefix


def _map(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """An array in a file that is as long as it needs to be; what was never written reads as zeros."""
    length = int(np.prod(shape)) * np.dtype(kind).itemsize
    with open(path, "ab") as stream:
        if os.fstat(stream.fileno()).st_size < length:
            stream.truncate(length)
    return np.memmap(path, kind, "r+", shape=shape)


@contextlib.contextmanager
def _turn(folder: Path, pause: Callable[[], None]) -> Iterator[None]:
    """One process fills at a time; file systems without locks are let pass, as both would write the same."""
    with open(folder / "lock", "w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pause()
                time.sleep(0.2)
            except OSError:
                break
        yield
