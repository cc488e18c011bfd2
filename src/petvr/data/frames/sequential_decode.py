"""Read a video from its beginning with PyAV: every frame is the one its place says, whatever the container.

Where every packet is one frame, time stamps say which frame this is; elsewhere frames are counted to the end. Decoders
conceal damage and go on, so each decoded frame is asked whether it is whole, and one that is not refuses the video.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from petvr.data.frames import truncation
from petvr.data.frames.file_type import ENOUGH
from petvr.data.frames.probe import Probe, Unreadable, container_error, is_cover, open_video

Transform = Callable[[np.ndarray], np.ndarray]
# Not to go on in silence where a picture refers to one that is not there, and to compare check sums where it has some.
# FFmpeg's HEVC decoder marks no picture as damaged at all, it can only stop.
STRICT = {codec: {"err_detect": "crccheck+explode"} for codec in ("h264", "hevc")}


class DamagedVideo(Unreadable):
    """A video with a frame that cannot be decoded, or not whole."""


@dataclass(frozen=True)
class SequentialFrames:
    pixels: dict[int, np.ndarray]  # by index
    facts: Probe  # as decoding has shown them
    stamps: tuple[int | None, ...] | None  # pts of all frames where they were counted, else None
    note: str


def decode_sequentially(
    facts: Probe, indices: np.ndarray, transform: Transform | None, *, whole: bool = True
) -> SequentialFrames:
    """The pixels of the frames at `indices`. Raises DamagedVideo for damage; unless `whole`, up to the last one alone.

    Where decoding shows that there are more or fewer frames than `facts` said, `facts` of the result is another one,
    the pixels may be those of other frames than were meant, and one has to ask again.
    """
    return (_by_stamp if facts.one_frame_a_packet else _by_count)(facts, indices, transform, whole)


def _by_stamp(facts: Probe, indices: np.ndarray, transform: Transform | None, whole: bool) -> SequentialFrames:
    wanted = set(indices.tolist())
    pixels: dict[int, np.ndarray] = {}
    shown: list[int] = []  # frames in the order of showing, without those that belong to none
    bad: set[int | None] = set()
    note = ""
    with open_video(facts.path) as container:
        for packet, frames in _decoded(container, facts):
            if frames is None:
                bad.add(packet)
                continue
            for frame in frames:
                if frame.is_corrupt:
                    bad.add(frame.pts)
                if (index := facts.rank.get(frame.pts, -1)) < 0:
                    continue
                note = note if shown else orientation_note(frame)
                shown.append(index)
                if index in wanted and index not in pixels:
                    image = to_rgb(frame, facts)
                    pixels[index] = transform(image) if transform else image
            if not whole and len(pixels) == len(wanted):
                break
    assert facts.stamps is not None
    if shown and facts.codec == "hevc" and not facts.order[0][1]:  # strict, it stops at what was cut away
        bad = {stamp for stamp in bad if stamp is None or stamp >= facts.stamps[shown[0]]}
    if not bad and shown and (unseen := shown[0]):
        # frames before the first keyframe, which refer to what was cut away: no decoder can show them
        kept = replace(facts, stamps=facts.stamps[unseen:], discarded=facts.discarded + unseen)
        return SequentialFrames({}, kept, None, f"{unseen} frames before the first keyframe cannot be shown")
    _refuse_damaged(facts, bad, shown, facts.n_frames if whole else max(wanted) + 1)
    return SequentialFrames(pixels, facts, None, note)


def _refuse_damaged(facts: Probe, bad: Set[int | None], shown: Sequence[int], end: int) -> None:
    """Raises DamagedVideo where one of the frames before `end` was not decoded or may show damage.

    bad: pts of packets and frames that are damaged; shown: the frames that were decoded.
    """
    hurt = truncation.damaged_pts(facts.order, bad) if bad else set()
    index = next((index for index, stamp in enumerate((facts.stamps or ())[:end]) if stamp in hurt), None)
    if index is not None:
        raise DamagedVideo(facts.path, f"damaged at frame {index} of {facts.n_frames}")
    if missing := set(range(end)).difference(shown):
        raise DamagedVideo(facts.path, f"damaged: frame {min(missing)} of {facts.n_frames} cannot be decoded")
    if None in bad:
        raise DamagedVideo(facts.path, f"damaged at its end, behind frame {max(shown)} of {facts.n_frames}")


def _by_count(facts: Probe, indices: np.ndarray, transform: Transform | None, whole: bool) -> SequentialFrames:
    if facts.corrupt:
        raise DamagedVideo(facts.path, f"damaged: {facts.corrupt} torn packets with others behind them")
    wanted = set(indices.tolist())
    pixels: dict[int, np.ndarray] = {}
    stamps: list[int | None] = []
    hurt: set[int] = set()
    note, joined = "", 0
    spoilt = False  # by a damaged frame since the last keyframe
    with open_video(facts.path) as container:
        for _, frames in _decoded(container, facts):
            if frames is None and stamps:
                raise DamagedVideo(facts.path, f"damaged after frame {len(stamps)} of {facts.n_frames}")
            joined += frames is None  # before the first frame: a stream that was joined while it ran
            for frame in frames or ():
                if facts.secure is not None and frame.pts is not None and frame.pts > facts.secure:
                    continue
                note = note if stamps else orientation_note(frame)
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
    if count == facts.n_frames and hurt and (whole or min(hurt) <= max(wanted)):
        raise DamagedVideo(facts.path, f"damaged at frame {min(hurt)} of {count}")
    known = facts if count == facts.n_frames else replace(facts, shown=count)
    lead = f"{joined} packets before its first whole picture are not used" if joined else ""
    return SequentialFrames(
        pixels, known, tuple(stamps), "; ".join(filter(None, (note, lead, _disorder(facts, stamps))))
    )


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
            packet = next(packets, None)
        except container_error():
            break
        if packet is None:
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
    stream.codec_context.options = STRICT.get(stream.codec_context.codec.canonical_name, {})
    return stream


def display_matrix(frame: Any) -> list[int]:
    """The nine numbers of the file's display matrix (FFmpeg's layout); empty where it has none."""
    data = next((side for side in frame.side_data if side.type.name == "DISPLAYMATRIX"), None)
    return np.frombuffer(bytes(data), np.int32).tolist() if data is not None else []


def is_mirrored(matrix: Sequence[int]) -> bool:
    return bool(matrix) and matrix[0] * matrix[4] < matrix[1] * matrix[3]


def orientation_note(frame: Any) -> str:
    return "is shown mirrored by players; read turned only, as decord and OpenCV do" * is_mirrored(
        display_matrix(frame)
    )


def to_rgb(frame: Any, facts: Probe) -> np.ndarray:
    """uint8 [H, W, 3], all of one size even if the stream changes it, turned upright as the file says.

    threads: by itself FFmpeg starts one per core for each picture, beside the processes that decode other videos.
    """
    image = frame.to_ndarray(format="rgb24", width=facts.width, height=facts.height, threads=1)
    turns = quarter_turns(frame)
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def quarter_turns(frame: Any) -> int:
    """0 to 3, counter-clockwise; of a matrix that says nothing FFmpeg makes a huge number."""
    return round(frame.rotation / 90) % 4 if abs(frame.rotation) <= 360 else 0
