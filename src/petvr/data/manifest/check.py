"""Look at a data set: its annotation files against the official counts, every video's file, the lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from petvr.data.datasets.base import Dataset, Split, files_below
from petvr.data.datasets.video_state import VideoState
from petvr.data.manifest import decoded, files, lock
from petvr.data.manifest.files import Summary
from petvr.data.manifest.lock import Change, DataLock
from petvr.data.manifest.rows import VideoRow, collect
from petvr.errors import PetvrError
from petvr.layout import Layout


@dataclass(frozen=True)
class CheckedDataset:
    """What one look found. `rows` are joined with the frame stores, `summary` is of what lies on disk alone."""

    rows: list[VideoRow]
    summary: Summary
    now: DataLock  # what a lock would hold
    frozen: DataLock | None
    changes: list[Change]  # since it was frozen


def check_dataset(
    dataset: Dataset,
    layout: Layout,
    locked: Path,
    *,
    download_states: Mapping[str, tuple[VideoState, str]] | None = None,
    checksum: bool = False,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> CheckedDataset:
    """Read everything and write nothing. locked: the lock's file, which need not exist.

    Raises PetvrError where annotation files are missing or do not have the official numbers, and where no video of
    the data set is there at all.
    """
    splits = {name: dataset.complete(name) for name in dataset.splits}
    before = files.read_rows(layout, dataset.name, splits)
    rows = collect(dataset, splits, before=before, download_states=download_states, checksum=checksum, step=step)
    if all(row.bytes is None for row in rows):
        first = rows[0]
        raise PetvrError(
            f"{dataset.videos}: holds none of the {len({row.video for row in rows}):,} videos of {dataset.name} "
            f"(expected e.g. {first.file}, at most two folders down); {_contents(dataset)}"
        )
    return compare_with_lock(dataset, layout, locked, splits, rows)


def _contents(dataset: Dataset) -> str:
    """What lies there instead, so that the right folder, or the wrong names, can be seen."""
    if not dataset.videos.is_dir():
        beside = sorted(path.name for path in dataset.videos.parent.glob("*/"))
        return f"there is no such folder, beside it lie {', '.join(beside[:5]) or 'no folders'}"
    files = files_below(str(dataset.videos))
    return f"there are {len(files):,} files" + (f", e.g. {', '.join(files[:3])}" if files else "")


def compare_with_lock(
    dataset: Dataset, layout: Layout, locked: Path, splits: Mapping[str, Split], rows: list[VideoRow]
) -> CheckedDataset:
    digests = {name: split.digest() for name, split in splits.items()}
    summary = files.summary(dataset.name, digests, dataset.official or {}, rows)
    frozen = lock.read_lock(locked)
    joined = decoded.join_findings(rows, decoded.read_stores(layout.frames_of(dataset.folder)))
    if frozen is not None:
        joined = [_remembered(row, frozen) for row in joined]
    now = lock.freeze(dataset.name, dataset.annotation_files(), digests, joined)
    return CheckedDataset(joined, summary, now, frozen, lock.differences(frozen, now) if frozen else [])


def _remembered(row: VideoRow, frozen: DataLock) -> VideoRow:
    """The lock still knows that a file cannot be decoded after the frame stores that found it out were deleted."""
    old = frozen.videos.get(row.split, {}).get(row.video)
    unread = VideoState.UNDECODABLE
    if old and row.ok and row.frames is None and (old.status, old.fingerprint) == (unread, row.fingerprint):
        return replace(row, status=unread, reason="as frozen")
    return row
