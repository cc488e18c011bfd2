"""The frame store as training and evaluation read it: memory-mapped uint8 frames by video id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from petvr.data.frames.build import BuildReport, VideoItem, build_store
from petvr.data.frames.index import FrameIndex
from petvr.data.frames.stored_frames import StoredFrames, damaged_frames, require_verified
from petvr.errors import PetvrError

__all__ = ["BuildReport", "FrameStore", "VideoItem", "build_store"]


class FrameStore:
    """A complete store, in one piece or in shards. It may be pickled: another process maps the files for itself.

    ids: videos that have frames, in alphabetical order. problems: video -> why it has none. digest: changes with the
    settings, any frame, and the list of unreadable videos. sampler, frames, size, picture: as it was built.
    Raises PetvrError where there is no complete store.
    """

    def __init__(self, out: Path | str):
        self.path = Path(out)
        index = FrameIndex.read(self.path)
        self.sampler, self.frames = index.settings.sampler, index.settings.frames
        self.size, self.picture = index.settings.size, index.settings.picture
        self.problems = {video: problem.reason for video, problem in sorted(index.problems.items())}
        self.digest = index.digest()
        self.records = index.videos
        self.ids = sorted(index.videos)
        self._row = {video: row for row, video in enumerate(self.ids)}
        self._offset = np.array([index.videos[video].offset for video in self.ids], np.int64)
        self._count = np.array([index.videos[video].count for video in self.ids], np.int64)
        self._stored = StoredFrames(self.path, index)
        self._file, self._first = self._stored.locate(self._offset)
        self._index = index
        require_verified(self.path, self._stored, index)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, video: str) -> bool:
        return video in self._row

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
        """Frames uint8 [B, F, 3, H, W], zeros after a video's last frame, and mask bool [B, F], True at its frames.

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
        located = self._file[rows].tolist(), self._first[rows].tolist(), self._count[rows].tolist()
        self._stored.require_whole()
        for row, (file, first, count) in enumerate(zip(*located, strict=True)):
            pixels[row, :count] = self._stored.files[file][first : first + count]
            if count < self.frames:
                pixels[row, count:] = 0
        mask[:] = self.masks(rows)
        return pixels, mask

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """The mask that `get_rows` gives, bool [B, F], without the frames."""
        return np.arange(self.frames) < self._count[rows][:, None]

    def verify(self) -> dict[str, str]:
        """Read everything again: videos whose frames do not fit their checksum, with a reason; empty if sound."""
        return damaged_frames(self._stored, self._index)
