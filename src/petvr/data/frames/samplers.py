"""Which frames of a video are looked at: the five named rules of the papers (docs/protocols.md).

Each rule is a function of the number of frames, the frame rate and the wanted count, and returns sorted indices.
The one-frame-per-second rules return fewer than `frames` for a short video, and the rest is masked later;
`uniform_mid` and `linspace_all` always return exactly `frames` and repeat where the video is shorter.

A window of a video (DiDeMo, VATEX) is to them a video of its own: which frames lie in it is asked of the time stamps
(timeline.py). So they count from the window's first frame, as CLIP4Clip does in a clip that was cut before;
counting int(29.97) = 29 frames for a second from the start of the file would miss a window at 100 s by 3 seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from petvr.errors import PetvrError, unknown

VERSION = 2  # raised when a rule picks other frames than before: stores built before are then stale

Seconds = float | None  # length of the window that n_frames fill; None where they are a whole file


def _candidates(rate: int, n_frames: int, seconds: Seconds) -> np.ndarray:
    """CLIP4Clip's candidates: frame sec*rate for each whole second, both ends of a window included.

    Without a window the last second is ceil(n/rate); reading simply stops at the end of the file.
    """
    if rate < 1:  # below one frame per second CLIP4Clip divides by zero; here every frame is a candidate (guess)
        return np.arange(n_frames, dtype=np.int64)
    last = math.ceil(n_frames / rate)
    if seconds is not None:
        last = min(last, math.floor(seconds + 1e-6))  # 20.3 s - 10.3 s, in floating point, may be 9.999...
    indices = np.arange(last + 1, dtype=np.int64) * rate
    return indices[indices < n_frames]


def _thin(candidates: np.ndarray, frames: int) -> np.ndarray:
    """At most `frames` of the candidates, first and last included: linspace over their positions, rounded down."""
    if len(candidates) <= frames:
        return candidates
    return candidates[np.linspace(0, len(candidates) - 1, frames, dtype=np.int64)]


def c4c_1fps_int(n_frames: int, fps: float, frames: int, seconds: Seconds = None) -> np.ndarray:
    """CLIP4Clip: every int(fps)-th frame (29.97 -> 29), thinned by linspace."""
    return _thin(_candidates(int(fps), n_frames, seconds), frames)


def round_1fps(n_frames: int, fps: float, frames: int, seconds: Seconds = None) -> np.ndarray:
    """DRL and Cross-Modal Adapter: every round(fps)-th frame (29.97 -> 30), thinned by linspace.

    Half a frame rounds up (guess; real rates do not end in .5 but for 12.5 and 7.5).
    """
    return _thin(_candidates(math.floor(fps + 0.5), n_frames, seconds), frames)


def floor_uniform(n_frames: int, fps: float, frames: int, seconds: Seconds = None) -> np.ndarray:
    """MV-Adapter: of n frames at 1 fps take floor(i*n/frames): the last one is never shown.

    How its frames at 1 fps were extracted is not published; CLIP4Clip's rule stands in for it (guess).
    """
    candidates = _candidates(int(fps), n_frames, seconds)
    count = len(candidates)
    if count <= frames:
        return candidates
    return candidates[np.arange(frames, dtype=np.int64) * count // frames]


def uniform_mid(n_frames: int, fps: float, frames: int, seconds: Seconds = None) -> np.ndarray:
    """xpool, hence VoP: the middle frame of each of `frames` equal intervals; no look at the frame rate.

    A video shorter than `frames` gives all its frames and then its last one again. Under a window the intervals divide
    the window (guess: neither code base knows windows).
    """
    parts = min(frames, n_frames)
    bounds = np.linspace(0, n_frames, parts + 1).astype(np.int64)
    middles = (bounds[:-1] + bounds[1:] - 1) // 2
    return np.concatenate([middles, np.full(frames - parts, middles[-1])])


def linspace_all(n_frames: int, fps: float, frames: int, seconds: Seconds = None) -> np.ndarray:
    """CLIP-ViP and Text-Proxy: linspace over all frames, both ends included, rounded down; short videos repeat."""
    return np.linspace(0, n_frames - 1, frames, dtype=np.int64)


SAMPLERS: dict[str, Callable[..., np.ndarray]] = {
    rule.__name__: rule for rule in (c4c_1fps_int, round_1fps, uniform_mid, floor_uniform, linspace_all)
}


def pick(name: str, *, n_frames: int, fps: float, frames: int, seconds: Seconds = None) -> np.ndarray:
    """Sorted frame indices (int64) in [0, n_frames); at most `frames` of them.

    fps in frames per second; seconds: length of the window whose frames these are. Raises PetvrError for an unknown
    sampler, and for a video without frames or rate.
    """
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    if n_frames < 1 or not fps > 0 or not math.isfinite(fps) or frames < 1:
        raise PetvrError(f"sampler {name}: needs frames, a frame rate and a count, got {n_frames}, {fps}, {frames}")
    if seconds is not None and not seconds >= 0:
        raise PetvrError(f"sampler {name}: a window of {seconds} seconds must be at least 0")
    return SAMPLERS[name](n_frames, fps, frames, seconds)
