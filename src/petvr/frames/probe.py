"""What a video file really holds, from its packets alone, without decoding: a few milliseconds for a short clip.

Headers cannot be trusted: a clip cut without re-encoding announces frames that are never shown, and a truncated file
announces frames that are not there. The packets say so (STACK §4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from petvr.frames import sniff
from petvr.frames.sniff import ENOUGH, Unreadable

__all__ = ["Probe", "Unreadable", "container_error", "is_cover", "probe"]


@dataclass(frozen=True)
class Probe:
    """The facts about the first video stream. Times in seconds, `pts` in units of the stream's time base."""

    path: Path
    container: str  # FFmpeg's name, e.g. "mov,mp4,m4a,3gp,3g2,mj2"
    codec: str
    width: int
    height: int
    fps: float  # what OpenCV reports and the samplers of the papers divide by
    expected: float | None  # announced number of packets; None where nothing announces it
    packets: int  # without the torn ones
    discarded: int  # decoded for reference, never shown
    corrupt: int  # damaged, with sound packets after them
    torn: int  # damaged at the very end, where the file was cut off
    stamps: tuple[int, ...] | None  # sorted pts of what is shown; None where some are missing or equal
    keys: tuple[int, ...]  # sorted pts from which decoding can start
    leading: bool  # pictures shown before the keyframe they follow in the file (open GOP)
    shown: int | None = None  # how many frames decoding gave, where that is known and another number than the packets'

    @property
    def n_frames(self) -> int:
        """Frames that can be shown."""
        return self.packets - self.discarded if self.shown is None else self.shown

    @property
    def family(self) -> str:
        for family in ("mov", "matroska", "flv"):
            if family in self.container.split(","):
                return family
        return self.container.split(",")[0]

    @property
    def one_frame_a_packet(self) -> bool:
        """Whether packet counts and time stamps say exactly which frame is which (not in AVI, MPEG, WMV, VP8)."""
        known = {"h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg", "flv1", "h263"}
        return self.family in ("mov", "matroska", "flv") and self.codec in known and self.stamps is not None

    @cached_property
    def rank(self) -> dict[int, int]:
        """Time stamp -> index of the frame."""
        return {stamp: index for index, stamp in enumerate(self.stamps or ())}

    def against_decord(self) -> str | None:
        """Why decord's random access is not trusted with this file; None where it is right (measured, DATASETS §0.3).

        Measured here beyond those notes: HEVC and H.264 with open GOPs give wrong frames too, hence `leading`.
        """
        if self.family not in ("mov", "matroska", "flv"):
            return f"{self.family} container"
        if self.codec not in ("h264", "hevc", "vp9", "flv1"):
            return f"{self.codec} in {self.family}"
        if self.stamps is None:
            return "time stamps missing or repeated"
        if self.discarded:
            return f"{self.discarded} frames that are never shown (cut without re-encoding)"
        if self.corrupt or self.torn or (self.family == "mov" and self.packets != (self.expected or self.packets)):
            return "damaged or truncated"
        if self.leading:
            return "open GOP"
        return None


def probe(path: Path | str) -> Probe:
    """Read all packets of the file. Raises Unreadable with the reason for what is no usable video."""
    import av

    path = Path(path)
    sniff.sniff(path)
    try:
        with av.open(str(path)) as container:
            return _probe(path, container)
    except av.error.FFmpegError as error:
        raise Unreadable(path, f"not a readable video ({_words(error)}){sniff.no_moov(path)}") from error


def _probe(path: Path, container) -> Probe:
    streams = [s for s in container.streams.video if not is_cover(s)]
    if not streams:
        kinds = sorted({s.type for s in container.streams})
        raise Unreadable(path, f"no video stream (only {', '.join(kinds) or 'nothing'})")
    stream = streams[0]
    if stream.codec_context is None:
        raise Unreadable(path, "unknown video codec")
    found, reason = [], ""  # (keyframe, discarded, corrupt, pts) of each packet
    try:
        for packet in container.demux(stream):
            if packet.size:
                found.append((packet.is_keyframe, packet.is_discard, packet.is_corrupt, packet.pts))
    except container_error() as error:
        reason = f" ({_words(error)})"  # what was read before may still be enough
    torn = 0
    while found and found[-1][2]:
        found.pop()
        torn += 1
    discarded = sum(packet[1] for packet in found)
    average = float(stream.average_rate or stream.guessed_rate or 0)
    expected = _expected(stream, container, average, discarded)
    if expected is not None and len(found) < ENOUGH * expected:
        raise Unreadable(path, f"truncated: {len(found)} of {round(expected)} frames{reason}")
    if container.format.name == "asf":
        sniff.asf_size(path)
    if len(found) == discarded:
        raise Unreadable(path, f"no frame in the video stream{reason}")
    shown = [stamp for _, discard, _, stamp in found if not discard]
    complete = None not in shown and len(set(shown)) == len(shown)
    return Probe(
        path=path,
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        fps=_rate(stream, average, len(found)),
        expected=expected,
        packets=len(found),
        discarded=discarded,
        corrupt=sum(packet[2] for packet in found),
        torn=torn,
        stamps=tuple(sorted(shown)) if complete else None,
        keys=tuple(sorted(stamp for key, _, _, stamp in found if key and stamp is not None)),
        leading=_leading([(key, stamp) for key, _, _, stamp in found]),
    )


def container_error() -> type[Exception]:
    import av

    return av.error.FFmpegError


def is_cover(stream) -> bool:
    """A picture attached to a sound file is no video."""
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _expected(stream, container, average: float, discarded: int) -> float | None:
    """Packets the header announces: its own count, else duration times rate (plus those never shown)."""
    if stream.frames:
        return float(stream.frames)
    seconds = None
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif "DURATION" in stream.metadata:
        hours, minutes, rest = stream.metadata["DURATION"].split(":")
        seconds = int(hours) * 3600 + int(minutes) * 60 + float(rest)
    elif container.duration is not None:
        seconds = container.duration / 1e6
    return seconds * average + discarded if seconds and average else None


def _rate(stream, average: float, packets: int) -> float:
    """Frames per second as OpenCV gives it to the papers' code; the average where that is absurd or absent."""
    guessed = float(stream.guessed_rate or 0)
    if 0 < guessed <= 240:
        return guessed
    if average > 0:
        return average
    if stream.duration and stream.time_base:
        return packets / float(stream.duration * stream.time_base)
    return 25.0  # nothing says; what FFmpeg itself assumes


def _leading(keys: list[tuple[bool, int | None]]) -> bool:
    start = -math.inf
    for is_key, stamp in keys:
        if stamp is None:
            continue
        if is_key:
            start = stamp
        elif stamp < start:
            return True
    return False


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
