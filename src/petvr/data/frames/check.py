"""One video file as the pipeline reads it: what it is, how long, and whether random access gives the right frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petvr.data.frames import decode, timeline
from petvr.data.frames.probe import Probe, Unreadable, probe
from petvr.data.frames.sequential_decode import DamagedVideo

POSITIONS = 8  # frames compared between random access and reading in order, the first and the last among them


@dataclass(frozen=True)
class CheckedVideo:
    container: str  # FFmpeg's name, e.g. "matroska"
    codec: str
    width: int
    height: int
    fps: float
    n_frames: int  # that can be decoded; in the window, where there is one
    seconds: float  # for which these frames are shown, by their time stamps
    against_decord: str  # why decord is not let near this file; empty where it reads it rightly
    note: str  # what is damaged, missing or odd, and is no reason not to use the file


def check_video(
    path: Path | str, *, window: timeline.Window | None = None, seconds: float | None = None, use_decord: bool = True
) -> CheckedVideo:
    """Decode the file in order, and `POSITIONS` frames of it (or of its window, in seconds) by decord too.

    seconds: how long the clip should be by its annotation; more than one second of difference is a reason, as is all
    that `decode.read_frames` refuses. Raises Unreadable with the reason. Of a long file damage is noted: a store that
    needs none of its damaged frames uses it.
    """
    facts = probe(path)
    counts: list[int] = []

    def spread(n_frames: int, fps: float) -> np.ndarray:
        counts.append(n_frames)
        return np.linspace(0, n_frames - 1, min(POSITIONS, n_frames), dtype=np.int64)

    try:
        decoded = decode.read_frames(path, spread, window=window, use_decord=False)
    except DamagedVideo as error:
        if facts.read_whole:
            raise
        span = float(np.ptp(facts.ends(facts.times())))
        note = f"{error.reason}: a store that needs one of the damaged frames leaves the video out"
        return _checked(facts, facts.n_frames, facts.fps, span, "damaged", note)
    against = facts.against_decord() or ""
    if not against:
        wanted = decoded.indices.tolist()
        pixels, against = decode.read_by_decord(facts, wanted) if use_decord else ({}, "it hung or crashed")
        for index, one in zip(wanted, decoded.pixels, strict=True):
            if pixels and not np.array_equal(one, pixels[index]):
                against = f"it gives another picture than reading in order at frame {index}"
                break
    first, end = timeline.frame_range(path, decoded.ends[:-1], window)
    lasts = float(decoded.ends[end] - decoded.ends[first])
    if seconds is not None and abs(lasts - seconds) > timeline.SHORT:
        raise Unreadable(path, f"lasts {lasts:.2f} s, should last {seconds:.2f} s")
    return _checked(
        facts, counts[-1], decoded.fps, lasts, against, decoded.note.removeprefix("not asked for").removeprefix("; ")
    )


def _checked(facts: Probe, n_frames: int, fps: float, seconds: float, against: str, note: str) -> CheckedVideo:
    return CheckedVideo(facts.container, facts.codec, facts.width, facts.height, fps, n_frames, seconds, against, note)
