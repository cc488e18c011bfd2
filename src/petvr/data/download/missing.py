"""missing.json: the videos that a source should have given, with the reason and whether trying again makes sense."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.data.datasets.video_state import VideoState
from petvr.data.download.lock import FORMAT, next_write, now, read_state_file


class MissingVideos:
    """Safe to share between threads; `flush` writes what is not yet on disk."""

    def __init__(self, path: Path):
        self.path = path
        self.videos: dict[str, dict[str, Any]] = dict(read_state_file(path, "videos"))
        self._guard, self._due, self._dirty = threading.RLock(), 0.0, False

    def note(self, video: str, status: VideoState, reason: str, source: str) -> None:
        with self._guard:
            attempts = self.videos.get(video, {}).get("attempts", 0) + 1
            self.videos[video] = dict(status=status, reason=reason, source=source, attempts=attempts, last_try=now())
            self._changed()

    def arrived(self, video: str) -> None:
        with self._guard:
            if self.videos.pop(video, None):
                self._changed()

    def removed(self, video: str) -> bool:
        return self.videos.get(video, {}).get("status") == VideoState.REMOVED

    def count(self, status: VideoState, source: str | None = None) -> int:
        return sum(v["status"] == status and source in (None, v["source"]) for v in self.videos.values())

    def _changed(self) -> None:
        self._dirty = True
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        with self._guard:
            if self._dirty:
                start = time.monotonic()
                atomic.write_json(self.path, {"format": FORMAT, "videos": dict(sorted(self.videos.items()))})
                self._due, self._dirty = next_write(start), False
