"""The rows of a manifest: every official video of every split, whether or not it is there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG

from petvr.data.datasets.base import Dataset, Split
from petvr.data.datasets.fingerprint import fingerprint, shown_by
from petvr.data.datasets.video_state import VideoState
from petvr.data.frames.file_type import Unreadable, require_video_file
from petvr.errors import PetvrError

THREADS = 16  # reads of a few kilobytes: the file system's answer time is what one waits for


@dataclass(frozen=True)
class VideoRow:
    """One video of one split. Empty text and None: not known."""

    dataset: str
    split: str
    video: str
    file: str  # below the folder of videos
    status: VideoState
    reason: str
    start: float | None  # seconds of the file that are used; None is all
    end: float | None
    bytes: int | None
    mtime_ns: int | None
    fingerprint: str  # of the size and both ends of the file; of what it shows, where the synthetic world wrote it
    sha256: str  # of the whole file, only where asked for
    frames: int | None  # in the file, from a frame store
    fps: float | None
    duration: float | None  # seconds, from a frame store
    captions: int
    captions_sha256: str

    @property
    def ok(self) -> bool:
        return self.status.usable


def collect(
    dataset: Dataset,
    splits: Mapping[str, Split],
    *,
    before: Collection[VideoRow] = (),
    download_states: Mapping[str, tuple[VideoState, str]] | None = None,
    checksum: bool = False,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> list[VideoRow]:
    """Rows of all splits, in the splits' order of videos.

    before: rows of an earlier call; a file of unchanged size and time is not read again. download_states: video ->
    (status, reason) that a download recorded for what it could not bring. checksum: hash whole files. step: called with
    the number of videos done and of all. A video of two splits is looked at twice and read once.
    """
    download_states = download_states or {}
    known = {row.file: row for row in before if row.fingerprint}
    places = {video: dataset.video_file(video) for split in splits.values() for video in split.videos}
    rendered = shown_by(dataset.mark)
    inodes: dict[str, tuple] = {}

    def look(video: str) -> VideoRow:
        return _look(dataset, video, places[video], download_states.get(video), known, rendered, inodes, checksum)

    facts: dict[str, VideoRow] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for done, row in enumerate(pool.map(look, places), start=1):
            facts[row.video] = row
            if done % 1000 == 0 or done == len(places):
                step(done, len(places))
    _refuse_shared_files(dataset, splits, places, inodes)
    return [
        replace(facts[video], split=name, captions=count, captions_sha256=digest)
        for name, split in splits.items()
        for video, count, digest in _captions(split)
    ]


def _look(
    dataset: Dataset,
    video: str,
    path: Path,
    download_states: tuple[VideoState, str] | None,
    known: Mapping[str, VideoRow],
    rendered: Mapping[tuple[str, str], str],
    inodes: dict[str, tuple],
    checksum: bool,
) -> VideoRow:
    window = dataset.window(video) or (None, None)
    row = VideoRow(
        dataset=dataset.name,
        split="",
        video=video,
        file=os.path.relpath(path, dataset.videos),
        status=VideoState.OK,
        reason="",
        start=window[0],
        end=window[1],
        bytes=None,
        mtime_ns=None,
        fingerprint="",
        sha256="",
        frames=None,
        fps=None,
        duration=None,
        captions=0,
        captions_sha256="",
    )
    try:
        stat = path.stat()
    except OSError:
        status, reason = download_states or (VideoState.MISSING, "no such file")
        return replace(row, status=status if status.absent else VideoState.MISSING, reason=reason)
    row = replace(row, bytes=stat.st_size, mtime_ns=stat.st_mtime_ns)
    inodes[video] = (stat.st_dev, stat.st_ino, window)
    if not S_ISREG(stat.st_mode):
        return replace(row, status=VideoState.UNDECODABLE, reason="is a folder or no file of bytes")
    old = known.get(row.file)
    same = old is not None and (old.bytes, old.mtime_ns) == (row.bytes, row.mtime_ns)
    try:
        if same:
            assert old is not None
            row = replace(row, fingerprint=old.fingerprint, sha256=old.sha256)
        else:
            of_bytes = fingerprint(path)
            row = replace(row, fingerprint=rendered.get((row.file, of_bytes), of_bytes))
        if checksum and not row.sha256:
            with open(path, "rb") as stream:
                row = replace(row, sha256=hashlib.file_digest(stream, "sha256").hexdigest())
        if not (same and old is not None and old.ok):
            require_video_file(path)
    except Unreadable as error:
        return replace(row, status=VideoState.UNDECODABLE, reason=error.reason)
    except OSError as error:
        return replace(row, status=VideoState.UNDECODABLE, reason=f"cannot be read: {error.strerror or error}")
    return row


def _refuse_shared_files(
    dataset: Dataset, splits: Mapping[str, Split], places: Mapping[str, Path], inodes: Mapping[str, tuple]
) -> None:
    """PetvrError where two names lead to the same seconds of one file, whatever links lie between."""
    first: dict[tuple, str] = {}
    for video, inode in inodes.items():
        if (other := first.setdefault(inode, video)) != video:
            where = {one: next(name for name, split in splits.items() if one in split.videos) for one in (other, video)}
            raise PetvrError(
                f"{dataset.videos}: '{other}' ({where[other]}) and '{video}' ({where[video]}) are one file, "
                f"{places[video]}; a video stands once in one split"
            )


def _captions(split: Split) -> Iterator[tuple[str, int, str]]:
    """(video, number of its captions, hash of them in their order)."""
    texts: list[list[str]] = [[] for _ in split.videos]
    for caption, video_index in zip(split.captions, split.caption_video, strict=True):
        texts[video_index].append(caption)
    for video, captions in zip(split.videos, texts, strict=True):
        yield video, len(captions), hashlib.sha256("\0".join(captions).encode()).hexdigest()


def table(rows: list[VideoRow]) -> dict[str, list]:
    """Column -> values, for the parquet file."""
    return {name: [getattr(row, name) for row in rows] for name in VideoRow.__dataclass_fields__}
