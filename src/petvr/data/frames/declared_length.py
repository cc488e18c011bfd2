"""How many frames a file announces, and how many a second."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

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
    shown = [packet for packet in packets if not packet.discard]
    row = sorted((tick, max(packet.duration, 0)) for tick, packet in zip(clock, shown, strict=True))
    times, lasting = ([float(tick * stream.time_base) for tick in ticks] for ticks in zip(*row, strict=True))
    zero = 0.0 if {"matroska", "flv"} & set(kinds) else times[0]  # those announce an end and not a length
    times = [time - zero for time in times]
    if not truncation.reaches_end(times, average, seconds, lasting):
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


def frame_rate(stream: Any, times: np.ndarray, last: float, packets: int) -> float:
    """Frames per second: the announced rate where the time stamps keep to it, else the average, as of OpenCV.

    times: seconds at which the frames are shown, ascending, empty where no time stamps say so; last: for how long the
    last one is shown, 0 where nothing says. Averages are rounded to hundredths: Matroska's clock has milliseconds.
    """
    announced = [rate for rate in (_plausible(stream.guessed_rate), average_rate(stream)) if rate]
    tick = max(float(stream.time_base or 0), 0.001)
    for rate in announced:
        if len(times) < 2 or is_even(times, rate, min(tick, 0.25 / rate)):
            return rate
    if len(times) > 1:
        length = times[-1] - times[0]
        average = len(times) / (length + last) if last else (len(times) - 1) / length
        return round(average, 2) or average
    if stream.duration and stream.time_base:
        return packets / float(stream.duration * stream.time_base)
    return 25.0  # nothing says; what FFmpeg itself assumes


def is_even(times: np.ndarray, rate: float, spare: float) -> bool:
    """Whether each frame begins where a constant rate puts it, give or take `spare` seconds."""
    return bool(np.abs(times - times[0] - np.arange(len(times)) / rate).max() <= spare)


def last_frame(stream: Any, packets: Sequence[Packet]) -> float:
    """Seconds for which the last frame is shown, as its packet says; 0.0 where it does not."""
    shown = [packet for packet in packets if packet.pts is not None and not packet.discard]
    last = max(shown, key=lambda packet: packet.pts or 0, default=None)
    return float(max(last.duration, 0) * stream.time_base) if last and stream.time_base else 0.0


def _plausible(rate: Any) -> float:
    """Frames per second; 0 for what is a clock's rate and no video's (1000 in WMV files of one frame)."""
    return float(rate) if rate and 0 < rate <= 240 else 0.0
