"""Build a frame store: every video decoded once, in parallel processes; restartable; problems are written down."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial as bind
from pathlib import Path
from typing import Any

import numpy as np

from petvr.data.frames import decode, index, pool, preprocess, samplers, shards
from petvr.data.frames.index import FrameIndex, FrameRecord, Problem, SourceFingerprint, StoreSettings
from petvr.data.frames.progress import Step, video_progress
from petvr.data.frames.store_writer import StoreWriter, write_index
from petvr.data.frames.stored_frames import StoredFrames, require_verified
from petvr.errors import PetvrError, unknown

Sources = dict[str, SourceFingerprint]  # by video
SECONDS = 300.0  # for one video; a sound one of some minutes takes a second


@dataclass(frozen=True)
class VideoItem:
    """One video to be stored; `window` is the part to use in seconds (start, end), None for all of it."""

    video: str
    path: Path
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class BuildReport:
    decoded: int  # videos decoded by this call
    reused: int  # videos that were there already
    problems: dict[str, str] = field(default_factory=dict)  # video -> reason, one line each
    seconds: float = 0.0
    digest: str = ""


def store_settings(sampler: str, frames: int, size: int, picture: str = "crop") -> StoreSettings:
    if picture not in preprocess.PICTURES:
        raise unknown("picture", picture, preprocess.PICTURES)
    if sampler not in samplers.SAMPLERS:
        raise samplers.unknown("sampler", sampler, samplers.SAMPLERS)
    if frames < 1 or size < 1:
        raise PetvrError(f"frames and size must be at least 1, got {frames} and {size}")
    versions = {"sampler": samplers.VERSION, "decode": decode.VERSION, "preprocess": preprocess.VERSION}
    return StoreSettings(sampler, frames, size, {**versions, "format": index.FORMAT}, picture)


def build_store(
    items: Sequence[VideoItem],
    out: Path | str,
    *,
    sampler: str,
    frames: int,
    size: int,
    picture: str = "crop",
    workers: int | None = None,
    progress: bool = True,
    seconds: float = SECONDS,
) -> BuildReport:
    """Write the store `out` (petvr.data.frames.index says of what) with the frames of all items.

    workers: processes, None for one per core. progress: a bar on a terminal, plain lines elsewhere, on stderr.
    seconds: time limit per video; a video over it is tried once more without decord and then listed as a problem.
    A complete store of the same settings and unchanged sources is left as it is; after an interruption, and when
    videos were added or changed, only what is missing is decoded; what the same store cut into other shards already
    has is copied (shards.py). A video that cannot be read is in `problems` with its reason and has no frames.
    Raises PetvrError when nothing can be read (but for a shard, whose videos may all be bad ones), when nothing can be
    written, and for a repeated video.
    """
    started = time.monotonic()
    out, settings = Path(out), store_settings(sampler, frames, size, picture)
    sources = {item.video: SourceFingerprint.of(Path(item.path)) for item in items}
    if len(sources) != len(items):
        raise PetvrError(f"{out}: a video is given twice: {_repeated(items)}")
    finished = _complete(out, settings)
    if finished is not None and _covers(finished, items, sources) and _undamaged(out, finished):
        if not (out / index.INDEX).exists():
            write_index(out, finished)
        return _report(finished, 0, started)
    with StoreWriter(out, settings) as store:
        _forget(store, items, sources)
        for other in shards.related_stores(out):
            _take_over(store, other, items, sources)
        todo = [item for item in items if item.video not in store.index.videos]
        watch = video_progress(progress, shards.progress_label(out))
        _decode_all(store, todo, sources, workers or cores(), seconds, watch)
        if items and not shards.is_shard(out):
            store.index.require_frames(out)
        store.finish(before=lambda: shards.forget_joined(out))
        shards.remove_other_shards(out)
        return _report(store.index, len(todo) - len(store.index.problems), started)


def cores() -> int:
    """Those this process may use, which on a cluster are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode_item(
    item: VideoItem, sampler: str, frames: int, size: int, use_decord: bool, picture: str = "crop"
) -> tuple[dict, np.ndarray]:
    """Decode one video: facts for its record, and uint8 [n, 3, size, size]. Runs in a worker process."""
    source = SourceFingerprint.of(Path(item.path))
    length = item.window[1] - item.window[0] if item.window else None
    decoded = decode.read_frames(
        item.path,
        lambda n, fps: samplers.pick(sampler, n_frames=n, fps=fps, frames=frames, seconds=length),
        transform=bind(preprocess.prepare, size=size, picture=picture),
        use_decord=use_decord,
        window=item.window,
    )
    facts = {
        "indices": tuple(decoded.indices.tolist()),
        "n_frames": decoded.n_frames,
        "fps": decoded.fps,
        "seconds": float(np.ptp(decoded.ends)),
        "decoder": decoded.decoder,
        "note": decoded.note,
        "source": source,
        "window": item.window,
        "checksum": index.checksum(decoded.pixels),
    }
    return facts, decoded.pixels


