"""Pixels at given frame indices, checked: decord where its random access is right, PyAV read in order elsewhere.

A frame that cannot be had is an error with a reason. It is never replaced by zeros or by another frame.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from petvr.frames.probe import Probe, Unreadable, container_error, is_cover, probe
from petvr.frames.sniff import ENOUGH

VERSION = 1
Transform = Callable[[np.ndarray], np.ndarray]
CHUNK = 16  # pictures in native size that are held at a time


@dataclass(frozen=True)
class Decoded:
    pictures: np.ndarray  # uint8 [n, H, W, 3], or what the transform made of each picture, stacked
    indices: np.ndarray  # int64 [n], which frames these are
    n_frames: int
    fps: float
    decoder: str  # e.g. "decord 0.6.0", "pyav 18.1.0"
    note: str  # why not decord, or what was damaged; empty where nothing is to be said


def decode(path: Path | str, indices: Sequence[int] | np.ndarray, *, use_decord: bool = True) -> np.ndarray:
    """uint8 [n, H, W, 3] RGB pictures, upright, of the frames at `indices` (0-based, in the order of showing).

    Raises Unreadable (a PetvrError) for files that are no video, truncated or damaged at a wanted frame, and for an
    index beyond the last frame.
    """
    return read(path, lambda n_frames, fps: np.asarray(indices, np.int64), use_decord=use_decord).pictures


def read(
    path: Path | str,
    pick: Callable[[int, float], np.ndarray],
    *,
    transform: Transform | None = None,
    use_decord: bool = True,
) -> Decoded:
    """Decode the frames that `pick(n_frames, fps)` chooses. Raises Unreadable.

    Where only decoding tells how many frames there are (AVI, MPEG, WMV, VP8) and it contradicts the packets, `pick` is
    asked again with the true number.
    """
    facts = probe(path)
    indices = _checked(facts, pick)
    against = facts.against_decord() if use_decord else "not asked for"
    if against is None and importlib.util.find_spec("decord") is None:
        against = "decord is not installed"
    if against is None:
        pictures, against = _decord(facts, indices, transform)
        if pictures is not None:
            return _decoded(facts, indices, pictures, _version("decord"), "")
    pictures, count, note = _sequential(facts, indices, transform)
    if count is not None and count != facts.n_frames:
        facts = replace(facts, shown=count)
        indices = _checked(facts, pick)
        pictures, _, note = _sequential(facts, indices, transform)
    return _decoded(facts, indices, pictures, _version("av"), "; ".join(filter(None, (against, note))))


def _decoded(facts: Probe, indices: np.ndarray, pictures: dict[int, np.ndarray], decoder: str, note: str) -> Decoded:
    stacked = np.stack([pictures[index] for index in indices.tolist()])
    return Decoded(stacked, indices, facts.n_frames, facts.fps, decoder, note)


def _checked(facts: Probe, pick: Callable[[int, float], np.ndarray]) -> np.ndarray:
    indices = np.asarray(pick(facts.n_frames, facts.fps), np.int64)
    if not len(indices):
        raise Unreadable(facts.path, "no frame was asked for")
    if indices.min() < 0 or indices.max() >= facts.n_frames:
        raise Unreadable(facts.path, f"frame {indices.max()} was asked for, it has {facts.n_frames}")
    return indices


def _version(package: str) -> str:
    from importlib.metadata import version

    return f"{'pyav' if package == 'av' else package} {version(package)}"


def _decord(facts: Probe, indices: np.ndarray, transform: Transform | None):
    """Pictures by index, or None and why not. Two of them, where drift would show most, are compared with PyAV."""
    # DECORD_EOF_RETRY_MAX is left alone: lower limits end its endless loops early (STACK §4) but make it fail now and
    # then on sound files too (measured: up to 256 at 381 frames). Files it loops on do not come here.
    import decord

    wanted = sorted(set(indices.tolist()))
    witnesses: dict[int, np.ndarray | None] = dict.fromkeys((wanted[len(wanted) // 2], wanted[-1]))
    pictures = {}
    try:
        reader = decord.VideoReader(str(facts.path), num_threads=1)
        if len(reader) != facts.n_frames:
            return None, f"decord counts {len(reader)} frames, there are {facts.n_frames}"
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            for index, picture in zip(part, reader.get_batch(part).asnumpy(), strict=True):
                if index in witnesses:
                    witnesses[index] = picture
                pictures[index] = transform(picture) if transform else picture
    except (decord.DECORDError, RuntimeError) as error:
        return None, f"decord failed ({_said(error)})"
    if not _confirmed(facts, witnesses):
        return None, "decord gave another picture than PyAV"
    return pictures, ""


def _said(error: Exception) -> str:
    """decord's message without its time, source line and our path, so that it is the same on every machine."""
    first = (str(error).strip().splitlines() or [""])[0]
    return re.sub(r"^(\[[\d:]+\] )?\S+:\d+: (\[[^\]]*\])?", "", first)[:80]


