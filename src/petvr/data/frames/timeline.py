"""Which frames of a video lie in a window of seconds, by the time stamps of the frames and not by frame rate.

Second 0 is where the file begins to play, as for `ffmpeg -ss` and for the players in which windows were annotated: the
earliest time stamp of any of its streams. Frame rate alone would be wrong for variable frame rates, for a first frame
that comes late, and, at 29.97 frames a second, by one frame for every 33 seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from petvr.data.frames.file_type import Unreadable
from petvr.data.frames.truncation import FEW

Window = tuple[float, float]
ROUNDING = 0.001  # seconds; Matroska and FLV keep times in milliseconds
SHORT = 1.0  # seconds a video may end before its window does and nothing is said


def frame_range(path: Path | str, times: Sequence[float] | np.ndarray, window: Window | None) -> tuple[int, int]:
    """First index, and the one behind the last, of the frames shown within the window, both ends included.

    times: seconds at which each frame is shown, ascending. Raises Unreadable where there is none.
    """
    if window is None:
        return 0, len(times)
    start, end = window
    if not 0 <= start <= end:
        raise Unreadable(path, f"window {window} must be 0 <= start <= end seconds")
    first = int(np.searchsorted(times, start - ROUNDING))
    last = int(np.searchsorted(times, end + ROUNDING, side="right"))
    if first >= last:
        shows = f"it shows {times[0]:.2f} s to {times[-1]:.2f} s" if len(times) else "it shows nothing"
        raise Unreadable(path, f"no frame between {start:g} s and {end:g} s; {shows}")
    return first, last


def short_note(ends: np.ndarray, window: Window | None) -> str:
    """A note where the video ends well before its window does; empty otherwise. ends: its last number is the end."""
    end = float(ends[-1])
    return f"ends at {end:.2f} s, its window at {window[1]:g} s" if window and end < window[1] - SHORT else ""


def gap_note(times: Sequence[float] | np.ndarray) -> str:
    """A note where frames seem lost in the middle, by which all later ones have moved up; empty otherwise.

    A few gaps in an even row are such holes; many are a variable frame rate.
    """
    steps = np.diff(np.asarray(times, np.float64))
    if not len(steps):
        return ""
    gaps = np.flatnonzero(steps > 1.5 * np.median(steps))
    if not len(gaps) or len(gaps) > max(FEW, len(steps) // 50):
        return ""
    return (
        f"nothing is shown for {steps[gaps].max():.2f} s after frame {gaps[steps[gaps].argmax()]}: frames may be lost"
    )
