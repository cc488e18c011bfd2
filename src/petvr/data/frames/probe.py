"""What a video file really holds, from its packets alone, without decoding: a few milliseconds for a short clip.

Headers cannot be trusted: a clip cut without re-encoding announces frames that are never shown, and a truncated file
announces frames that are not there. The packets say so (docs/decoding.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from petvr.data.frames import declared_length, file_type, truncation
from petvr.data.frames.file_type import ENOUGH, Unreadable
from petvr.data.frames.truncation import Packet

__all__ = ["Probe", "Unreadable", "container_error", "is_cover", "open_video", "probe"]

SHORT = 1000  # frames; to read all of such a file costs about what decord's way to a dozen of its frames costs
HDR = (16, 18)  # transfer functions of ITU-T H.273: PQ and HLG
LATE = 0.25  # seconds; a frame that begins less late does so for a muxer's reasons: its clock is zero there (guess)


@dataclass(frozen=True)
class Probe:
    """The facts about the first video stream. Times in seconds, `pts` in units of the stream's time base."""

    path: Path
    container: str  # FFmpeg's name, e.g. "mov,mp4,m4a,3gp,3g2,mj2"
    codec: str
    width: int
    height: int
    fps: float  # the average rate, which the samplers of the papers divide by
    expected: float | None  # announced number of packets; None where nothing announces it
    packets: int  # without the torn ones
    discarded: int  # decoded for reference, never shown
    corrupt: int  # damaged, with sound packets after them
    torn: int  # damaged at the very end, where the file was cut off
    stamps: tuple[int, ...] | None  # sorted pts of what is shown; None where some are missing or equal
    keys: tuple[int, ...]  # sorted pts from which decoding can start
    leading: bool  # frames shown before the keyframe they follow in the file (open GOP)
    order: tuple[tuple[int | None, bool], ...] = field(repr=False)  # (pts, keyframe) of each packet as they lie
    tick: float = 1.0  # seconds of one unit of pts
    start: float = 0.0  # seconds on the stream's clock at which the file begins to play
    secure: int | None = None  # frames after this pts are not used: the file was cut off, others lie before them
    loose: int = 0  # how many those are
    announced: int = 0  # frames by the file's own count; 0 where it has none
    lacking: float = 0.0  # seconds by which the frames end before the announced end, where that is worth a word
    last: float = 0.0  # seconds for which the last frame is shown; 0 where nothing says
    aspect: Fraction = Fraction(1)  # width of a pixel to its height
    remark: str = ""  # what is odd about its pictures and is left as it is
    shown: int | None = None  # how many frames decoding gave, where that is known and another number than the packets'

    @property
    def n_frames(self) -> int:
        """Frames that can be shown."""
        return self.packets - self.discarded - self.loose if self.shown is None else self.shown

    @property
    def fewer(self) -> str:
        """A note where the file has fewer frames than it says, or more; empty otherwise."""
        missing = self.announced - self.discarded - self.n_frames if self.announced else 0
        if missing > 0:
            return f"{missing} of the {self.announced} announced frames are not there"
        if missing < 0:
            return f"holds {-missing} frames more than the {self.announced} it announces"
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
        nor for MPEG-4 part 2, where DivX packed two frames into one packet)."""
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
        known = [stamp for stamp in stamps or () if stamp is not None]
        if not known or len(known) != self.n_frames or len(known) != len(stamps or ()) or known != sorted(known):
            return np.arange(self.n_frames) / self.fps
        times = np.array(known, np.float64) * self.tick - self.start
        return times - times[0] if 0 < abs(times[0]) < LATE else times

    def ends(self, times: np.ndarray) -> np.ndarray:
        """`times` and, behind them, when the last frame ends."""
        return np.append(times, times[-1] + (self.last or 1 / self.fps))

    @property
    def read_whole(self) -> bool:
        """Whether all frames are decoded and asked for damage whichever are wanted: where the file is short, and where
        frames have to be counted to the end anyway. Of a long one those are asked that are decoded for the wanted."""
        return self.n_frames <= SHORT or not self.one_frame_a_packet

    def groups(self, indices: Sequence[int] | np.ndarray) -> dict[int, list[int]]:
        """Index of a keyframe -> those of `indices`, ascending, that are decoded from there."""
        assert self.stamps is not None
        keys = np.array(sorted({0, *(self.rank[key] for key in self.keys if key in self.rank)}))
        groups: dict[int, list[int]] = {}
        for index in sorted({int(index) for index in indices}):
            before = max(0, int(np.searchsorted(keys, index, side="right")) - 1)
            groups.setdefault(int(keys[before]), []).append(index)
        return groups

    def against_decord(self) -> str | None:
        """Why decord's random access is not trusted with this file (docs/decoding.md); None where it is right.

        HEVC and H.264 with open GOPs give wrong frames too, hence `leading`.
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
    file_type.require_video_file(path)
    try:
        with open_video(path) as container:
            return _probe(path, container)
    except av.error.FFmpegError as error:
        raise Unreadable(path, f"not a readable video ({_message(error)}){file_type.missing_moov(path)}") from error