def _confirmed(facts: Probe, witnesses: dict[int, np.ndarray]) -> bool:
    """Whether PyAV, going to each of these frames from the keyframe before, decodes exactly these pictures."""
    import av

    assert facts.stamps is not None
    try:
        with av.open(str(facts.path)) as container:
            stream = _video(container)
            frames, place = iter(()), None
            for index, picture in sorted(witnesses.items()):
                stamp = facts.stamps[index]
                key = max((key for key in facts.keys if key <= stamp), default=facts.stamps[0])
                if place is None or key > place:  # otherwise what was decoded so far is on the way
                    container.seek(key, stream=stream)
                    frames = container.decode(stream)
                frame = next((frame for frame in frames if frame.pts is not None and frame.pts >= stamp), None)
                if frame is None or frame.pts != stamp or not np.array_equal(_rgb(frame, facts), picture):
                    return False
                place = stamp
    except container_error():
        return False
    return True


def _sequential(facts: Probe, indices: np.ndarray, transform: Transform | None):
    """Decode in order. Returns pictures by index, the number of frames where only decoding can tell, and a note.

    Where every packet is one frame, time stamps say which frame this is, a damaged packet shifts nothing, and reading
    stops after the last wanted frame. Elsewhere frames are counted to the end, and one undecodable packet is an error.
    """
    import av

    wanted = set(indices.tolist())
    by_stamp = facts.one_frame_a_packet
    pictures: dict[int, np.ndarray] = {}
    count = damaged = 0
    with av.open(str(facts.path)) as container:
        for frames in _frames(container, facts):
            if frames is None:
                damaged += 1
                if not by_stamp:
                    raise Unreadable(facts.path, f"damaged after frame {count} of {facts.n_frames}")
                continue
            for frame in frames:
                index = facts.rank.get(frame.pts) if by_stamp else count
                count += 1
                if index in wanted and index not in pictures:
                    if frame.is_corrupt:
                        raise Unreadable(facts.path, f"damaged at frame {index} of {facts.n_frames}")
                    picture = _rgb(frame, facts)
                    pictures[index] = transform(picture) if transform else picture
            if by_stamp and len(pictures) == len(wanted):
                break
    if by_stamp:
        if missing := sorted(wanted - set(pictures)):
            raise Unreadable(facts.path, f"damaged: frame {missing[0]} of {facts.n_frames} cannot be decoded")
        return pictures, None, f"{damaged} damaged packets" if damaged else ""
    if count < ENOUGH * (facts.expected or 1):
        raise Unreadable(facts.path, f"truncated: {count} of {round(facts.expected or 1)} frames can be decoded")
    return pictures, count, ""


def _frames(container, facts: Probe) -> Iterator[list | None]:
    """What each packet the probe counted decodes to, None for a damaged one; last, what the decoder held back."""
    stream = _video(container)
    packets = container.demux(stream)
    left = facts.packets
    while left:
        try:
            packet = next(packets)
        except (StopIteration, container_error()):
            break
        if packet.size:  # empty ones show nothing; the probe did not count them either
            left -= 1
            yield _try(packet.decode)
    yield _try(lambda: stream.codec_context.decode(None))


def _try(decode: Callable[[], list]) -> list | None:
    try:
        return decode()
    except container_error():
        return None


def _video(container):
    """The stream the probe looked at, decoded by one thread: videos are decoded in parallel, not frames."""
    stream = next(s for s in container.streams.video if not is_cover(s))
    stream.codec_context.thread_count = 1
    return stream


def _rgb(frame, facts: Probe) -> np.ndarray:
    """uint8 [H, W, 3], all of one size even if the stream changes it, turned upright as the file says."""
    picture = frame.to_ndarray(format="rgb24", width=facts.width, height=facts.height)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
