"""How well captions about time are answered: the hard pairs of a generated world, apart from everything else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from petvr.errors import PetvrError


def read_sidecar(folder: Path) -> dict[str, Any]:
    """The sidecar `world.json` of a data set's folder; PetvrError where the folder holds no generated world."""
    path = Path(folder) / "world.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PetvrError(f"{path}: not the sidecar of a generated world: {error}") from error


def in_pairs(world: dict[str, Any], videos: Sequence[str], owner: Sequence[int]) -> np.ndarray:
    """bool [captions]: the caption belongs to a video of a hard pair, so that another video shows the same things."""
    return np.array([world["clips"][videos[index]]["twin"] is not None for index in owner], bool)


def about_time(
    world: dict[str, Any], videos: Sequence[str], owner: Sequence[int], captions: Sequence[str]
) -> np.ndarray:
    """bool [captions]: false of the clip played backwards; a paragraph is where any of its descriptions is."""
    paragraphs = world["kind"] in ("didemo", "activitynet")
    temporal = []
    for text, index in zip(captions, owner, strict=True):
        its_captions = world["clips"][videos[index]]["captions"]
        temporal.append(any(one["temporal"] and (one["text"] == text or paragraphs) for one in its_captions))
    return np.array(temporal, bool)


def pair_accuracy(
    world: dict[str, Any],
    videos: Sequence[str],
    owner: Sequence[int],
    captions: Sequence[str],
    scores: np.ndarray,
) -> float:
    """Share, 0..1, of the temporal captions of hard pairs that score their own video above its twin; ties count half.

    scores [captions, videos]. Whatever sees frames without their order can only guess: 0.5. NaN without hard pairs.
    """
    column_of = {video: index for index, video in enumerate(videos)}
    asked = in_pairs(world, videos, owner) & about_time(world, videos, owner, captions)
    won = []
    for row in np.flatnonzero(asked).tolist():
        twin = column_of.get(world["clips"][videos[owner[row]]]["twin"])
        if twin is not None:
            own, other = scores[row, owner[row]], scores[row, twin]
            won.append(0.5 * (own > other) + 0.5 * (own >= other))
    return float(np.mean(won)) if won else float("nan")