def open_video(path: Path) -> Any:
    """PyAV's container; only formats of videos, and titles in any encoding (they are not looked at)."""
    import av

    allowed = {"format_whitelist": ",".join(file_type.CONTAINERS)}
    return av.open(str(path), container_options=allowed, metadata_errors="replace")


def _probe(path: Path, container: Any) -> Probe:
    streams = [s for s in container.streams.video if not is_cover(s)]
    if not streams:
        kinds = sorted({s.type for s in container.streams})
        raise Unreadable(path, f"no video stream (only {', '.join(kinds) or 'nothing'})")
    stream = streams[0]
    if stream.codec_context is None:
        raise Unreadable(path, "unknown video codec")
    packets, reason = _packets(container, stream)
    torn = 0
    while packets and packets[-1].corrupt:
        packets.pop()
        torn += 1
    discarded = sum(packet.discard for packet in packets)
    expected, lacking = declared_length.declared_length(stream, container, packets)
    if expected is not None and len(packets) < ENOUGH * expected:
        raise Unreadable(path, f"truncated: {len(packets)} of {round(expected)} frames{reason}")
    if container.format.name == "asf":
        file_type.require_asf_size(path)
    if len(packets) == discarded:
        raise Unreadable(path, f"no frame in the video stream{reason}")
    if torn and expected is None:
        raise Unreadable(path, f"truncated: cut off after {len(packets)} frames, and nothing says how many are missing")
    avi = container.format.name == "avi"  # knows no pts; FFmpeg makes some up that are neither in order nor complete
    secure = None if avi or (stream.frames and len(packets) >= stream.frames) else truncation.last_secure_pts(packets)
    shown = [packet.dts if avi else packet.pts for packet in packets if not packet.discard]
    kept = [stamp for stamp in shown if secure is None or stamp is None or stamp <= secure]
    known = [stamp for stamp in kept if stamp is not None]
    complete = None not in shown and len(set(shown)) == len(shown)
    tick = float(stream.time_base or 0) or 1.0
    last = declared_length.last_frame(stream, packets)
    # MPEG streams are of a constant rate, and their clock may jump
    clock = sorted(known) if complete and not container.format.name.startswith("mpeg") else []
    return Probe(
        path=path,
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        fps=declared_length.frame_rate(stream, np.array(clock) * tick, last, len(packets)),
        expected=expected,
        packets=len(packets),
        discarded=discarded,
        corrupt=sum(packet.corrupt for packet in packets),
        torn=torn,
        stamps=tuple(sorted(known)) if complete else None,
        keys=tuple(sorted(packet.pts for packet in packets if packet.key and packet.pts is not None)),
        leading=_leading([(packet.key, packet.pts) for packet in packets]),
        order=tuple((packet.pts, packet.key) for packet in packets),
        tick=tick,
        start=(container.start_time or 0) / 1e6,
        secure=secure,
        loose=len(shown) - len(kept),
        announced=stream.frames,
        lacking=lacking,
        last=last,
        aspect=stream.sample_aspect_ratio or Fraction(1),
        remark=_remark(stream),
    )


def _remark(stream: Any) -> str:
    """What a player would show otherwise; the papers' code, and so petvr, takes the coded pictures as they are."""
    aspect, transfer = stream.sample_aspect_ratio or 1, stream.codec_context.color_trc
    wide = f"pixels of {aspect.numerator}:{aspect.denominator}, pictures are not stretched" * (abs(aspect - 1) > 0.01)
    return "; ".join(filter(None, (wide, "HDR, read without tone mapping" if transfer in HDR else "")))


def _packets(container: Any, stream: Any) -> tuple[list[Packet], str]:
    """What the file holds of the stream, and why reading ended early; what was read before may still be enough."""
    packets: list[Packet] = []
    try:
        for packet in container.demux(stream):
            if packet.size:
                flags = packet.is_keyframe, packet.is_discard, packet.is_corrupt
                packets.append(Packet(*flags, packet.pts, packet.dts, packet.duration or 0))
    except container_error() as error:
        return packets, f" ({_message(error)})"
    return packets, ""


def container_error() -> tuple[type[Exception], ...]:
    """What reading a damaged file raises; IndexError is PyAV's for a stream that nothing announced."""
    import av

    return av.error.FFmpegError, IndexError


def is_cover(stream: Any) -> bool:
    """An image attached to a sound file is no video."""
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


def _message(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
