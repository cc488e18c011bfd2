"""download.lock.json: size and checksum of everything that came, by address, and which mirror gave the videos."""

from __future__ import annotations

import datetime
import os
import threading
import time
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.data.download.failures import Changed
from petvr.errors import PetvrError
from petvr.text_files import read_json

FORMAT = 1
EVERY_SECONDS = 5.0  # ten thousand videos are not ten thousand rewrites


def next_write(start: float) -> float:
    """When to write next: a file that takes long is written more rarely."""
    end = time.monotonic()
    return end + max(EVERY_SECONDS, 20 * (end - start))


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_state_file(path: Path, what: str) -> dict[str, Any]:
    """The value of key `what` of one of the three state files; {} where there is no file."""
    if not os.path.lexists(path):
        return {}
    try:
        data = read_json(path, dict)
    except PetvrError as error:
        raise PetvrError(f"{error}; delete it to start over") from error
    if data.get("format") != FORMAT or not isinstance(data.get(what), dict):
        raise PetvrError(f"{path}: 'format' must be {FORMAT} with a key '{what}'; delete it to start over")
    return data[what]


class DownloadLock:
    """Trust on first use. Safe to share between threads; `flush` writes what is not yet on disk."""

    def __init__(self, path: Path):
        self.path = path
        self.files: dict[str, dict[str, Any]] = dict(read_state_file(path, "files"))
        self.videos: dict[str, dict[str, Any]] = dict(read_state_file(path, "videos"))
        self._guard, self._due, self._dirty = threading.RLock(), 0.0, False

    def confirm(self, url: str, facts: dict[str, Any], published: bool) -> None:
        """Note `facts` (sha256, size, etag, last_modified), or raise Changed where an earlier download differs.

        A published checksum was already checked by the caller and replaces an older entry.
        """
        with self._guard:
            known = self.files.get(url)
            if known and not published and (known["sha256"], known["size"]) != (facts["sha256"], facts["size"]):
                raise Changed(
                    f"{url}: now sha256 {facts['sha256']} ({facts['size']:,} bytes), but {known['sha256']} "
                    f"({known['size']:,} bytes) on {known['date'][:10]}; if the change is right, remove the entry "
                    f"from {self.path}"
                )
            if not known or known["sha256"] != facts["sha256"]:
                self.files[url] = {**facts, "date": now(), "published": published}
            self._dirty = True
            if time.monotonic() >= self._due:
                self.flush()

    def came_from(self, key: str) -> str | None:
        """The mirror that gave the videos of source `key` so far."""
        entry = self.videos.get(key)
        return entry["mirror"] if entry else None

    def complete(self, key: str) -> bool:
        return bool(self.videos.get(key, {}).get("complete"))

    def gives(self, key: str, mirror: str, complete: bool) -> None:
        with self._guard:
            self.videos[key] = {"mirror": mirror, "complete": complete, "date": now()}
            self._dirty = True
            self.flush()

    def flush(self) -> None:
        with self._guard:
            if self._dirty:
                start = time.monotonic()
                atomic.write_json(self.path, {"format": FORMAT, "files": self.files, "videos": self.videos})
                self._due, self._dirty = next_write(start), False
