"""Reads a clip by its pixels alone: where each colour of the palette is, frame by frame."""

from __future__ import annotations

import numpy as np

from petvr.world.scene import BACKGROUNDS, COLOURS

NAMES = [*COLOURS, *BACKGROUNDS]
PALETTE = np.array([*COLOURS.values(), *BACKGROUNDS.values()], np.float32)


def label(picture: np.ndarray) -> np.ndarray:
    """Index of the nearest palette colour per pixel, -1 where none is near (edges, compression)."""
    far = np.linalg.norm(picture[:, :, None].astype(np.float32) - PALETTE, axis=-1)
    return np.where(far.min(-1) < 40, far.argmin(-1), -1)


def tracks(pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Colour -> [frames, 3] of x, y (nan where it is not to be seen) and number of pixels."""
    found = {name: np.full((len(pictures), 3), np.nan) for name in COLOURS}
    for time, picture in enumerate(pictures):
        labels = label(picture)
        for number, name in enumerate(COLOURS):
            y, x = np.nonzero(labels == number)
            area = len(x)
            found[name][time] = (x.mean(), y.mean(), area) if area >= 25 else (np.nan, np.nan, 0)
    return found


def background(picture: np.ndarray) -> str:
    return NAMES[int(np.bincount(label(picture).ravel() + 1, minlength=len(NAMES) + 1)[1:].argmax())]
