"""Video files that belong to no data set, read as a store would hold them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from petvr.data.frames import build, pool
from petvr.data.frames.build import VideoItem, store_settings
from petvr.data.frames.index import StoreSettings
from petvr.errors import PetvrError


def read_video(
    path: Path,
    *,
    sampler: str,
    frames: int,
    size: int,
    picture: str = "crop",
    window: tuple[float, float] | None = None,
    seconds: float = build.SECONDS,
) -> np.ndarray:
    """uint8 [n, 3, size, size], n at most `frames`.

    It is decoded in a process of its own, because a foreign file may hang or crash a decoder; after that it is tried
    once more without decord. window and seconds as in petvr.data.frames.build. Raises PetvrError with the file and why.
    """
    item = VideoItem(path.name, path, window)
    rule = store_settings(sampler, frames, size, picture)
    pixels = next(read_videos([item], rule, workers=1, seconds=seconds))[1]
    if isinstance(pixels, PetvrError):
        raise pixels
    return pixels


def read_videos(
    items: Sequence[VideoItem],
    rule: StoreSettings,
    *,
    workers: int = 0,
    seconds: float = build.SECONDS,
) -> Iterator[tuple[int, np.ndarray | PetvrError]]:
    """(number of the item, its pictures or why there are none), as they are done and no faster than they are taken.

    workers: processes, which a file that hangs or crashes a decoder cannot harm; they need a script's main guard.
    0: threads of this process, without decord, whose endless loops no thread can end.
    """
    if workers < 0:
        raise PetvrError(f"workers: {workers} given, allowed: 0 (in this process) or more")
    answers = _in_processes if workers else _in_threads
    for number, value, reason in answers(items, rule, workers, seconds):
        yield number, value if value is not None else PetvrError(f"{items[number].path}: {reason}")


Answer = tuple[int, np.ndarray | None, str]


def _in_processes(items: Sequence[VideoItem], rule: StoreSettings, workers: int, seconds: float) -> Iterator[Answer]:
    again: deque[int] = deque()

    def tasks() -> Iterator[tuple[tuple[int, bool], tuple] | None]:
        fresh = iter(range(len(items)))
        while True:
            number, use_decord = (again.popleft(), False) if again else (next(fresh, None), True)
            yield None if number is None else ((number, use_decord), _task(items[number], rule, use_decord))

    count = min(workers, len(items))
    for outcome in pool.run_tasks(build.decode_item, tasks(), workers=count, seconds=seconds) if items else ():
        number, use_decord = outcome.key
        if outcome.lost and use_decord:
            again.append(number)
        else:
            yield number, None if outcome.error else outcome.value[1], outcome.error


def _task(item: VideoItem, rule: StoreSettings, use_decord: bool) -> tuple:
    return item, rule.sampler, rule.frames, rule.size, use_decord, rule.picture


def _in_threads(items: Sequence[VideoItem], rule: StoreSettings, _: int, __: float) -> Iterator[Answer]:
    threads = min(build.cores(), len(items)) or 1
    with ThreadPoolExecutor(threads) as crew:
        waiting: deque[tuple[int, Future[tuple[str, Any]]]] = deque()
        for number, item in enumerate(items):
            waiting.append((number, crew.submit(pool.attempt, build.decode_item, _task(item, rule, False))))
            if len(waiting) > 2 * threads:
                yield _answer(*waiting.popleft())
        while waiting:
            yield _answer(*waiting.popleft())


def _answer(number: int, decoding: Future[tuple[str, Any]]) -> Answer:
    state, value = decoding.result()
    return (number, value[1], "") if state == "ok" else (number, None, value)
