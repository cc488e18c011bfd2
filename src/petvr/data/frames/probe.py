"""What a video file really holds, from its packets alone, without decoding: a few milliseconds for a short clip.

Headers cannot be trusted: a clip cut without re-encoding announces frames that are never shown, and a truncated file
announces frames that are not there. The packets say so (STACK §4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from petvr.data.frames import announced, ends, sniff
from petvr.data.frames.ends import Packet
from petvr.data.frames.sniff import ENOUGH, Unreadable

__all__ = ["Probe", "Unreadable", "container_error", "is_cover", "open_video", "probe"]

LATE = 0.25  # seconds; a picture that begins less late does so for a muxer's reasons: its clock is zero there (guess)


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
    order: tuple[tuple[int | None, bool], ...] = field(repr=False)  # (pts, keyframe) of each packet as they lie
    tick: float = 1.0  # seconds of one unit of pts
    start: float = 0.0  # seconds on the stream's clock at which the file begins to play
    secure: int | None = None  # pictures after this pts are not used: the file was cut off, others lie before them
    loose: int = 0  # how many those are
    announced: int = 0  # frames by the file's own count; 0 where it has none
    lacking: float = 0.0  # seconds by which the pictures end before the announced end, where that is worth a word
    shown: int | None = None  # how many frames decoding gave, where that is known and another number than the packets'

    @property
    def n_frames(self) -> int:
        """Frames that can be shown."""
        return self.packets - self.discarded - self.loose if self.shown is None else self.shown

    @property
    def fewer(self) -> str:
        """A note where the file has fewer frames than it says; empty otherwise."""
        missing = self.announced - self.discarded - self.n_frames if self.announced else 0
        if missing > 0:
            return f"{missing} of the {self.announced} announced frames are not there"
        if self.loose:
            return f"truncated: {self.loose} pictures at the end are left out, others before them are missing"
        return f"ends {self.lacking:.2f} s before the announced end" if self.lacking else ""

    @property
    def family(self) -> str:
        for family in ("mov", "matroska", "flv"):
            if family in self.container.split(","):
                return family
        return self.container.split(",")[0]

    @property
    def one_frame_a_packet(self) -> bool:
        """Whether packet counts and time stamps say exactly which frame is which (not in AVI, MPEG, WMV, VP8,
        nor for MPEG-4 part 2, where DivX packed two pictures into one packet)."""
        known = {"h264", "hevc", "vp9", "av1", "mjpeg", "flv1", "h263"}
        return self.family in ("mov", "matroska", "flv") and self.codec in known and self.stamps is not None

    @cached_property
    def rank(self) -> dict[int, int]:
        """Time stamp -> index of the frame."""
        return {stamp: index for index, stamp in enumerate(self.stamps or ())}

    def times(self, stamps: Sequence[int | None] | None = None) -> np.ndarray:
        """Seconds from the beginning at which each frame is shown; by number and rate where time stamps say nothing.

        stamps: pts of the frames as they were decoded, better known than the packets' where only decoding counts.
        """
        stamps = self.stamps if stamps is None or self.family == "avi" else stamps
        if stamps is None or len(stamps) != self.n_frames or None in stamps or list(stamps) != sorted(stamps):
            return np.arange(self.n_frames) / self.fps
        times = np.array(stamps, np.float64) * self.tick - self.start
        return times - times[0] if 0 < abs(times[0]) < LATE else times

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
        missing = self.family == "mov" and self.packets != (self.expected or self.packets)
        if self.corrupt or self.torn or self.loose or missing:
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
        with open_video(path) as container:
            return _probe(path, container)
    except av.error.FFmpegError as error:
        raise Unreadable(path, f"not a readable video ({_words(error)}){sniff.no_moov(path)}") from error


def open_video(path: Path):
    """PyAV's container; only formats of videos, and titles in any encoding (they are not looked at)."""
    import av

    allowed = {"format_whitelist": ",".join(sniff.CONTAINERS)}
    return av.open(str(path), container_options=allowed, metadata_errors="replace")


def _probe(path: Path, container) -> Probe:
    streams = [s for s in container.streams.video if not is_cover(s)]
    if not streams:
        kinds = sorted({s.type for s in container.streams})
        raise Unreadable(path, f"no video stream (only {', '.join(kinds) or 'nothing'})")
    stream = streams[0]
    if stream.codec_context is None:
        raise Unreadable(path, "unknown video codec")
    found, reason = _packets(container, stream)
    torn = 0
    while found and found[-1].corrupt:
        found.pop()
        torn += 1
    discarded = sum(packet.discard for packet in found)
    expected, lacking = announced.announced(stream, container, found)
    if expected is not None and len(found) < ENOUGH * expected:
        raise Unreadable(path, f"truncated: {len(found)} of {round(expected)} frames{reason}")
    if container.format.name == "asf":
        sniff.asf_size(path)
    if len(found) == discarded:
        raise Unreadable(path, f"no frame in the video stream{reason}")
    if torn and expected is None:
        raise Unreadable(path, f"truncated: cut off after {len(found)} frames, and nothing says how many are missing")
    avi = container.format.name == "avi"  # knows no pts; FFmpeg makes some up that are neither in order nor complete
    secure = None if avi or (stream.frames and len(found) >= stream.frames) else ends.secure(found)
    shown = [packet.dts if avi else packet.pts for packet in found if not packet.discard]
    complete = None not in shown and len(set(shown)) == len(shown)
    kept = [stamp for stamp in shown if secure is None or stamp is None or stamp <= secure]
    return Probe(
        path=path,
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        fps=announced.rate(stream, len(found)),
        expected=expected,
        packets=len(found),
        discarded=discarded,
        corrupt=sum(packet.corrupt for packet in found),
        torn=torn,
        stamps=tuple(sorted(kept)) if complete else None,
        keys=tuple(sorted(packet.pts for packet in found if packet.key and packet.pts is not None)),
        leading=_leading([(packet.key, packet.pts) for packet in found]),
        order=tuple((packet.pts, packet.key) for packet in found),
        tick=float(stream.time_base or 0) or 1.0,
        start=(container.start_time or 0) / 1e6,
        secure=secure,
        loose=len(shown) - len(kept),
        announced=stream.frames,
        lacking=lacking,
    )


def _packets(container, stream) -> tuple[list[Packet], str]:
    """What the file holds of the stream, and why reading ended early; what was read before may still be enough."""
    found: list[Packet] = []
    try:
        for packet in container.demux(stream):
            if packet.size:
                found.append(Packet(packet.is_keyframe, packet.is_discard, packet.is_corrupt, packet.pts, packet.dts))
    except container_error() as error:
        return found, f" ({_words(error)})"
    return found, ""


def container_error() -> type[Exception]:
    import av

    return av.error.FFmpegError


def is_cover(stream) -> bool:
    """A picture attached to a sound file is no video."""
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


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
