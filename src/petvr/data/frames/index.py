"""The store's index: what lies where in frames.bin, from which decoder, with which checksum.

<store>/frames.bin   uint8 frames [3, size, size], one after the other, unpadded
<store>/index.json   settings, digest, one record per video, the problems; written last: it makes a store complete
<store>/.kept.json   the same once more: Snakemake deletes index.json, its declared output, before it asks again

A store built in shards (shards.py) has no frames of its own: its index names each shard's frames.bin, and
counts offsets through all of them in that order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from petvr import atomic
from petvr.errors import PetvrError
from petvr.spec import Whole
from petvr.text_files import read_json, typed

FORMAT = 1
PIXELS, INDEX, KEPT = "frames.bin", "index.json", ".kept.json"


@dataclass(frozen=True)
class SourceFingerprint:
    """How a source file is recognised without reading it: its size in bytes and its time of change."""

    bytes: int | None = None  # None: there is no such file
    mtime_ns: int | None = None

    @classmethod
    def of(cls, path: Path) -> SourceFingerprint:
        try:
            facts = path.stat()
        except OSError:
            return cls()
        return cls(facts.st_size, facts.st_mtime_ns)


@dataclass(frozen=True)
class FrameRecord:
    """One video in the store."""

    offset: Whole  # frames before it in frames.bin
    indices: tuple[int, ...]  # frames of the video, in order
    n_frames: Annotated[Whole, Field(ge=0)]  # frames the video has
    fps: float
    decoder: str
    note: str
    source: SourceFingerprint
    window: tuple[float, float] | None
    checksum: str  # of its frames
    seconds: float = 0.0  # from the first frame to the end of the last, by their time stamps; 0: an older store

    @property
    def count(self) -> int:
        return len(self.indices)

    @property
    def end(self) -> int:
        """Frames up to its last one."""
        return self.offset + self.count

    def shifted(self, frames: int) -> FrameRecord:
        """The same, behind so many other frames."""
        return replace(self, offset=self.offset + frames)


@dataclass(frozen=True)
class Problem:
    """One video that could not be read, and why."""

    reason: str
    source: SourceFingerprint


@dataclass(frozen=True)
class StoreSettings:
    """What a store's frames depend on beside the videos."""

    sampler: str
    frames: int
    size: int
    versions: dict[str, int]  # sampler, decode, preprocess, format
    picture: str = "crop"  # petvr.data.frames.preprocess

    def to_json(self) -> dict[str, Any]:
        """`picture` where it is not the usual one: earlier stores have no such key."""
        data = asdict(self)
        if self.picture == "crop":
            del data["picture"]
        return data


@dataclass(frozen=True)
class StoreShard:
    """One file of frames, below the store's folder, and how many of them the index uses."""

    file: str
    pictures: int  # the key in index.json


@dataclass
class FrameIndex:
    settings: StoreSettings
    videos: dict[str, FrameRecord]
    problems: dict[str, Problem]
    shards: tuple[StoreShard, ...] = ()  # none: all frames lie in the store's own frames.bin

    @property
    def files(self) -> tuple[StoreShard, ...]:
        """Where the frames lie, in the order in which offsets count them."""
        return self.shards or (StoreShard(PIXELS, max((entry.end for entry in self.videos.values()), default=0)),)

    def digest(self) -> str:
        """Equal exactly when the settings, the frames of every video and the list of unreadable videos are equal.

        Where the frames lie, and in how many shards, does not count.
        """
        content = {
            "settings": self.settings.to_json(),
            "videos": [[v, r.checksum, r.indices] for v, r in sorted(self.videos.items())],
            "problems": sorted(self.problems),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def require_frames(self, where: Path) -> None:
        """Raises PetvrError where there are videos and not one can be read."""
        if self.problems and not self.videos:
            video, problem = next(iter(self.problems.items()))
            count = len(self.problems)
            raise PetvrError(f"{where}: none of {count} videos can be read; the first: {video}: {problem.reason}")

    def require_sound(self, digest: str) -> None:
        """Raises ValueError where frames overlap, lie outside their files or are too many, or for another digest."""
        free = 0
        for video, entry in sorted(self.videos.items(), key=lambda item: item[1].offset):
            if not isinstance(entry.offset, int) or not free <= entry.offset or entry.count > self.settings.frames:
                raise ValueError(f"'{video}' has frames {entry.offset} to {entry.end}, free from {free}")
            free = entry.end
        if free > sum(shard.pictures for shard in self.files) or digest != self.digest():
            raise ValueError("its digest and its shards do not belong to its videos")

    def to_json(self) -> dict[str, Any]:
        data = asdict(self) | {"settings": self.settings.to_json()}
        if not self.shards:
            del data["shards"]
        return {"format": FORMAT, "digest": self.digest(), **data}

    @classmethod
    def read(cls, store: Path, name: str = INDEX) -> FrameIndex:
        """Raises PetvrError where there is no complete store, or one of another format."""
        path = store / name
        if not path.exists():
            raise PetvrError(f"{path}: no such frame store (or its building was interrupted: build it again)")
        data = atomic.unsealed(read_json(path, dict), path)
        if "format" in data and data["format"] != FORMAT:
            raise PetvrError(f"{path}: format {data['format']!r:.40}, this version of petvr reads {FORMAT}")
        index = typed(cls, data, f"{path}: not a frame store's index")
        try:
            index.require_sound(data["digest"])
        except (KeyError, ValueError) as error:
            raise PetvrError(f"{path}: not a frame store's index ({type(error).__name__}: {error})") from error
        return index


def checksum(pixels: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()
