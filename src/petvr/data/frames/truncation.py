"""What is missing at the end of a file that was cut off, as far as its packets tell."""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass

from petvr.data.frames.file_type import ENOUGH

FEW = 3  # gaps in an even row of frames are holes, more are a variable rate (guess)


@dataclass(frozen=True)
class Packet:
    """One packet of the video stream, without its content; times in units of the stream's time base."""

    key: bool
    discard: bool  # decoded for reference, never shown
    corrupt: bool
    pts: int | None
    dts: int | None
    duration: int = 0  # 0 where the file does not say


def last_secure_pts(packets: Sequence[Packet]) -> int | None:
    """The last pts before which no frame is missing, where the end of the file lacks some; None where it does not.

    Frames are not stored in the order of showing. A file that was cut off may hold frame 38 but not 37: by its
    place, 38 would pass for 37. What comes behind the end has a pts of at least the last dts, so only frames later
    than that can be such, and they are where a gap in time lies before them.
    """
    shown = sorted(packet.pts for packet in packets if packet.pts is not None and not packet.discard)
    last = max((packet.dts for packet in packets if packet.dts is not None), default=None)
    if last is None or len(shown) < 3:
        return None
    steps = sorted(after - before for before, after in itertools.pairwise(shown))
    usual = steps[len(steps) // 2]
    for before, after in itertools.pairwise(shown):
        if after > last and after - before > 1.5 * usual:
            return before
    return None


def reaches_end(times: Sequence[float], rate: float, end: float, lasting: Sequence[float] = ()) -> bool:
    """Whether frames at these seconds (ascending) reach the announced end of the file without a great hole between.

    Fewer frames than duration times rate are no sign of a cut where the rate is variable, nor where the images
    begin later than the sound; a tenth may be missing, as with counts. lasting: seconds for which each frame is shown,
    by its packet: what it fills is no hole. Many holes are a variable rate.
    """
    spare = (1 - ENOUGH) * end
    ends = (time + max(shown, 1 / rate) for time, shown in zip(times, lasting or [0.0] * len(times), strict=True))
    filled = list(itertools.accumulate(ends, max))
    holes = sum(after - before > max(spare, 1.5 / rate) for before, after in zip(filled, times[1:], strict=False))
    late = times[0] > max(spare, 1.0)
    return filled[-1] >= ENOUGH * end and not late and not 0 < holes <= FEW


def seconds_missing(times: Sequence[float], rate: float, end: float) -> float:
    """Seconds between the end of the last frame and the announced end; 0.0 where a still frame may fill them."""
    missing = end - times[-1] - 1 / rate
    return missing if missing > 1.5 * max(_widest(times), 1 / rate) else 0.0


def _widest(times: Sequence[float]) -> float:
    return max((after - before for before, after in itertools.pairwise(times)), default=0.0)


def damaged_pts(order: Sequence[tuple[int | None, bool]], bad: Set[int | None]) -> set[int]:
    """Which pts may show damage when the packets (or frames) at the pts `bad` are damaged.

    order: (pts, is it a keyframe) of all packets as they lie in the file. Damage spreads to all that is decoded later,
    up to the next keyframe, and to the frames shown before that keyframe which follow it in the file (open GOP).
    """
    spread: set[int] = set()
    hurt, key = False, None
    for stamp, is_key in order:
        if stamp is None:
            continue
        if is_key:
            hurt, key = False, (stamp if hurt else None)
        hurt = hurt or stamp in bad
        if hurt or (key is not None and stamp < key):
            spread.add(stamp)
    return spread