def _decode_all(
    store: StoreWriter,
    todo: list[VideoItem],
    sources: Sources,
    workers: int,
    seconds: float,
    watch: Callable[[int], AbstractContextManager[Step]],
) -> None:
    again: deque[VideoItem] = deque()
    settings = store.settings

    def task(item: VideoItem, use_decord: bool) -> tuple[Any, tuple]:
        return (item, use_decord), (
            item, settings.sampler, settings.frames, settings.size, use_decord, settings.picture,
        )  # fmt: skip

    def tasks() -> Iterator[tuple[Any, tuple] | None]:
        fresh = iter(todo)
        while True:
            if again:
                yield task(again.popleft(), use_decord=False)
            elif (item := next(fresh, None)) is not None:
                yield task(item, use_decord=True)
            else:
                yield None  # perhaps there is one to try again later

    if not todo:
        return
    with watch(len(todo)) as step:
        for outcome in pool.run_tasks(decode_item, tasks(), workers=min(workers, len(todo)), seconds=seconds):
            item, use_decord = outcome.key
            if outcome.lost and use_decord:
                again.append(item)
                continue
            if outcome.error:
                store.fail(item.video, Problem(outcome.error, sources[item.video]))
            else:
                facts, pixels = outcome.value
                store.add(item.video, pixels, **facts)
            step(problem=f"{item.video}: {outcome.error}" if outcome.error else "")


def _complete(out: Path, settings: StoreSettings) -> FrameIndex | None:
    """The finished store at `out`, if there is a sound one with these settings."""
    try:
        finished = FrameIndex.read(out, index.KEPT)
        StoredFrames(out, finished)
    except PetvrError:
        return None
    return finished if finished.settings == settings else None


def _undamaged(out: Path, finished: FrameIndex) -> bool:
    """False is said: what is damaged is then decoded again, and the rest copied."""
    try:
        require_verified(out, StoredFrames(out, finished), finished)
    except PetvrError as error:
        print(f"petvr: {error}", file=sys.stderr)
        return False
    return True


def _covers(finished: FrameIndex, items: Sequence[VideoItem], sources: Sources) -> bool:
    if finished.videos.keys() | finished.problems.keys() != sources.keys():
        return False
    return all(
        finished.problems[item.video].source == sources[item.video]
        if item.video in finished.problems
        else _valid(finished.videos[item.video], item, sources)
        for item in items
    )


def _valid(entry: FrameRecord, item: VideoItem, sources: Sources) -> bool:
    """Whether a record still stands for the item: same source file, same window."""
    return entry.source == sources[item.video] and entry.window == item.window


def _forget(store: StoreWriter, items: Sequence[VideoItem], sources: Sources) -> None:
    wanted = {item.video: item for item in items}
    for video, entry in list(store.index.videos.items()):
        if video not in wanted or not _valid(entry, wanted[video], sources):
            store.drop(video)


def _take_over(store: StoreWriter, folder: Path, items: Sequence[VideoItem], sources: Sources) -> None:
    """Copy what a finished store already has, so that adding videos decodes only those."""
    old = _complete(folder, store.settings)
    if old is None:
        return
    pixels = StoredFrames(folder, old)
    for item in items:
        entry = old.videos.get(item.video)
        if entry is None or item.video in store.index.videos or not _valid(entry, item, sources):
            continue
        taken = pixels[entry.offset : entry.end]
        if index.checksum(taken) == entry.checksum:
            facts = {name: getattr(entry, name) for name in entry.__dataclass_fields__ if name != "offset"}
            store.add(item.video, taken, **facts)


def _repeated(items: Sequence[VideoItem]) -> str:
    return Counter(item.video for item in items).most_common(1)[0][0]


def _report(index: FrameIndex, decoded: int, started: float) -> BuildReport:
    problems = {video: problem.reason for video, problem in index.problems.items()}
    return BuildReport(decoded, len(index.videos) - decoded, problems, time.monotonic() - started, index.digest())
