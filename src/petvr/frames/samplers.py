"""Which frames of a video are looked at: the five named rules of the papers (DATASETS §0.3, METHODS A.0, A.1, A.3).

Each rule is a function of the number of frames, the frame rate and the wanted count, and returns sorted indices.
The one-frame-per-second rules return fewer than `frames` for a short video, and the rest is masked later;
`uniform_mid` and `linspace_all` always return exactly `frames` and repeat where the video is shorter.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from petvr.errors import PetvrError, unknown

VERSION = 1  # raised when a rule picks other frames than before: stores built before are then stale

Window = tuple[float, float] | None


def _every(step: int, n_frames: int, fps: float, window: Window) -> np.ndarray:
    """CLIP4Clip's candidates: frame sec*step for each whole second, both ends of the window included.

    Without a window the last second is ceil(n/step); reading simply stops at the end of the file.
    """
    first, last = 0, math.ceil(n_frames / step)
    if window is not None:
        first, last = math.floor(window[0]), min(last, math.floor(window[1]))
    indices = np.arange(first, last + 1, dtype=np.int64) * step
    return indices[indices < n_frames]


def _candidates(rate: int, n_frames: int, fps: float, window: Window) -> np.ndarray:
    if rate >= 1:
        return _every(rate, n_frames, fps, window)
    # below one frame per second CLIP4Clip divides by zero; here every frame is a candidate (guess)
    return _range(n_frames, fps, window)


def _range(n_frames: int, fps: float, window: Window) -> np.ndarray:
    """All frames shown from the start to the end of the window, both included."""
    first, last = 0, n_frames - 1
    if window is not None:
        first, last = math.ceil(window[0] * fps), min(last, math.floor(window[1] * fps))
    return np.arange(first, last + 1, dtype=np.int64)


def _thin(candidates: np.ndarray, frames: int) -> np.ndarray:
    """At most `frames` of the candidates, first and last included: linspace over their positions, rounded down."""
    if len(candidates) <= frames:
        return candidates
    return candidates[np.linspace(0, len(candidates) - 1, frames, dtype=np.int64)]


def c4c_1fps_int(n_frames: int, fps: float, frames: int, window: Window = None) -> np.ndarray:
    """CLIP4Clip (A.0): every int(fps)-th frame (29.97 -> 29), thinned by linspace."""
    return _thin(_candidates(int(fps), n_frames, fps, window), frames)


def round_1fps(n_frames: int, fps: float, frames: int, window: Window = None) -> np.ndarray:
    """DRL and Cross-Modal Adapter: every round(fps)-th frame (29.97 -> 30), thinned by linspace.

    Half a frame rounds up (guess; real rates do not end in .5 but for 12.5 and 7.5).
    """
    return _thin(_candidates(math.floor(fps + 0.5), n_frames, fps, window), frames)


def floor_uniform(n_frames: int, fps: float, frames: int, window: Window = None) -> np.ndarray:
    """MV-Adapter (A.3): of n frames at 1 fps take floor(i*n/frames): the last one is never shown.

    How its frames at 1 fps were extracted is not published; CLIP4Clip's rule stands in for it (guess).
    """
    candidates = _candidates(int(fps), n_frames, fps, window)
    count = len(candidates)
    if count <= frames:
        return candidates
    return candidates[np.arange(frames, dtype=np.int64) * count // frames]


def uniform_mid(n_frames: int, fps: float, frames: int, window: Window = None) -> np.ndarray:
    """xpool, hence VoP (A.1): the middle frame of each of `frames` equal intervals; no look at the frame rate.

    A video shorter than `frames` gives all its frames and then its last one again. Under a window the intervals divide
    the window (guess: neither code base knows windows).
    """
    every = _range(n_frames, fps, window)
    if not len(every):
        return every
    parts = min(frames, len(every))
    bounds = np.linspace(0, len(every), parts + 1).astype(np.int64)
    middles = (bounds[:-1] + bounds[1:] - 1) // 2
    return every[np.concatenate([middles, np.full(frames - parts, middles[-1])])]


def linspace_all(n_frames: int, fps: float, frames: int, window: Window = None) -> np.ndarray:
    """CLIP-ViP and Text-Proxy: linspace over all frames, both ends included, rounded down; short videos repeat."""
    every = _range(n_frames, fps, window)
    if not len(every):
        return every
    return every[np.linspace(0, len(every) - 1, frames, dtype=np.int64)]


SAMPLERS: dict[str, Callable[..., np.ndarray]] = {
    rule.__name__: rule for rule in (c4c_1fps_int, round_1fps, uniform_mid, floor_uniform, linspace_all)
}


def pick(name: str, *, n_frames: int, fps: float, frames: int, window: Window = None) -> np.ndarray:
    """Sorted frame indices (int64) in [0, n_frames); at most `frames` of them.

    fps in frames per second, window in seconds (start, end). Raises PetvrError for an unknown sampler, for a video
    without frames or rate, and for a window in which the video has no frame.
    """
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    if n_frames < 1 or not fps > 0 or not math.isfinite(fps) or frames < 1:
        raise PetvrError(f"sampler {name}: needs frames, a frame rate and a count, got {n_frames}, {fps}, {frames}")
    if window is not None and not 0 <= window[0] <= window[1]:
        raise PetvrError(f"sampler {name}: window {window} must be 0 <= start <= end seconds")
    indices = SAMPLERS[name](n_frames, fps, frames, window)
    if window is not None and not len(indices):
        raise PetvrError(f"sampler {name}: no frame between {window[0]:g} s and {window[1]:g} s of the video")
    return indices
