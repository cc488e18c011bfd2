"""Read a video from its beginning with PyAV: every frame is the one its place says, whatever the container.

Where every packet is one frame, time stamps say which frame this is, a damaged packet shifts nothing, and reading stops
after the last wanted frame. Elsewhere frames are counted to the end, and one undecodable packet is an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from petvr.data.frames import truncation
from petvr.data.frames.file_type import ENOUGH
from petvr.data.frames.probe import Probe, Unreadable, container_error, is_cover, open_video

Transform = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SequentialFrames:
    pixels: dict[int, np.ndarray]  # by index
    facts: Probe  # as decoding has shown them
    stamps: tuple[int | None, ...] | None  # pts of all frames where they were counted, else None
    note: str


def decode_sequentially(facts: Probe, indices: np.ndarray, transform: Transform | None) -> SequentialFrames:
    """The pixels of the frames at `indices`. Raises Unreadable for damage at one of them.

    Where decoding shows that there are more or fewer frames than `facts` said, `facts` of the result is another one,
    the pixels may be those of other frames than were meant, and one has to ask again.
    """
    return _by_stamp(facts, indices, transform) if facts.one_frame_a_packet else _by_count(facts, indices, transform)


def _by_stamp(facts: Probe, indices: np.ndarray, transform: Transform | None) -> SequentialFrames:
    wanted = set(indices.tolist())
    pixels: dict[int, np.ndarray] = {}
    first: int | None = None
    bad: set[int | None] = set()
    with open_video(facts.path) as container:
        for packet, frames in _decoded(container, facts):
            if frames is None:
                bad.add(packet)
                continue
            for frame in frames:
                first = frame.pts if first is None else first
                if frame.is_corrupt:
                    bad.add(frame.pts)
                index = facts.rank.get(frame.pts, -1)
                if index in wanted and index not in pixels:
                    image = to_rgb(frame, facts)
                    pixels[index] = transform(image) if transform else image
            if len(pixels) == len(wanted):
                break
    assert facts.stamps is not None
    if not bad and first in facts.rank and first != facts.stamps[0]:
        # frames before the first keyframe, which refer to what was cut away: no decoder can show them
        unseen = facts.rank[first]
        kept = replace(facts, stamps=facts.stamps[unseen:], discarded=facts.discarded + unseen)
        return SequentialFrames({}, kept, None, f"{unseen} frames before the first keyframe cannot be shown")
    hurt = truncation.damaged_pts(facts.order, bad)
    for index in sorted(wanted):
        if facts.stamps[index] in hurt:
            raise Unreadable(facts.path, f"damaged at frame {index} of {facts.n_frames}")
        if index not in pixels:
            raise Unreadable(facts.path, f"damaged: frame {index} of {facts.n_frames} cannot be decoded")
    return SequentialFrames(pixels, facts, None, f"{len(bad)} damaged packets" if bad else "")


def _by_count(facts: Probe, indices: np.ndarray, transform: Transform | None) -> SequentialFrames:
    if facts.corrupt:
        raise Unreadable(facts.path, f"damaged: {facts.corrupt} torn packets with others behind them")
    wanted = set(indices.tolist())
    pixels: dict[int, np.ndarray] = {}
    stamps: list[int | None] = []
    hurt: set[int] = set()
    spoilt = False  # by a damaged frame since the last keyframe
    with open_video(facts.path) as container:
        for _, frames in _decoded(container, facts):
            if frames is None and stamps:
                raise Unreadable(facts.path, f"damaged after frame {len(stamps)} of {facts.n_frames}")
            for frame in frames or ():  # None before the first frame: a stream that was joined while it ran
                if facts.secure is not None and frame.pts is not None and frame.pts > facts.secure:
                    continue
                spoilt = frame.is_corrupt or (spoilt and not frame.key_frame)
                index = len(stamps)
                stamps.append(frame.pts)
                if spoilt:
                    hurt.add(index)
                if index in wanted:
                    image = to_rgb(frame, facts)
                    pixels[index] = transform(image) if transform else image
    count = len(stamps)
    if spoilt and facts.expected is None:
        what = f"truncated: damaged from frame {min(hurt)} to the end; how many are missing is not known"
        raise Unreadable(facts.path, what)
    if count < ENOUGH * (facts.expected or 1):
        raise Unreadable(facts.path, f"truncated: {count} of {round(facts.expected or 1)} frames can be decoded")
    if count == facts.n_frames and (damaged := sorted(hurt & wanted)):
        raise Unreadable(facts.path, f"damaged at frame {damaged[0]} of {count}")
    known = facts if count == facts.n_frames else replace(facts, shown=count)
    return SequentialFrames(pixels, known, tuple(stamps), _disorder(facts, stamps))


def _disorder(facts: Probe, stamps: list[int | None]) -> str:
    """A note where MPEG frames come out in another order than that of their time stamps, as after lost packets."""
    if facts.family in ("mpeg", "mpegts"):
        for index, (before, after) in enumerate(itertools.pairwise(stamps)):
            if before is not None and after is not None and 0 < (before - after) * facts.tick < 1:  # more is a join
                return f"the time stamps of frames {index} and {index + 1} are out of order: frames may be lost"
    return ""


def _decoded(container: Any, facts: Probe) -> Iterator[tuple[int | None, list[Any] | None]]:
    """The pts of each packet the probe counted and what it decodes to, None where it is damaged; last, what the
    decoder held back."""
    stream = video_stream(container)
    packets = container.demux(stream)
    left = facts.packets
    while left:
        try:
            packet = next(packets)
        except (StopIteration, container_error()):
            break
        if packet.size:  # empty ones show nothing; the probe did not count them either
            left -= 1
            yield packet.pts, _try(packet.decode)
    yield None, _try(lambda: stream.codec_context.decode(None))


def _try(decode: Callable[[], list[Any]]) -> list[Any] | None:
    try:
        return decode()
    except container_error():
        return None


def video_stream(container: Any) -> Any:
    """The stream the probe looked at, decoded by one thread: videos are decoded in parallel, not frames."""
    stream = next(s for s in container.streams.video if not is_cover(s))
    stream.codec_context.thread_count = 1
    return stream


def to_rgb(frame: Any, facts: Probe) -> np.ndarray:
    """uint8 [H, W, 3], all of one size even if the stream changes it, turned upright as the file says."""
    image = frame.to_ndarray(format="rgb24", width=facts.width, height=facts.height)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
