"""One hash for the state of a data set, computed alike for a manifest, a run and a lock.

Two stages, so that a run needs no parquet file: `presence` covers videos, captions and the bytes of files; `identity`
adds which videos cannot be used (absent or unreadable). Reasons, times and folders do not count, so a data set that
was moved, or looked for once more in vain, stays the same. Freezing what is there gives the hash runs already carry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from petvr.data.manifest.rows import VideoRow

USED = ("train", "test")  # the splits runs read; a validation video is never decoded, so nobody knows if it could be


def presence(name: str, splits: Mapping[str, str], rows: Iterable[VideoRow]) -> str:
    """splits: name -> `Split.digest()`, which covers the order of videos and captions."""
    content = [[row.split, row.video, row.fingerprint, row.captions_sha256] for row in rows]
    return _hash([name, sorted(splits.items()), sorted(content)])


def identity(presence: str, left_out: Iterable[str]) -> str:
    return _hash([presence, sorted(set(left_out))])


def of_rows(name: str, splits: Mapping[str, str], rows: list[VideoRow]) -> str:
    return identity(presence(name, splits, rows), (row.video for row in rows if row.split in USED and not row.ok))


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]
