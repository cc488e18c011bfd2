"""Build a frame store: every video decoded once, in parallel processes; restartable; problems are written down."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial as bind
from pathlib import Path

import numpy as np

from petvr.data.frames import decode, index, pool, preprocess, samplers, shards
from petvr.data.frames.index import Index, Problem, Record, Settings, Stamp
from petvr.data.frames.partial import Partial, write_index
from petvr.data.frames.pictures import Pictures
from petvr.data.frames.progress import watching
from petvr.errors import PetvrError

SECONDS = 300.0  # for one video; a sound one of some minutes takes a second


@dataclass(frozen=True)
class Item:
    """One video to be stored; `window` is the part to use in seconds (start, end), None for all of it."""

    video: str
    path: Path
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class Report:
    decoded: int  # videos decoded by this call
    reused: int  # videos that were there already
    problems: dict[str, str] = field(default_factory=dict)  # video -> reason, one line each
    seconds: float = 0.0
    digest: str = ""


def settings_of(sampler: str, frames: int, size: int) -> Settings:
    if sampler not in samplers.SAMPLERS:
        raise samplers.unknown("sampler", sampler, samplers.SAMPLERS)
    if frames < 1 or size < 1:
        raise PetvrError(f"frames and size must be at least 1, got {frames} and {size}")
    versions = {"sampler": samplers.VERSION, "decode": decode.VERSION, "preprocess": preprocess.VERSION}
    return Settings(sampler, frames, size, {**versions, "format": index.FORMAT})


def build(
    items: Sequence[Item],
    out: Path | str,
    *,
    sampler: str,
    frames: int,
    size: int,
    workers: int | None = None,
    progress: bool = True,
    seconds: float = SECONDS,
) -> Report:
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
    out, settings = Path(out), settings_of(sampler, frames, size)
    stamps = {item.video: Stamp.of(Path(item.path)) for item in items}
    if len(stamps) != len(items):
        raise PetvrError(f"{out}: a video is given twice: {_repeated(items)}")
    found = _complete(out, settings)
    if found is not None and _covers(found, items, stamps):
        if not (out / index.INDEX).exists():
            write_index(out, found)
        return _report(found, 0, started)
    with Partial(out, settings) as store:
        _forget(store, items, stamps)
        for place in shards.related(out):
            _take_over(store, place, items, stamps)
        todo = [item for item in items if item.video not in store.index.videos]
        _decode_all(store, todo, stamps, workers or cores(), seconds, watching(progress, shards.label(out)))
        if items and not shards.is_one(out):
            store.index.insist(out)
        store.finish(before=lambda: shards.forget_joined(out))
        shards.tidy(out)
        return _report(store.index, len(todo) - len(store.index.problems), started)


def cores() -> int:
    """Those this process may use, which on a cluster are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepared(item: Item, sampler: str, frames: int, size: int, use_decord: bool) -> tuple[dict, np.ndarray]:
    """Decode one video: facts for its record, and uint8 [n, 3, size, size]. Runs in a worker process."""
    source = Stamp.of(Path(item.path))
    length = item.window[1] - item.window[0] if item.window else None
    found = decode.read(
        item.path,
        lambda n, fps: samplers.pick(sampler, n_frames=n, fps=fps, frames=frames, seconds=length),
        transform=bind(preprocess.prepare, size=size),
        use_decord=use_decord,
        window=item.window,
    )
    facts = {
        "indices": tuple(found.indices.tolist()),
        "n_frames": found.n_frames,
        "fps": found.fps,
        "decoder": found.decoder,
        "note": found.note,
        "source": source,
        "window": item.window,
        "checksum": index.checksum(found.pictures),
    }
    return facts, found.pictures


def _decode_all(
    store: Partial, todo: list[Item], stamps: dict[str, Stamp], workers: int, seconds: float, watch
) -> None:
    again: deque[Item] = deque()
    settings = store.settings

    def tasks() -> Iterator[tuple | None]:
        fresh = iter(todo)
        while True:
            if again:
                item, use_decord = again.popleft(), False
            elif (item := next(fresh, None)) is not None:
                use_decord = True
            else:
                yield None  # perhaps there is one to try again later
                continue
            yield (item, use_decord), (item, settings.sampler, settings.frames, settings.size, use_decord)

    if not todo:
        return
    with watch(len(todo)) as step:
        for outcome in pool.run(prepared, tasks(), workers=min(workers, len(todo)), seconds=seconds):
            item, use_decord = outcome.key
            if outcome.lost and use_decord:
                again.append(item)
                continue
            if outcome.error:
                store.fail(item.video, Problem(outcome.error, stamps[item.video]))
            else:
                facts, pictures = outcome.value
                store.add(item.video, pictures, **facts)
            step(problem=f"{item.video}: {outcome.error}" if outcome.error else "")


def _complete(out: Path, settings: Settings) -> Index | None:
    """The finished store at `out`, if there is a sound one with these settings."""
    try:
        found = Index.read(out, index.KEPT)
        Pictures(out, found)
    except PetvrError:
        return None
    return found if found.settings == settings else None


def _covers(found: Index, items: Sequence[Item], stamps: dict[str, Stamp]) -> bool:
    if found.videos.keys() | found.problems.keys() != stamps.keys():
        return False
    return all(
        found.problems[item.video].source == stamps[item.video]
        if item.video in found.problems
        else _valid(found.videos[item.video], item, stamps)
        for item in items
    )


def _valid(entry: Record | None, item: Item, stamps: dict[str, Stamp]) -> bool:
    """Whether a record still stands for the item: same source file, same window."""
    return entry is not None and entry.source == stamps[item.video] and entry.window == item.window


def _forget(store: Partial, items: Sequence[Item], stamps: dict[str, Stamp]) -> None:
    wanted = {item.video: item for item in items}
    for video, entry in list(store.index.videos.items()):
        if video not in wanted or not _valid(entry, wanted[video], stamps):
            store.drop(video)


def _take_over(store: Partial, place: Path, items: Sequence[Item], stamps: dict[str, Stamp]) -> None:
    """Copy what a finished store already has, so that adding videos decodes only those."""
    old = _complete(place, store.settings)
    if old is None:
        return
    pictures = Pictures(place, old)
    for item in items:
        entry = old.videos.get(item.video)
        if item.video in store.index.videos or not _valid(entry, item, stamps):
            continue
        taken = pictures[entry.offset : entry.end]
        if index.checksum(taken) == entry.checksum:
            facts = {name: getattr(entry, name) for name in entry.__dataclass_fields__ if name != "offset"}
            store.add(item.video, taken, **facts)


def _repeated(items: Sequence[Item]) -> str:
    seen: set[str] = set()
    return next(item.video for item in items if item.video in seen or seen.add(item.video))


def _report(found: Index, decoded: int, started: float) -> Report:
    problems = {video: problem.reason for video, problem in found.problems.items()}
    return Report(decoded, len(found.videos) - decoded, problems, time.monotonic() - started, found.digest())
