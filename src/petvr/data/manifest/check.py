"""Look at a data set: its annotation files against the official counts, every video's file, the lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from petvr.data.datasets.base import Dataset, Split
from petvr.data.datasets.video_state import VideoState
from petvr.data.manifest import decoded, files, lock
from petvr.data.manifest.files import Summary
from petvr.data.manifest.lock import Change, Lock
from petvr.data.manifest.rows import Row, collect
from petvr.errors import PetvrError
from petvr.layout import Layout


@dataclass(frozen=True)
class Found:
    """What one look found. `rows` are joined with the frame stores, `summary` is of what lies on disk alone."""

    rows: list[Row]
    summary: Summary
    now: Lock  # what a lock would hold
    frozen: Lock | None
    changes: list[Change]  # since it was frozen


def check(
    dataset: Dataset,
    layout: Layout,
    locked: Path,
    *,
    told: Mapping[str, tuple[VideoState, str]] | None = None,
    checksum: bool = False,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> Found:
    """Read everything and write nothing. locked: the lock's file, which need not exist.

    Raises PetvrError where annotation files are missing or do not have the official numbers, and where no video of
    the data set is there at all.
    """
    splits = {name: dataset.complete(name) for name in dataset.splits}
    before = files.read_rows(layout, dataset.name, splits)
    rows = collect(dataset, splits, before=before, told=told, checksum=checksum, step=step)
    if all(row.bytes is None for row in rows):
        first = rows[0]
        raise PetvrError(
            f"{dataset.videos}: holds none of the {len({row.video for row in rows}):,} videos of {dataset.name} "
            f"(expected e.g. {first.file})"
        )
    return found(dataset, layout, locked, splits, rows)


def found(dataset: Dataset, layout: Layout, locked: Path, splits: Mapping[str, Split], rows: list[Row]) -> Found:
    digests = {name: split.digest() for name, split in splits.items()}
    summary = files.summary(dataset.name, digests, dataset.official or {}, rows)
    frozen = lock.read(locked)
    joined = decoded.joined(rows, decoded.read(layout.frames_of(dataset.folder)))
    if frozen is not None:
        joined = [_remembered(row, frozen) for row in joined]
    now = lock.freeze(dataset.name, dataset.annotation_files(), digests, joined)
    return Found(joined, summary, now, frozen, lock.differences(frozen, now) if frozen else [])


def _remembered(row: Row, frozen: Lock) -> Row:
    """The lock still knows that a file cannot be decoded after the frame stores that found it out were deleted."""
    old = frozen.videos.get(row.split, {}).get(row.video)
    unread = VideoState.UNDECODABLE
    if old and row.ok and row.frames is None and (old.status, old.fingerprint) == (unread, row.fingerprint):
        return replace(row, status=unread, reason="as frozen")
    return row
