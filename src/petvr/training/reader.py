"""Frames of a split's videos on the run's device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.training.prefix import Prefix


class Reader:
    """Reads videos of one split by number. The store gives uint8 and a mask; normalisation happens on the device.

    With a `prefix` the pictures come as far as the frozen beginning of the vision tower brings them.
    """

    def __init__(
        self, store: FrameStore, ids: Sequence[str], device: torch.device, prefix: Prefix | None = None
    ) -> None:
        self.store, self.device, self.rows, self.prefix = store, device, store.rows(ids), prefix
        empty = np.flatnonzero(store.counts(ids) == 0)
        if len(empty):
            raise PetvrError(f"video '{ids[empty[0]]}' has no frame in the store")

    @property
    def videos(self) -> int:
        return len(self.rows)

    @property
    def frames(self) -> int:
        return self.store.frames

    def read(self, videos: np.ndarray) -> tuple[Tensor, Tensor]:
        """uint8 [B, F, 3, S, S] (or the prefix's rows) and bool [B, F] on the device."""
        rows = self.rows[videos]
        if self.prefix is None:
            pixels, mask = (torch.from_numpy(array) for array in self.store.get_rows(rows))
        else:
            pixels, mask = self.prefix.rows(rows), torch.from_numpy(self.store.masks(rows))
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()
        return pixels.to(self.device, non_blocking=True), mask.to(self.device, non_blocking=True)


class Ahead:
    """Reads the next batch from the store while the device works on this one. `batch(step)` names the videos."""

    def __init__(self, reader: Reader, batch: Callable[[int], np.ndarray], last: int) -> None:
        self.reader, self.batch, self.last = reader, batch, last
        self.pool = ThreadPoolExecutor(1) if reader.device.type == "cuda" else None
        self.next: tuple[int, Future] | None = None

    def read(self, step: int) -> tuple[Tensor, Tensor]:
        if self.pool is None:
            return self.reader.read(self.batch(step))
        waiting, self.next = self.next, None
        future = waiting[1] if waiting and waiting[0] == step else self.pool.submit(self._read, step)
        result = future.result()
        if step + 1 < self.last:
            self.next = (step + 1, self.pool.submit(self._read, step + 1))
        return result

    def _read(self, step: int) -> tuple[Tensor, Tensor]:
        return self.reader.read(self.batch(step))
