"""`locks/<dataset>.json`: the state of a data set that a user froze and commits; everything that differs is named.

One line per video (status, bytes, fingerprint, hash of its captions), sorted, so that `git diff` reads well. `hash` is
the identity that results and tables carry. Annotation files are listed with their sha256 for the record; what counts is
their content, since copies of the official lists differ in their last newline.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from petvr import atomic
from petvr.data.datasets.video_state import VideoState
from petvr.data.manifest import identity
from petvr.data.manifest.rows import VideoRow
from petvr.errors import PetvrError
from petvr.text_files import read_json, typed

FORMAT = 1


class Frozen(NamedTuple):
    status: VideoState
    bytes: int | None
    fingerprint: str
    captions: str  # first half of the sha256 of its captions


@dataclass(frozen=True)
class DataLock:
    dataset: str
    hash: str
    annotations: dict[str, str]  # file name -> sha256
    splits: dict[str, str]  # name -> Split.digest()
    videos: dict[str, dict[str, Frozen]]  # split -> video -> state

    def usable(self, split: str) -> frozenset[str]:
        return frozenset(video for video, state in self.videos.get(split, {}).items() if state.status.usable)


@dataclass(frozen=True)
class Change:
    split: str
    video: str  # "" for a whole split
    what: str

    def __str__(self) -> str:
        return f"{self.split} {self.video}: {self.what}" if self.video else f"{self.split}: {self.what}"


def freeze(name: str, annotations: list[Path], splits: Mapping[str, str], rows: list[VideoRow]) -> DataLock:
    """The lock of these rows, which should be joined with the frame stores' findings."""
    videos: dict[str, dict[str, Frozen]] = {split: {} for split in splits}
    for row in sorted(rows, key=lambda row: row.video):
        videos[row.split][row.video] = Frozen(row.status, row.bytes, row.fingerprint, row.captions_sha256[:32])
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(annotations)}
    return DataLock(name, identity.of_rows(name, splits, rows), hashes, dict(splits), videos)


def differences(frozen: DataLock, now: DataLock) -> list[Change]:
    """What is not as it was frozen. Statuses that mean the same for a run (missing, removed) do not differ."""
    changes: list[Change] = []
    for split in dict.fromkeys([*frozen.videos, *now.videos]):
        old, new = frozen.videos.get(split, {}), now.videos.get(split, {})
        changed = [
            Change(split, video, what)
            for video in sorted(old.keys() | new.keys())
            if (what := _change(old.get(video), new.get(video)))
        ]
        if not changed and frozen.splits.get(split) != now.splits.get(split):
            changed = [Change(split, "", "the order of its videos or captions changed")]
        changes += changed
    return changes


def _change(old: Frozen | None, new: Frozen | None) -> str:
    if old is None:
        return "new in the list of the split"
    if new is None:
        return "no longer in the list of the split"
    said = []
    if old.captions != new.captions:
        said.append("captions changed")
    if old.fingerprint and not new.fingerprint:
        said.append("its file is gone" + (f" ({new.status})" if new.status is not VideoState.MISSING else ""))
    elif new.fingerprint and not old.fingerprint:
        said.append(f"its file is there now, frozen as {old.status}")
    elif old.fingerprint != new.fingerprint:
        said.append(f"its file was replaced ({old.bytes} bytes, now {new.bytes})")
    elif old.status.usable and not new.status.usable:
        said.append(f"is {new.status} now, frozen as {old.status}")
    elif new.status.usable and not old.status.usable:
        said.append(f"can be read now, frozen as {old.status}")
    return ", ".join(said)


def write_lock(path: Path, lock: DataLock) -> None:
    atomic.write_text(path, render_lock(lock))


def render_lock(lock: DataLock) -> str:
    """JSON with a line a video, so that git shows what changed, and its seal at the end."""
    head = {"format": FORMAT, "dataset": lock.dataset, "hash": lock.hash, "annotations": lock.annotations}
    splits = {name: {"digest": digest, "videos": lock.videos[name]} for name, digest in lock.splits.items()}
    parts = [json.dumps(head, indent=1, ensure_ascii=False)[:-2], ',\n "splits": {']
    blocks = []
    for split, digest in lock.splits.items():
        videos = [
            f"   {json.dumps(video, ensure_ascii=False)}: {json.dumps(list(state))}"
            for video, state in sorted(lock.videos[split].items())
        ]
        inner = ",\n".join(videos)
        blocks.append(f'\n  {json.dumps(split)}: {{"digest": {json.dumps(digest)}, "videos": {{\n{inner}\n  }}}}')
    seal = atomic.sealed({**head, "splits": splits})["seal"]
    return "".join([*parts, ",".join(blocks), f'\n }},\n "seal": "{seal}"\n}}\n'])


class _StoredSplit(BaseModel):
    digest: str
    videos: dict[str, Frozen]


class _StoredLock(BaseModel):
    dataset: str
    hash: Annotated[str, Field(min_length=8)]
    annotations: dict[str, str]
    splits: dict[str, _StoredSplit]


def read_lock(path: Path) -> DataLock | None:
    """None where nothing is frozen. Raises PetvrError for a file that is no lock, or was edited by hand."""
    if not os.path.lexists(path):
        return None
    try:
        data: Any = read_json(path, dict)
    except PetvrError as error:
        raise PetvrError(f"{error}: not a data lock; take the committed one, or delete it") from error
    if data.get("format") != FORMAT:
        raise PetvrError(f"{path}: format {data.get('format')!r:.40}, this version of petvr reads {FORMAT}")
    stored = typed(_StoredLock, atomic.unsealed(data, path), path)
    splits = {name: split.digest for name, split in stored.splits.items()}
    videos = {name: split.videos for name, split in stored.splits.items()}
    return DataLock(stored.dataset, stored.hash, stored.annotations, splits, videos)


def hash_of(path: Path) -> str:
    """The hash in a lock file without reading its videos; "" where there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            for line in (stream.readline() for _ in range(10)):
                key, _, value = line.partition(":")
                if key.strip() == '"hash"':
                    return value.strip(' ",\n')
    except OSError:
        return ""
    raise PetvrError(f"{path}: not a data lock (no hash in its first lines)")
