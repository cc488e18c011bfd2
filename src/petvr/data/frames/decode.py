"""Pixels at given frame indices, checked: decord where its random access is right, PyAV read in order elsewhere.

A frame that cannot be had is an error with a reason. It is never replaced by zeros or by another frame.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petvr.data.frames import timeline
from petvr.data.frames.inorder import Transform, in_order, rgb, video
from petvr.data.frames.probe import Probe, Unreadable, container_error, open_video, probe

VERSION = 2  # raised when another frame or another picture comes than before: stores built before are then stale
Pick = Callable[[int, float], np.ndarray]
CHUNK = 16  # pictures in native size that are held at a time


@dataclass(frozen=True)
class Decoded:
    pictures: np.ndarray  # uint8 [n, H, W, 3], or what the transform made of each picture, stacked
    indices: np.ndarray  # int64 [n], which frames these are
    n_frames: int
    fps: float
    decoder: str  # e.g. "decord 0.6.0", "pyav 18.1.0"
    note: str  # why not decord, or what was damaged; empty where nothing is to be said


def decode(path: Path | str, indices: Sequence[int] | np.ndarray, *, use_decord: bool = True) -> np.ndarray:
    """uint8 [n, H, W, 3] RGB pictures, upright, of the frames at `indices` (0-based, in the order of showing).

    Raises Unreadable (a PetvrError) for files that are no video, truncated or damaged at a wanted frame, and for an
    index beyond the last frame.
    """
    return read(path, lambda n_frames, fps: np.asarray(indices, np.int64), use_decord=use_decord).pictures


def read(
    path: Path | str,
    pick: Pick,
    *,
    transform: Transform | None = None,
    use_decord: bool = True,
    window: timeline.Window | None = None,
) -> Decoded:
    """Decode the frames that `pick(n_frames, fps)` chooses. Raises Unreadable.

    window: seconds (start, end); `pick` is then asked as though the frames shown from start to end, both included, were
    a file of their own. The indices of the result are those of the whole file.
    Where only decoding tells how many frames there are and when they are shown (AVI, MPEG, WMV, VP8), and it
    contradicts the packets, `pick` is asked again with the truth.
    """
    facts = probe(path)
    indices = _picked(facts, facts.times(), window, pick)
    against = facts.against_decord() if use_decord else "not asked for"
    if against is None and importlib.util.find_spec("decord") is None:
        against = "decord is not installed"
    if against is None:
        pictures, against = _decord(facts, indices, transform)
        if pictures is not None:
            return _result(facts, indices, pictures, _version("decord"), _joined(*_notes(facts, facts.times(), window)))
    for _ in range(3):  # to learn how many frames there are, where each is, and to read them
        found = in_order(facts, indices, transform)
        times = found.facts.times(found.stamps)
        truth = _picked(found.facts, times, window, pick)
        if found.facts == facts and np.array_equal(truth, indices):
            note = _joined(against, found.note, *_notes(facts, times, window))
            return _result(facts, indices, found.pictures, _version("av"), note)
        facts, indices, against = found.facts, truth, _joined(against, found.note)
    raise Unreadable(facts.path, "gives another number of frames each time it is read")


def _result(facts: Probe, indices: np.ndarray, pictures: dict[int, np.ndarray], decoder: str, note: str) -> Decoded:
    stacked = np.stack([pictures[index] for index in indices.tolist()])
    return Decoded(stacked, indices, facts.n_frames, facts.fps, decoder, note)


def _notes(facts: Probe, times: np.ndarray, window: timeline.Window | None) -> tuple[str, ...]:
    return facts.fewer, timeline.holes(times), timeline.short_of(times, facts.fps, window)


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _picked(facts: Probe, times: np.ndarray, window: timeline.Window | None, pick: Pick) -> np.ndarray:
    first, end = timeline.part(facts.path, times, window)
    indices = np.asarray(pick(end - first, facts.fps), np.int64)
    if not len(indices):
        raise Unreadable(facts.path, "no frame was asked for")
    if indices.min() < 0 or indices.max() >= end - first:
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise Unreadable(facts.path, f"frame {wrong} was asked for, it has {end - first}")
    return indices + first


def _version(package: str) -> str:
    from importlib.metadata import version

    return f"{'pyav' if package == 'av' else package} {version(package)}"


def _decord(facts: Probe, indices: np.ndarray, transform: Transform | None):
    """Pictures by index, or None and why not. The first, the middle and the last are compared with PyAV."""
    # DECORD_EOF_RETRY_MAX is left alone: lower limits end its endless loops early (STACK §4) but make it fail now and
    # then on sound files too (measured: up to 256 at 381 frames). Files it loops on do not come here.
    import decord

    wanted = sorted(set(indices.tolist()))
    witnesses: dict[int, np.ndarray | None] = dict.fromkeys((wanted[0], wanted[len(wanted) // 2], wanted[-1]))
    pictures = {}
    try:
        reader = decord.VideoReader(str(facts.path), num_threads=1)
        if len(reader) != facts.n_frames:
            return None, f"decord counts {len(reader)} frames, there are {facts.n_frames}"
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            for index, picture in zip(part, reader.get_batch(part).asnumpy(), strict=True):
                if index in witnesses:
                    witnesses[index] = picture
                pictures[index] = transform(picture) if transform else picture
    except (decord.DECORDError, RuntimeError) as error:
        return None, f"decord failed ({_said(error)})"
    if not _confirmed(facts, witnesses):
        return None, "decord gave another picture than PyAV"
    return pictures, ""


def _said(error: Exception) -> str:
    """decord's message without its time, source line and our path, so that it is the same on every machine."""
    first = (str(error).strip().splitlines() or [""])[0]
    return re.sub(r"^(\[[\d:]+\] )?\S+:\d+: (\[[^\]]*\])?", "", first)[:80]


def _confirmed(facts: Probe, witnesses: dict[int, np.ndarray]) -> bool:
    """Whether PyAV, going to each of these frames from the keyframe before, decodes exactly these pictures."""
    assert facts.stamps is not None
    try:
        with open_video(facts.path) as container:
            stream = video(container)
            frames, place = iter(()), None
            for index, picture in sorted(witnesses.items()):
                stamp = facts.stamps[index]
                key = max((key for key in facts.keys if key <= stamp), default=facts.stamps[0])
                if place is None or key > place:  # otherwise what was decoded so far is on the way
                    container.seek(key, stream=stream)
                    frames = container.decode(stream)
                frame = next((frame for frame in frames if frame.pts is not None and frame.pts >= stamp), None)
                if frame is None or frame.pts != stamp or not np.array_equal(rgb(frame, facts), picture):
                    return False
                place = stamp
    except container_error():
        return False
    return True
