"""Pixels at given frame indices, checked: decord where its random access is right, PyAV read in order elsewhere.

A frame that cannot be had is an error with a reason. It is never replaced by zeros or by another frame.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from petvr.data.frames import timeline
from petvr.data.frames.probe import Probe, Unreadable, container_error, open_video, probe
from petvr.data.frames.sequential_decode import Transform, decode_sequentially, to_rgb, video_stream

VERSION = 2  # raised when other frames or pixels come than before: stores built before are then stale
Pick = Callable[[int, float], np.ndarray]
CHUNK = 16  # frames in native size that are held at a time


@dataclass(frozen=True)
class DecodedFrames:
    pixels: np.ndarray  # uint8 [n, H, W, 3], or what the transform made of each frame, stacked
    indices: np.ndarray  # int64 [n], which frames these are
    n_frames: int
    fps: float
    decoder: str  # e.g. "decord 0.6.0", "pyav 18.1.0"
    note: str  # why not decord, or what was damaged; empty where nothing is to be said


def decode_frames(path: Path | str, indices: Sequence[int] | np.ndarray, *, use_decord: bool = True) -> np.ndarray:
    """uint8 [n, H, W, 3] RGB pixels, upright, of the frames at `indices` (0-based, in the order of showing).

    Raises Unreadable (a PetvrError) for files that are no video, truncated or damaged at a wanted frame, and for an
    index beyond the last frame.
    """
    return read_frames(path, lambda n_frames, fps: np.asarray(indices, np.int64), use_decord=use_decord).pixels


def read_frames(
    path: Path | str,
    pick: Pick,
    *,
    transform: Transform | None = None,
    use_decord: bool = True,
    window: timeline.Window | None = None,
) -> DecodedFrames:
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
        pixels, against = _decord(facts, indices, transform)
        if pixels is not None:
            return _result(facts, indices, pixels, _version("decord"), _joined(*_notes(facts, facts.times(), window)))
    for _ in range(3):  # to learn how many frames there are, where each is, and to read them
        decoded = decode_sequentially(facts, indices, transform)
        times = decoded.facts.times(decoded.stamps)
        truth = _picked(decoded.facts, times, window, pick)
        if decoded.facts == facts and np.array_equal(truth, indices):
            note = _joined(against, decoded.note, *_notes(facts, times, window))
            return _result(facts, indices, decoded.pixels, _version("av"), note)
        facts, indices, against = decoded.facts, truth, _joined(against, decoded.note)
    raise Unreadable(facts.path, "gives another number of frames each time it is read")


def _result(facts: Probe, indices: np.ndarray, pixels: dict[int, np.ndarray], decoder: str, note: str) -> DecodedFrames:
    stacked = np.stack([pixels[index] for index in indices.tolist()])
    return DecodedFrames(stacked, indices, facts.n_frames, facts.fps, decoder, note)


def _notes(facts: Probe, times: np.ndarray, window: timeline.Window | None) -> tuple[str, ...]:
    return facts.fewer, timeline.gap_note(times), timeline.short_note(times, facts.fps, window)


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _picked(facts: Probe, times: np.ndarray, window: timeline.Window | None, pick: Pick) -> np.ndarray:
    first, end = timeline.frame_range(facts.path, times, window)
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


def _decord(facts: Probe, indices: np.ndarray, transform: Transform | None) -> tuple[dict[int, np.ndarray] | None, str]:
    """Frames by index, or None and why not. The first, the middle and the last are compared with PyAV."""
    # DECORD_EOF_RETRY_MAX is left alone: lower limits end its endless loops early but make it fail now and
    # then on sound files too (measured: up to 256 at 381 frames). Files it loops on do not come here.
    import decord

    wanted = sorted(set(indices.tolist()))
    compared = {wanted[0], wanted[len(wanted) // 2], wanted[-1]}
    witnesses: dict[int, np.ndarray] = {}
    pixels: dict[int, np.ndarray] = {}
    try:
        reader = decord.VideoReader(str(facts.path), num_threads=1)
        if len(reader) != facts.n_frames:
            return None, f"decord counts {len(reader)} frames, there are {facts.n_frames}"
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            for index, image in zip(part, reader.get_batch(part).asnumpy(), strict=True):
                if index in compared:
                    witnesses[index] = image
                pixels[index] = transform(image) if transform else image
    except (decord.DECORDError, RuntimeError) as error:
        return None, f"decord failed ({_said(error)})"
    if not _confirmed(facts, witnesses):
        return None, "decord gave another picture than PyAV"
    return pixels, ""


def _said(error: Exception) -> str:
    """decord's message without its time, source line and our path, so that it is the same on every machine."""
    first = (str(error).strip().splitlines() or [""])[0]
    return re.sub(r"^(\[[\d:]+\] )?\S+:\d+: (\[[^\]]*\])?", "", first)[:80]


def _confirmed(facts: Probe, witnesses: dict[int, np.ndarray]) -> bool:
    """Whether PyAV, going to each of these frames from the keyframe before, decodes exactly these pixels."""
    assert facts.stamps is not None
    try:
        with open_video(facts.path) as container:
            stream = video_stream(container)
            frames: Iterator[Any] = iter(())
            reached: int | None = None
            for index, image in sorted(witnesses.items()):
                stamp = facts.stamps[index]
                key = max((key for key in facts.keys if key <= stamp), default=facts.stamps[0])
                if reached is None or key > reached:  # otherwise what was decoded so far is on the way
                    container.seek(key, stream=stream)
                    frames = container.decode(stream)
                frame = next((frame for frame in frames if frame.pts is not None and frame.pts >= stamp), None)
                if frame is None or frame.pts != stamp or not np.array_equal(to_rgb(frame, facts), image):
                    return False
                reached = stamp
    except container_error():
        return False
    return True
