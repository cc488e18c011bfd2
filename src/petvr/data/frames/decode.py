"""Pixels at given frame indices, checked: few frames of a long file by random access, all else in order.

A frame that cannot be had is an error with a reason. It is never replaced by zeros or by another frame.
decord conceals damage and does not say so, PyAV does: random access is PyAV's, with decord as its witness.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petvr.data.frames import matroska_checks, timeline
from petvr.data.frames.probe import Probe, Unreadable, container_error, open_video, probe
from petvr.data.frames.sequential_decode import (
    DamagedVideo,
    Transform,
    decode_sequentially,
    orientation_note,
    to_rgb,
    video_stream,
)

VERSION = 3  # raised when other frames or pixels come than before: stores built before are then stale
Pick = Callable[[int, float], np.ndarray]
SPARSE = 0.5  # random access and its witness are faster where they decode a smaller share of the frames (measured)


@dataclass(frozen=True)
class DecodedFrames:
    pixels: np.ndarray  # uint8 [n, H, W, 3], or what the transform made of each frame, stacked
    indices: np.ndarray  # int64 [n], which frames these are
    n_frames: int
    fps: float
    ends: np.ndarray  # float64 [n_frames + 1], seconds at which frames begin; last, when the last one ends
    decoder: str  # e.g. "pyav 18.1.0", "decord 0.6.0, pyav 18.1.0"
    note: str  # why not decord, or what was damaged; empty where nothing is to be said


def decode_frames(path: Path | str, indices: Sequence[int] | np.ndarray, *, use_decord: bool = True) -> np.ndarray:
    """uint8 [n, H, W, 3] RGB pixels, upright, of the frames at `indices` (0-based, in the order of showing).

    Raises Unreadable (a PetvrError) for files that are no video, truncated or damaged up to the last wanted frame, and
    for an index beyond the last frame.
    """
    wanted = np.asarray(indices, np.int64)
    return read_frames(path, lambda n_frames, fps: wanted, use_decord=use_decord, whole=False).pixels


def read_frames(
    path: Path | str,
    pick: Pick,
    *,
    transform: Transform | None = None,
    use_decord: bool = True,
    window: timeline.Window | None = None,
    whole: bool = True,
) -> DecodedFrames:
    """Decode the frames that `pick(n_frames, fps)` chooses. Raises Unreadable, for damage in frames not chosen too.

    window: seconds (start, end); `pick` is then asked as though the frames shown from start to end, both included, were
    a file of their own. The indices of the result are those of the whole file.
    Where only decoding tells how many frames there are and when they are shown (AVI, MPEG, WMV, VP8), and it
    contradicts the packets, `pick` is asked again with the truth.
    whole: ask all frames of a short file for damage, so that the answer is the same whichever are chosen; else, and in
    a long file, those that are decoded for the chosen ones.
    """
    facts = probe(path)
    indices = _picked(facts, facts.times(), window, pick)
    against = (facts.against_decord() or "") if use_decord else "not asked for"
    if not against and not (whole and facts.read_whole) and _is_sparse(facts, indices):
        pixels, against = _by_groups(facts, indices, transform)
        if pixels:
            _require_checksums(facts, whole)
            note = _joined(against, *_notes(facts, facts.times(), window))
            return _result(facts, indices, pixels, facts.times(), f"{_version('decord')}, {_version('av')}", note)
    for _ in range(3):  # to learn how many frames there are, where each is, and to read them
        decoded = decode_sequentially(facts, indices, transform, whole=whole and facts.read_whole)
        times = decoded.facts.times(decoded.stamps)
        truth = _picked(decoded.facts, times, window, pick)
        if decoded.facts == facts and np.array_equal(truth, indices):
            _require_checksums(facts, whole)
            note = _joined(against, decoded.note, *_notes(facts, times, window))
            return _result(facts, indices, decoded.pixels, times, _version("av"), note)
        facts, indices, against = decoded.facts, truth, _joined(against, decoded.note)
    raise Unreadable(facts.path, "gives another number of frames each time it is read")


def _require_checksums(facts: Probe, whole: bool) -> None:
    """Whatever was decoded: the decoders of H.265 and VP9 show a damaged picture without a word."""
    if whole and (differing := matroska_checks.differing_checksum(facts)):
        raise DamagedVideo(facts.path, f"damaged: {differing}")


def _result(
    facts: Probe, indices: np.ndarray, pixels: dict[int, np.ndarray], times: np.ndarray, decoder: str, note: str
) -> DecodedFrames:
    stacked = np.stack([pixels[index] for index in indices.tolist()])
    return DecodedFrames(stacked, indices, facts.n_frames, facts.fps, facts.ends(times), decoder, note)


def _notes(facts: Probe, times: np.ndarray, window: timeline.Window | None) -> tuple[str, ...]:
    return facts.fewer, timeline.gap_note(times), timeline.short_note(facts.ends(times), window), facts.remark


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


@functools.cache
def _version(package: str) -> str:
    from importlib.metadata import version

    return f"{'pyav' if package == 'av' else package} {version(package)}"


def _is_sparse(facts: Probe, indices: np.ndarray) -> bool:
    decoded = sum(group[-1] - key + 1 for key, group in facts.groups(indices).items())
    return decoded < SPARSE * (int(indices.max()) + 1)


def _by_groups(facts: Probe, indices: np.ndarray, transform: Transform | None) -> tuple[dict[int, np.ndarray], str]:
    """Frames by index and a note, or none and why: each from the keyframe before it, asked for damage on the way.

    PyAV finds its way by time stamps and decord by counting; the first, the middle and the last picture must be equal.
    """
    assert facts.stamps is not None
    wanted = sorted(set(indices.tolist()))
    witnesses = dict.fromkeys((wanted[0], wanted[len(wanted) // 2], wanted[-1]))
    by_decord, why = read_by_decord(facts, list(witnesses))
    if why:
        return {}, why
    pixels: dict[int, np.ndarray] = {}
    note, unsure = None, "decord and PyAV do not agree on its frames, or some are damaged"
    try:
        with open_video(facts.path) as container:
            stream = video_stream(container)
            for key, group in facts.groups(wanted).items():
                container.seek(facts.stamps[key], stream=stream)
                for frame in container.decode(stream):
                    note = orientation_note(frame) if note is None else note
                    index = facts.rank.get(frame.pts, -1)
                    if frame.is_corrupt:
                        return {}, unsure
                    if index in group:
                        image = to_rgb(frame, facts)
                        if index in witnesses and not np.array_equal(image, by_decord[index]):
                            return {}, unsure
                        pixels[index] = transform(image) if transform else image
                    if index >= group[-1]:
                        break
    except container_error():
        return {}, unsure
    return (pixels, note or "") if len(pixels) == len(wanted) else ({}, unsure)


def read_by_decord(facts: Probe, indices: Sequence[int]) -> tuple[dict[int, np.ndarray], str]:
    """Pictures by index, or none and why; only for files that `against_decord` says nothing of. Asks for no damage."""
    if importlib.util.find_spec("decord") is None:
        return {}, "decord is not installed"
    # DECORD_EOF_RETRY_MAX is left alone: lower limits end its endless loops early but make it fail now and
    # then on sound files too (measured: up to 256 at 381 frames). Files it loops on do not come here.
    import decord

    try:
        reader = decord.VideoReader(str(facts.path), num_threads=1)
        if len(reader) != facts.n_frames:
            return {}, f"decord counts {len(reader)} frames, there are {facts.n_frames}"
        return dict(zip(indices, reader.get_batch(indices).asnumpy(), strict=True)), ""
    except (decord.DECORDError, RuntimeError) as error:
        return {}, f"decord failed ({_said(error)})"


def _said(error: Exception) -> str:
    """decord's message without its time, source line and our path, so that it is the same on every machine."""
    first = (str(error).strip().splitlines() or [""])[0]
    return re.sub(r"^(\[[\d:]+\] )?\S+:\d+: (\[[^\]]*\])?", "", first)[:80]
