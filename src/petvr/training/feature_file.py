"""Features that frozen parts of a model give, row by row: computed once, in blocks of rows that are always the same, so
that what stands in a file does not depend on which run filled it.

Files in a folder: stream.bin (a sparse array over all rows), done.bin (a byte for each block, set after its rows are on
disk). Both may be deleted at any time. Without a folder the same lies in memory, for one run.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from petvr.atomic import file_lock
from petvr.errors import PetvrError

FLUSH = 20.0  # seconds between two times that what was computed is made sure of
GIB = 1 << 30
NUMBERS = {1: np.uint8, 2: np.uint16, 4: np.uint32}  # by bytes of a number, whatever torch calls its type


class NoRoom(PetvrError):
    """The features do not fit: their run can do without the file."""


class FeatureFile(ABC):
    """`count` rows of `shape` and `kind`, `block` of them computed together; what, mode: for an error."""

    what: str
    mode: str

    def __init__(self, folder: Path | None, count: int, shape: tuple[int, ...], kind: torch.dtype, block: int) -> None:
        self.folder, self.count, self.shape, self.type, self.block = folder, count, shape, kind, block
        self.numbers = NUMBERS[kind.itemsize]
        blocks = -(-count // block)
        self.stream: np.ndarray
        self.done: np.ndarray
        if folder is None:
            self.stream, self.done = np.zeros((count, *shape), self.numbers), np.zeros(blocks, np.uint8)
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.stream = _map(folder / "stream.bin", self.numbers, (count, *shape))
            self.done = _map(folder / "done.bin", np.uint8, (blocks,))
            with open(folder / "done.bin", "r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, blocks)
        except OSError as error:
            raise NoRoom(f"{folder}: cannot be written: {error.strerror or error}") from error

    @abstractmethod
    def compute_rows(self, rows: np.ndarray) -> Tensor:
        """The features of these rows, which are a whole block: [R, *shape]."""

    def buffer(self, rows: int, pinned: bool) -> Tensor:
        return torch.empty((rows, *self.shape), dtype=self.type, pin_memory=pinned)

    def take(self, rows: np.ndarray, buffer: Tensor) -> None:
        """Rows -> [R, *shape] in the buffer; all were computed."""
        if self.folder is not None and os.stat(self.folder / "stream.bin").st_size < self.stream.nbytes:
            raise PetvrError(f"{self.folder}: cut off while it was in use; delete it and start again")
        numbers = buffer.view(torch.uint8).numpy().view(self.numbers)
        np.take(self.stream, rows, axis=0, out=numbers, mode="clip")  # without "clip" numpy copies twice

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Blocks that some row is in and nobody has computed."""
        wanted = np.unique(rows // self.block)
        return wanted[self.done[wanted] == 0]

    def compute(
        self, rows: np.ndarray, on_progress: Callable[[int, int], None], raise_if_stopped: Callable[[], None]
    ) -> None:
        """Compute what is missing of these rows; another process that is at it is waited for.

        on_progress(done, total) after every block; what was computed until a stop stays.
        """
        if self.folder is None:
            self._compute_missing(rows, on_progress, raise_if_stopped)
            return
        with file_lock(self.folder / "lock", "busy", wait=lambda _: raise_if_stopped()):
            self._compute_missing(rows, on_progress, raise_if_stopped)

    def _compute_missing(
        self, rows: np.ndarray, on_progress: Callable[[int, int], None], raise_if_stopped: Callable[[], None]
    ) -> None:
        missing = self.missing(rows)
        written: list[int] = []
        flushed = time.monotonic()
        try:
            for number, block in enumerate(missing):
                raise_if_stopped()
                part = np.arange(block * self.block, min((block + 1) * self.block, self.count))
                features = self.compute_rows(part).cpu().contiguous()
                if not features.isfinite().all():
                    raise PetvrError(f"{self.what}: the frozen tower gives NaN or infinity in {self.mode}")
                self._reserve(int(part[0]), len(part))
                self.stream[part] = features.view(torch.uint8).numpy().view(self.numbers).reshape(features.shape)
                written.append(block)
                if time.monotonic() - flushed > FLUSH:
                    self._flush(written)
                    flushed = time.monotonic()
                on_progress(number + 1, len(missing))
        finally:
            self._flush(written)

    def _reserve(self, first: int, rows: int) -> None:
        """Room on the disk before it is written to: in a mapped file a full disk would be the end of the process."""
        if self.folder is None:
            return
        each = self.stream[:1].nbytes
        try:
            with open(self.folder / "stream.bin", "r+b") as stream:
                os.posix_fallocate(stream.fileno(), first * each, rows * each)
        except OSError as error:
            raise NoRoom(f"{self.folder}: cannot be written: {error.strerror or error}") from error

    def _flush(self, written: list[int]) -> None:
        if isinstance(self.stream, np.memmap):
            self.stream.flush()
        self.done[written] = 1
        if isinstance(self.done, np.memmap):
            self.done.flush()
        written.clear()


def _map(path: Path, kind: type, shape: tuple[int, ...]) -> np.memmap:
    """An array in a file that is as long as it needs to be; what was never written reads as zeros."""
    length = int(np.prod(shape)) * np.dtype(kind).itemsize
    with open(path, "ab") as stream:
        if os.fstat(stream.fileno()).st_size < length:
            stream.truncate(length)  # no room is taken yet
    return np.memmap(path, kind, "r+", shape=shape)
