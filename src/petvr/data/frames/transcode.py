"""Write a video anew so that any decoder's random access is right: H.264 in MP4, no B frames, a keyframe a second.

The pipeline itself does not need it, it reads in order what decord misreads and so keeps the original's pixels. It is
for whoever goes on with the clips in other programs (the papers' own code reads with decord or OpenCV), and for reading
one store after another from files in which every frame can be reached by itself.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from petvr import atomic
from petvr.data.frames import decode
from petvr.data.frames.probe import Probe, Unreadable, open_video, probe
from petvr.data.frames.sequential_decode import (
    decode_sequentially,
    display_matrix,
    is_mirrored,
    quarter_turns,
    video_stream,
)

QUALITY = 18  # x264's constant rate factor
EVERY = 25  # frames from one keyframe to the next
CLOCK = 90_000  # ticks of a second where the frame rate is variable
NEAR = 0.002  # seconds by which a frame's time may move
LIKE = 16.0  # mean difference in grey levels (0 to 255) up to which a frame counts as the same one


def transcode(source: Path | str, target: Path | str) -> int:
    """Write `target` with the frames of `source`, at the same times, upright, in the same ratio of width to height;
    the number of frames. Sound is left out.

    What is written is read back through decord: the number of frames, the rate, the times and five frames must agree.
    Raises Unreadable for a source that cannot be decoded completely or a result that does not agree.
    """
    source, target = Path(source), Path(target)
    facts, times = _whole(source)
    with atomic.replacing(target) as part:
        _write(facts, times, part)
        _agree(source, facts, times, part)
    return facts.n_frames


def _whole(source: Path) -> tuple[Probe, np.ndarray]:
    """The facts about the source as decoding shows them, and the seconds of its frames from the first one on."""
    facts = probe(source)
    for _ in range(2):
        decoded = decode_sequentially(facts, np.array([facts.n_frames - 1]), lambda image: image[:0])
        if decoded.facts == facts:
            times = facts.times(decoded.stamps)
            return facts, times - times[0]
        facts = decoded.facts
    raise Unreadable(source, "gives another number of frames each time it is read")


def _write(facts: Probe, times: np.ndarray, part: Path) -> None:
    import av
    from av.codec.context import Flags

    matrix, turns = _orientation(facts)
    rate = Fraction(facts.fps).limit_denominator(1001)
    numbers = np.round(times * float(rate))
    even = np.abs(numbers / float(rate) - times).max() < NEAR and (np.diff(numbers) > 0).all()
    base = 1 / rate if even else Fraction(1, CLOCK)
    clock = numbers if even else np.round(times * CLOCK)
    stamps = clock.astype(np.int64).tolist()
    lasting = np.diff(clock, append=clock[-1] + np.round((facts.last or 1 / facts.fps) / float(base))).astype(np.int64)
    with av.open(str(part), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.codec_context.max_b_frames = 0
        stream.codec_context.gop_size = EVERY
        stream.codec_context.time_base = base
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.frame_duration  # how long the last frame is shown
        stream.codec_context.options = {"crf": str(QUALITY), "preset": "veryfast", "sc_threshold": "0"}
        stream.codec_context.sample_aspect_ratio = facts.aspect if matrix or turns % 2 == 0 else 1 / facts.aspect
        if matrix:
            stream.set_display_matrix(matrix)
        next_stamp = iter(zip(stamps, lasting.tolist(), strict=True))

        def push(image: np.ndarray) -> np.ndarray:
            """Encode the next frame; called in the order of showing."""
            image = np.ascontiguousarray(np.rot90(image, -turns)) if matrix else image
            if not stream.codec_context.is_open:
                stream.height, stream.width = image.shape[:2]
                odd = stream.width % 2 or stream.height % 2  # halved colour planes need even sides
                stream.pix_fmt = "yuv444p" if odd else "yuv420p"
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            (frame.pts, frame.duration), frame.time_base = next(next_stamp), base
            container.mux(stream.encode(frame))
            return image[:0]

        decode_sequentially(facts, np.arange(facts.n_frames), push)
        container.mux(stream.encode(None))


def _orientation(facts: Probe) -> tuple[list[int], int]:
    """The display matrix where it mirrors, and by how many quarter turns pictures are read turned because of it.

    Players mirror and decoders do not: such pictures are written as they are coded, with the matrix.
    """
    with open_video(facts.path) as container:
        frame = next(container.decode(video_stream(container)))
        matrix = display_matrix(frame)
        return (matrix if is_mirrored(matrix) else []), quarter_turns(frame)


def _agree(source: Path, facts: Probe, times: np.ndarray, part: Path) -> None:
    written = probe(part)
    if written.n_frames != facts.n_frames or (why := written.against_decord()):
        why = f"{written.n_frames} frames of {facts.n_frames}" if written.n_frames != facts.n_frames else why
        raise Unreadable(source, f"transcoding failed: {why}")
    if abs(written.fps - facts.fps) > 0.001 * facts.fps:
        raise Unreadable(source, f"transcoding failed: {written.fps:g} frames a second became of {facts.fps:g}")
    if (moved := np.abs(written.times() - times).max()) > NEAR:
        raise Unreadable(source, f"transcoding failed: a frame moved by {moved:.3f} s")
    if written.aspect not in (facts.aspect, 1 / facts.aspect):
        raise Unreadable(source, f"transcoding failed: pixels of {facts.aspect} became pixels of {written.aspect}")
    wanted = np.unique(np.linspace(0, facts.n_frames - 1, 5, dtype=np.int64))
    for index, one, other in zip(
        wanted, decode.decode_frames(source, wanted), decode.decode_frames(part, wanted), strict=True
    ):
        if one.shape != other.shape or (apart := np.abs(one.astype(np.int16) - other).mean()) > LIKE:
            raise Unreadable(source, f"transcoding failed: another picture at frame {index}, or {apart:.0f} levels off")
