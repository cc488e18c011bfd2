"""One video file as the pipeline reads it: what it is, how long, and whether random access gives the right frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petvr.data.frames import decode, timeline
from petvr.data.frames.probe import Unreadable, probe

POSITIONS = 8  # frames compared between random access and reading in order, the first and the last among them


@dataclass(frozen=True)
class CheckedVideo:
    container: str  # FFmpeg's name, e.g. "matroska"
    codec: str
    width: int
    height: int
    fps: float
    n_frames: int  # that can be decoded; in the window, where there is one
    seconds: float  # n_frames / fps
    decoder: str
    against_decord: str  # why decord is not let near this file; empty where it may
    note: str  # what is damaged, missing or odd, and is no reason not to use the file


def check_video(
    path: Path | str, *, window: timeline.Window | None = None, seconds: float | None = None, use_decord: bool = True
) -> CheckedVideo:
    """Decode `POSITIONS` frames of the file (or of its window, in seconds) twice. Raises Unreadable with the reason.

    seconds: how long the clip should be by its annotation; more than one second of difference is a reason, as are
    random access and reading in order that differ in any pixel, and all that `decode.read_frames` refuses.
    """
    facts = probe(path)
    against = facts.against_decord() or ""
    counts: list[int] = []

    def spread(n_frames: int, fps: float) -> np.ndarray:
        counts.append(n_frames)
        return np.linspace(0, n_frames - 1, min(POSITIONS, n_frames), dtype=np.int64)

    decoded = decode.read_frames(path, spread, window=window, use_decord=use_decord)
    length = counts[-1]
    if decoded.decoder.startswith("decord"):
        again = decode.read_frames(path, spread, window=window, use_decord=False)
        if again.n_frames != decoded.n_frames:
            raise Unreadable(path, f"decord counts {decoded.n_frames} frames, PyAV {again.n_frames}")
        for index, one, other in zip(decoded.indices, decoded.pixels, again.pixels, strict=True):
            if not np.array_equal(one, other):
                raise Unreadable(path, f"random access and reading in order differ at frame {index}")
    lasts = length / decoded.fps
    if seconds is not None and abs(lasts - seconds) > timeline.SHORT:
        raise Unreadable(path, f"lasts {lasts:.2f} s, should last {seconds:.2f} s")
    return CheckedVideo(
        container=facts.container,
        codec=facts.codec,
        width=facts.width,
        height=facts.height,
        fps=decoded.fps,
        n_frames=length,
        seconds=lasts,
        decoder=decoded.decoder,
        against_decord=against,
        note=decoded.note.removeprefix(against).removeprefix("; "),
    )
