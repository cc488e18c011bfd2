"""A store in shards: each is a store of its own, built by its own job; then their indexes are joined.

<store>/shard-3-of-10/...   frames.bin and index.json of about a tenth of the videos, chosen by a hash of their ids, so
                            that adding videos moves none of the others
<store>/index.json          joined: no frame is copied, and the digest is that of a store in one piece
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from petvr.data.frames.index import INDEX, KEPT, PIXELS, FrameIndex, StoreShard
from petvr.data.frames.store_writer import write_index
from petvr.data.frames.stored_frames import StoredFrames, remember_verified, require_verified
from petvr.errors import PetvrError

MOST_SHARDS = 100_000
NAME = re.compile(r"shard-(\d+)-of-(\d+)")


def shard_folder(store: Path, shard: int | str, shards: int | str) -> Path:
    """The folder of shard 1..shards; the workflow gives its wildcards."""
    return store / f"shard-{shard}-of-{shards}"


def progress_label(store: Path) -> str:
    """How progress names a store that is being built."""
    match = NAME.fullmatch(store.name)
    return f"{store.parent.name} {match[1]}/{match[2]}" if match else store.name


def is_shard(store: Path) -> bool:
    return NAME.fullmatch(store.name) is not None


def parse_shard(text: str) -> tuple[int, int]:
    """`3/10` as (3, 10). Raises PetvrError."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    shard, shards = (int(part) for part in match.groups()) if match else (0, 0)
    if not 1 <= shard <= shards <= MOST_SHARDS:
        raise PetvrError(f"--shard: '{text:.40}' given, allowed: 1/N to N/N, e.g. 3/10, N up to {MOST_SHARDS:,}")
    return shard, shards


def shard_of(video: str, shards: int) -> int:
    """In which of 1..shards a video lies; the same on every machine and for ever."""
    digest = hashlib.blake2b(video.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards + 1


def related_stores(store: Path) -> list[Path]:
    """Stores that may already hold some of the frames of `store`: it itself, and the same videos cut otherwise."""
    match = NAME.fullmatch(store.name)
    whole = store.parent if match else store
    others = [path for path in sorted(whole.glob("shard-*-of-*")) if (other := NAME.fullmatch(path.name))
              and (match is None or other[2] != match[2])]  # fmt: skip
    return [store, *([whole] if match else []), *others]


def join_shards(store: Path, shards: int, videos: Collection[str] | None = None) -> FrameIndex:
    """Write the index of the whole from those of its finished shards, and remove what other cuts left behind.

    videos: what the whole should hold, None to take what is there. Raises PetvrError naming the first shard that is
    missing, was built with other settings, or holds other videos than it should.
    """
    whole: FrameIndex | None = None
    start = 0
    files: list[StoreShard] = []
    for number in range(1, shards + 1):
        path = shard_folder(store, number, shards)
        try:
            part = FrameIndex.read(path)
        except PetvrError as error:
            raise PetvrError(f"shard {number} of {shards} is not there yet: {error}") from error
        if whole is None:
            whole = FrameIndex(part.settings, {}, {})
        if part.settings != whole.settings:
            raise PetvrError(f"{path}: built with other settings than shard 1; build it again")
        require_verified(path, StoredFrames(path, part), part)
        used = part.files[0].pictures
        for video, entry in part.videos.items():
            whole.videos[video] = entry.shifted(start)
        whole.problems.update(part.problems)
        files.append(StoreShard(f"{path.name}/{PIXELS}", used))
        start += used
    assert whole is not None
    if videos is not None:
        _require_videos(store, shards, whole.videos.keys() | whole.problems.keys(), set(videos))
    whole.require_frames(store)
    whole.shards = tuple(files)
    for name in (INDEX, KEPT, PIXELS):  # of a store that was built in one piece
        (store / name).unlink(missing_ok=True)
    write_index(store, whole)
    remember_verified(store, whole)
    remove_other_shards(store, keep=shards)
    return whole


def forget_joined(store: Path) -> None:
    """A shard is about to change: an index that was joined from its old frames must not stay beside the new ones."""
    if is_shard(store) and not (store.parent / PIXELS).exists():
        for name in (INDEX, KEPT):
            (store.parent / name).unlink(missing_ok=True)


def remove_other_shards(store: Path, keep: int = 0) -> None:
    """Remove the shards of other cuts than `keep`: after a store was built in one piece, or joined."""
    for path in store.glob("shard-*-of-*"):
        match = NAME.fullmatch(path.name.removesuffix(".partial"))
        if match and int(match[2]) != keep:
            shutil.rmtree(path, ignore_errors=True)


def _require_videos(store: Path, shards: int, present: Iterable[str], wanted: set[str]) -> None:
    differing = sorted(set(present) ^ wanted)
    if differing:
        video = differing[0]
        path = shard_folder(store, shard_of(video, shards), shards)
        what = "is not in it" if video in wanted else "does not belong to the data set any more"
        raise PetvrError(f"{path}: out of date: video '{video}' {what}; build this shard again")
