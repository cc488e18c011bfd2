"""The frames of a store, memory-mapped: one file, or one per shard, counted through; and whether they are still those
its index was written for: read whole once, then remembered.

<store>/.verified.json   size, dates and inode of each file of frames when its content was last read, and of
                         which index; deleted or out of date it costs one reading
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from petvr import atomic
from petvr.data.frames.index import INDEX, FrameIndex, FrameRecord, checksum
from petvr.errors import PetvrError
from petvr.text_files import read_json

MEMORY = ".verified.json"
SAID_FROM = 2**30  # bytes of frames from which reading them is said
THREADS = 4  # a checksum runs at half the rate of the memory

_verified: dict[Path, dict[str, Any]] = {}  # of this process, where the store's folder cannot be written


class StoredFrames:
    """`frames[a:b]`, uint8 [b - a, 3, size, size], where a video begins at offset a: no copy is made.

    Raises PetvrError where a file is missing or shorter than the index says. What is cut off later would end the
    process by a signal where it is read: whoever reads asks `require_whole` before.
    """

    def __init__(self, store: Path, index: FrameIndex):
        self.store, self.shards, self.size = store, index.files, index.settings.size
        self.starts = np.cumsum([0, *(shard.pictures for shard in self.shards)], dtype=np.int64)
        self._open()

    def _open(self) -> None:
        self.maps = [_map(self.store, shard.file, shard.pictures, self.size) for shard in self.shards]
        shape = (-1, 3, self.size, self.size)
        self.files = [np.frombuffer(one or b"", np.uint8).reshape(shape) for one in self.maps]

    def require_whole(self) -> None:
        """Raises PetvrError where a file was cut off, or its disk has gone, since it was opened."""
        for shard, mapped in zip(self.shards, self.maps, strict=True):
            try:
                gone = mapped is not None and mapped.size() < len(mapped)
            except OSError as error:
                raise PetvrError(f"{self.store / shard.file}: cannot be read: {error.strerror}") from error
            if gone:
                raise PetvrError(f"{self.store / shard.file}: cut off while it was in use; build the store again")

    def __getstate__(self) -> dict[str, Any]:
        """Without the maps: another process maps the files for itself."""
        return {name: value for name, value in self.__dict__.items() if name not in ("maps", "files")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def locate(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counted through -> (which of `files`, frame within it), both int64."""
        which = np.searchsorted(self.starts[1:-1], offsets, side="right")
        return which, offsets - self.starts[which]

    def __getitem__(self, span: slice) -> np.ndarray:
        self.require_whole()
        which = int(np.searchsorted(self.starts[1:-1], span.start, side="right"))
        return self.files[which][span.start - self.starts[which] : span.stop - self.starts[which]]


def _map(store: Path, name: str, count: int, size: int) -> mmap.mmap | None:
    path, needed = store / name, count * 3 * size**2
    try:
        with open(path, "rb") as stream:
            present = os.fstat(stream.fileno()).st_size
            if present >= needed:
                return mmap.mmap(stream.fileno(), needed, access=mmap.ACCESS_READ) if needed else None
    except OSError as error:
        raise PetvrError(f"{path}: the pictures of the frame store cannot be read: {error.strerror}") from error
    raise PetvrError(f"{path}: truncated: {present} of {needed} bytes; delete {INDEX} beside it and build it again")


def damaged_frames(frames: StoredFrames, index: FrameIndex) -> dict[str, str]:
    """Every video is read: those whose frames do not fit their checksum, with a reason."""

    def fault(item: tuple[str, FrameRecord]) -> str:
        _, entry = item
        sound = checksum(frames[entry.offset : entry.end]) == entry.checksum
        return "" if sound else f"pictures {entry.offset} to {entry.end - 1} of the store differ from their checksum"

    with ThreadPoolExecutor(THREADS) as pool:
        faults = pool.map(fault, index.videos.items())
        return {video: why for video, why in zip(index.videos, faults, strict=True) if why}


def require_verified(store: Path, frames: StoredFrames, index: FrameIndex) -> None:
    """Raises PetvrError naming the first damaged video. Costs nothing while the files are as they were."""
    known = _state(store, index)
    if known in (_verified.get(store), _remembered(store)):
        return
    size = sum(shard.pictures for shard in index.files) * 3 * index.settings.size**2
    if size >= SAID_FROM:
        print(f"petvr: {store}: checking {size / 1e9:.0f} GB of frames once, as they are new here", file=sys.stderr)
    if bad := damaged_frames(frames, index):
        video, why = next(iter(bad.items()))
        raise PetvrError(f"{store}: {len(bad)} videos are damaged, the first is '{video}': {why}; build it again")
    remember_verified(store, index)


def remember_verified(store: Path, index: FrameIndex) -> None:
    """Its files hold what the index says: they were read, or are just written."""
    _verified[store] = _state(store, index)
    with contextlib.suppress(PetvrError):  # a folder that cannot be written is read again by the next process
        atomic.write_text(store / MEMORY, json.dumps(_verified[store]) + "\n")


def _state(store: Path, index: FrameIndex) -> dict[str, Any]:
    places = json.dumps([[video, entry.offset] for video, entry in sorted(index.videos.items())])
    files = {}
    for shard in index.files:
        facts = os.stat(store / shard.file)
        files[shard.file] = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
    return {"index": index.digest() + hashlib.sha256(places.encode()).hexdigest()[:16], "files": files}


def _remembered(store: Path) -> Any:
    try:
        return read_json(store / MEMORY, dict)
    except PetvrError:
        return None
