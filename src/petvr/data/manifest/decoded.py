"""What frame stores know of videos: how many frames, how long, and which cannot be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from petvr.data.datasets.video_state import VideoState
from petvr.data.frames.index import INDEX, FrameIndex, FrameRecord, Problem
from petvr.data.manifest.rows import VideoRow
from petvr.errors import PetvrError
from petvr.text_files import say_once


@dataclass
class StoreFindings:
    """All stores of one folder of videos, joined: a video that one of them could not read is a problem."""

    stores: dict[str, str] = field(default_factory=dict)  # name of the store -> its digest
    records: dict[str, FrameRecord] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)


def read_stores(folder: Path) -> StoreFindings:
    """The finished stores below results/frames/<folder>. Of one that is broken or of an old format
    no more is known than that: it is said.
    """
    findings = StoreFindings()
    for path in sorted(folder.glob(f"*/{INDEX}")):
        try:
            index = FrameIndex.read(path.parent)
        except PetvrError as error:
            say_once(f"warning: {error}; nothing is taken from this store, petvr frames builds it anew")
            continue
        findings.stores[path.parent.name] = index.digest()
        findings.records.update(index.videos)
        findings.problems.update(index.problems)
    return findings


def join_findings(rows: Iterable[VideoRow], findings: StoreFindings) -> list[VideoRow]:
    """The rows with frames, duration and unreadable videos, where a store read the very file that is there now."""
    return [_joined(row, findings.records.get(row.video), findings.problems.get(row.video)) for row in rows]


def _joined(row: VideoRow, record: FrameRecord | None, problem: Problem | None) -> VideoRow:
    file_now = (row.bytes, row.mtime_ns)
    if row.bytes is None:
        return row
    if record is not None and (record.source.bytes, record.source.mtime_ns) == file_now:
        seconds = record.seconds or (record.n_frames / record.fps if record.fps > 0 else 0.0)
        row = replace(row, frames=record.n_frames, fps=record.fps, duration=round(seconds, 3) or None)
    if problem is not None and row.ok and (problem.source.bytes, problem.source.mtime_ns) == file_now:
        row = replace(row, status=VideoState.UNDECODABLE, reason=problem.reason)
    return row
