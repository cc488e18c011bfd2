"""How many frames a file announces, and how many a second."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from petvr.data.frames import truncation
from petvr.data.frames.truncation import Packet

# nothing in these says how long they are; what FFmpeg gives as duration is what it found in the file
UNANNOUNCED = ("mpeg", "mpegts", "mpegvideo", "h264", "hevc", "m4v", "dv", "gif", "obu")


def declared_length(stream: Any, container: Any, packets: Sequence[Packet]) -> tuple[float | None, float]:
    """Packets the header announces: its own count, else duration times rate (plus those never shown), None if neither.

    Where a rate is only an upper bound, the packets themselves may fill the duration: then they are what was announced,
    and the second value is by how many seconds they end before the announced end, 0.0 where that is worth no word.
    """
    kinds, average = container.format.name.split(","), average_rate(stream)
    seconds: float | None = None
    expected: float | None = None
    if stream.frames:
        seconds = stream.frames / average if average and kinds == ["avi"] else None
        expected = float(stream.frames)
    elif "mov" in kinds or kinds[0] in UNANNOUNCED:  # an MP4 without a count is fragmented and has no duration either
        return None, 0.0
    else:
        seconds = _duration(stream, container)
        expected = seconds * average + sum(packet.discard for packet in packets) if seconds and average else None
    # an AVI file counts frames that it leaves out to show the one before longer; the clock of its dts goes on
    clock = [packet.dts if kinds == ["avi"] else packet.pts for packet in packets if not packet.discard]
    if not seconds or not average or not clock or None in clock:
        return expected, 0.0
    times = sorted(float(tick * stream.time_base) for tick in clock)
    zero = 0.0 if {"matroska", "flv"} & set(kinds) else times[0]  # those announce an end and not a length
    times = [time - zero for time in times]
    if not truncation.reaches_end(times, average, seconds):
        return expected, 0.0
    return float(len(packets)), truncation.seconds_missing(times, average, seconds)


def _duration(stream: Any, container: Any) -> float | None:
    """Seconds, as the header has it."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if "DURATION" in stream.metadata:
        with contextlib.suppress(ValueError):  # a title like any other; a damaged one announces nothing
            hours, minutes, rest = stream.metadata["DURATION"].split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(rest)
    return container.duration / 1e6 if container.duration is not None else None


def average_rate(stream: Any) -> float:
    return float(stream.average_rate or 0) or _plausible(stream.guessed_rate)


def frame_rate(stream: Any, packets: int) -> float:
    """Frames per second as OpenCV gives it to the papers' code; the average where that is absurd or absent."""
    if guessed := _plausible(stream.guessed_rate):
        return guessed
    if average := average_rate(stream):
        return average
    if stream.duration and stream.time_base:
        return packets / float(stream.duration * stream.time_base)
    return 25.0  # nothing says; what FFmpeg itself assumes


def _plausible(rate: Any) -> float:
    """Frames per second; 0 for what is a clock's rate and no video's (1000 in WMV files of one frame)."""
    return float(rate) if rate and 0 < rate <= 240 else 0.0
