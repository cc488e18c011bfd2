"""One video file that belongs to no data set, read as a store would hold it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from petvr.data.frames import build, pool
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
    build.store_settings(sampler, frames, size, picture)
    item = build.VideoItem(path.name, path, window)
    for use_decord in (True, False):
        task = _one(item, sampler, frames, size, use_decord, picture)
        outcome = next(pool.run_tasks(build.decode_item, task, workers=1, seconds=seconds))
        if not outcome.lost:
            break
    if outcome.error:
        raise PetvrError(f"{path}: {outcome.error}")
    return outcome.value[1]


def _one(*arguments: object) -> Iterator[tuple[None, tuple]]:
    yield None, arguments
