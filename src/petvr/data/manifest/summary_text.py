"""How counts of a split read in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petvr.data.datasets.video_state import VideoState
from petvr.data.manifest.rows import VideoRow


def split_summary(split: str, counts: Mapping[str, Any], rows: Sequence[VideoRow]) -> str:
    """`669 of 670 videos (1 undecodable: vid12), 27,740 captions`."""
    mine = [row for row in rows if row.split == split]
    usable = sum(row.ok for row in mine)
    said = f"{usable:,} of {counts['official']:,} videos"
    if left := [row for row in mine if not row.ok]:
        said += f" ({', '.join(unusable_lines(left))})"
    return f"{said}, {counts['captions']:,} captions listed"


def unusable_lines(left: Sequence[VideoRow]) -> list[str]:
    """`38 removed: a, b, c, ...` per status."""
    said = []
    for status in VideoState:
        videos = [row.video for row in left if row.status == status]
        if videos:
            more = ", ..." if len(videos) > 3 else ""
            said.append(f"{len(videos):,} {status.english}: {', '.join(videos[:3])}{more}")
    return said
