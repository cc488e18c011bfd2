"""The frames of a store, memory-mapped: one file, or one per shard, counted through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from petvr.data.frames.index import INDEX, FrameIndex
from petvr.errors import PetvrError


class StoredFrames:
    """`frames[a:b]`, uint8 [b - a, 3, size, size], where a video begins at offset a: no copy is made.

    Raises PetvrError where a file is missing or shorter than the index says.
    """

    def __init__(self, store: Path, index: FrameIndex):
        self.store, self.shards, self.size = store, index.files, index.settings.size
        self.starts = np.cumsum([0, *(shard.pictures for shard in self.shards)], dtype=np.int64)
        self._open()

    def _open(self) -> None:
        self.files = [_map(self.store, shard.file, shard.pictures, self.size) for shard in self.shards]

    def __getstate__(self) -> dict[str, Any]:
        """Without the maps: another process maps the files for itself."""
        return {name: value for name, value in self.__dict__.items() if name != "files"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def locate(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counted through -> (which of `files`, frame within it), both int64."""
        which = np.searchsorted(self.starts[1:-1], offsets, side="right")
        return which, offsets - self.starts[which]

    def __getitem__(self, span: slice) -> np.ndarray:
        which = int(np.searchsorted(self.starts[1:-1], span.start, side="right"))
        return self.files[which][span.start - self.starts[which] : span.stop - self.starts[which]]


def _map(store: Path, name: str, count: int, size: int) -> np.ndarray:
    path, needed = store / name, count * 3 * size**2
    try:
        present = path.stat().st_size
    except OSError as error:
        raise PetvrError(f"{path}: the pictures of the frame store are missing") from error
    if present < needed:
        raise PetvrError(f"{path}: truncated: {present} of {needed} bytes; delete {INDEX} beside it and build it again")
    if not needed:
        return np.empty((0, 3, size, size), np.uint8)
    return np.asarray(np.memmap(path, np.uint8, "r", shape=(count, 3, size, size)))
