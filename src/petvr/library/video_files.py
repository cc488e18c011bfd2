"""Which video files an index is of: a folder's or a list's, with size and time of change. No torch here."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from os import PathLike
from typing import Any

from petvr.data.datasets.base import EXTENSIONS
from petvr.data.frames.build import VideoItem
from petvr.data.frames.shards import shard_of
from petvr.errors import PetvrError
from petvr.library.given import given_list, given_path

Window = tuple[float, float]
VideoFile = str | PathLike[str]
Record = dict[str, Any]  # video, file, bytes, mtime_ns


def video_items(videos: Sequence[VideoFile], windows: Sequence[Window | None] | None = None) -> list[VideoItem]:
    """One item a file; PetvrError for what is no path, and for windows that are not one per file and in order."""
    files = [given_path("video file", video) for video in given_list(videos, "video file")]
    parts = [None] * len(files) if windows is None else given_list(windows, "window")
    if len(parts) != len(files):
        raise PetvrError(f"{len(parts)} windows for {len(files)} videos; one each is expected, None for all of it")
    for part in parts:
        try:
            sound = part is None or (len(part) == 2 and 0 <= part[0] < part[1] < math.inf)
        except TypeError:
            sound = False
        if not sound:
            raise PetvrError(f"window {part!r:.60}: (start, end) is expected, 0 <= start < end, in seconds")
    return [VideoItem(path.name, path, part) for path, part in zip(files, parts, strict=True)]


def listed_videos(videos: VideoFile | Sequence[VideoFile], shard: tuple[int, int] = (1, 1)) -> list[VideoItem]:
    """A folder's videos, by their path below it, or files, by their path as given; each once, those of a shard."""
    if isinstance(videos, str | PathLike):
        root = given_path("a folder of videos", videos)
        if not root.is_dir():
            raise PetvrError(f"{root}: no such folder of videos")
        files = sorted(path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
        items = [VideoItem(path.relative_to(root).as_posix(), path) for path in files]
    else:
        items = list({str(item.path): VideoItem(str(item.path), item.path) for item in video_items(videos)}.values())
    return [item for item in items if shard_of(item.video, shard[1]) == shard[0]]


def record_of(item: VideoItem) -> Record:
    """What tells a file from what it was before."""
    try:
        facts = item.path.stat()
        size, changed = facts.st_size, facts.st_mtime_ns
    except OSError:
        size, changed = None, None
    return {"video": item.video, "file": os.path.abspath(item.path), "bytes": size, "mtime_ns": changed}


def shard_listing(videos: VideoFile, shard: tuple[int, int]) -> str:
    """Changes when a video of the shard comes, goes or changes."""
    lines = [sorted(record_of(item).items()) for item in listed_videos(videos, shard)]
    return hashlib.sha256(repr(lines).encode()).hexdigest()[:16]
