"""The frame store as training and evaluation read it: memory-mapped uint8 pictures by video id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from petvr.errors import PetvrError
from petvr.frames.build import Item, Report, build
from petvr.frames.index import INDEX, PIXELS, Index, checksum

__all__ = ["FrameStore", "Item", "Report", "build"]


class FrameStore:
    """A complete store. It may be pickled and sent to other processes, which map the file for themselves.

    ids: videos that have frames, in alphabetical order. problems: video -> why it has none. digest: changes with the
    settings, any picture, and the list of unreadable videos. sampler, frames, size: as it was built.
    Raises PetvrError where there is no complete store.
    """

    def __init__(self, out: Path | str):
        self.path = Path(out)
        index = Index.read(self.path)
        self.sampler, self.frames, self.size = index.settings.sampler, index.settings.frames, index.settings.size
        self.problems = {video: problem.reason for video, problem in sorted(index.problems.items())}
        self.digest = index.digest()
        self.records = index.videos
        self.ids = sorted(index.videos)
        self._row = {video: row for row, video in enumerate(self.ids)}
        self._offset = np.array([index.videos[video].offset for video in self.ids], np.int64)
        self._count = np.array([index.videos[video].count for video in self.ids], np.int64)
        self._open()

    def _open(self) -> None:
        path = self.path / PIXELS
        needed = int((self._offset + self._count).max(initial=0)) * 3 * self.size**2
        try:
            present = path.stat().st_size
        except OSError as error:
            raise PetvrError(f"{path}: the pictures of the frame store are missing") from error
        if present < needed:
            raise PetvrError(f"{path}: truncated: {present} of {needed} bytes; delete {INDEX} and build it again")
        self._pixels = np.memmap(path, np.uint8, "r").reshape(-1, 3, self.size, self.size)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, video: str) -> bool:
        return video in self._row

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_pixels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """Positions of videos in `ids` (int64), for `get_rows`. Raises PetvrError for one without frames."""
        try:
            return np.fromiter((self._row[video] for video in ids), np.int64, len(ids))
        except KeyError as error:
            video = error.args[0]
            why = self.problems.get(video, "not in the store")
            raise PetvrError(f"{self.path}: no frames of video '{video}': {why}") from error

    def counts(self, ids: Sequence[str]) -> np.ndarray:
        """How many frames each video has (int64)."""
        return self._count[self.rows(ids)]

    def get(
        self, ids: Sequence[str], out: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pictures uint8 [B, F, 3, H, W], zeros after a video's last frame, and mask bool [B, F], True at its frames.

        F is the store's `frames` whatever the videos are. Raises PetvrError for a video without frames.
        """
        return self.get_rows(self.rows(ids), out)

    def get_rows(
        self, rows: np.ndarray, out: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """`get` by positions from `rows`; `out` is a pair of arrays of those shapes to be filled and returned.

        For training: the ids are looked up once, and a (pinned) buffer can be used again for every batch.
        """
        shape = (len(rows), self.frames, 3, self.size, self.size)
        pixels, mask = out if out is not None else (np.empty(shape, np.uint8), np.empty(shape[:2], bool))
        if pixels.shape != shape or mask.shape != shape[:2]:
            raise ValueError(f"buffers of shapes {pixels.shape} and {mask.shape} for {shape} and {shape[:2]}")
        for place, row in enumerate(rows):
            start, count = self._offset[row], self._count[row]
            pixels[place, :count] = self._pixels[start : start + count]
            pixels[place, count:] = 0
            mask[place] = np.arange(self.frames) < count
        return pixels, mask

    def verify(self) -> dict[str, str]:
        """Read everything again: videos whose pictures do not fit their checksum, with a reason; empty if sound."""
        bad = {}
        for video, row in self._row.items():
            start, count = self._offset[row], self._count[row]
            if checksum(self._pixels[start : start + count]) != self.records[video].checksum:
                bad[video] = f"pictures {start} to {start + count - 1} of {PIXELS} differ from their checksum"
        return bad
