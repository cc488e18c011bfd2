"""Video files for the tests, made on the spot: every frame carries its own number as black and white squares.

The number can be read back from any picture that shows the frame, so that a wrong frame never passes for a right one.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

GRID = 4  # squares a side: 12 bits of the number, 4 bits that must be its check sum


def _check(number: int) -> int:
    return (number * 7 + (number >> 4) * 3 + 5) & 15


def draw(number: int, width: int, height: int) -> np.ndarray:
    """uint8 [height, width, 3] that shows `number` (below 4096)."""
    bits = [(number << 4 | _check(number)) >> place & 1 for place in range(GRID * GRID)]
    squares = np.array(bits, np.uint8).reshape(GRID, GRID) * 200 + 27
    rows, columns = np.arange(height) * GRID // height, np.arange(width) * GRID // width
    return np.repeat(squares[rows][:, columns, None], 3, axis=2)


def read(picture: np.ndarray) -> int | None:
    """The number shown by uint8 [H, W, 3], None where it is not readable."""
    height, width = picture.shape[:2]
    bits = 0
    for place in range(GRID * GRID):
        row, column = divmod(place, GRID)
        y, x = (2 * row + 1) * height // (2 * GRID), (2 * column + 1) * width // (2 * GRID)
        dy, dx = max(1, height // 20), max(1, width // 20)
        bits |= int(picture[y - dy : y + dy, x - dx : x + dx].mean() > 127) << place
    number = bits >> 4
    return number if _check(number) == bits & 15 else None


@contextlib.contextmanager
def _scheduled_as_before() -> Iterator[None]:
    """SVT-AV1, used by root, makes the calling thread a real-time one, which would starve the machine from then on."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def write(
    path: Path, *, codec: str, frames: int = 100, fps: Fraction | int = 25, size: tuple[int, int] = (96, 64),
    gop: int = 12, b_frames: int = 0, audio: bool = False, options: dict[str, str] | None = None,
    first: int = 0, format: str | None = None, skip: tuple[int, ...] = (), delay: int = 0, pixels: str = "yuv420p",
    mux: dict[str, str] | None = None, title: bytes = b"", aspect: Fraction | None = None,
    mirror: tuple[int, bool] | None = None,
) -> Path:  # fmt: skip
    """A video of `frames` numbered frames; `skip` leaves time stamps out (variable frame rate), not numbers.

    aspect: of a pixel; mirror: (degrees counter-clockwise, mirrored after that) for players.
    delay: frames by which the picture starts later than the sound (or than 0); mux: options of the container.
    """
    with _scheduled_as_before(), av.open(str(path), "w", format=format, options=mux or {}) as container:
        if title:
            container.metadata["title"] = title.decode()
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else pixels
        stream.gop_size = gop
        stream.bit_rate = 2_000_000
        if b_frames:
            stream.codec_context.max_b_frames = b_frames
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if mirror:
            stream.set_display_rotation(mirror[0], hflip=mirror[1])
        stream.codec_context.options = options or {}
        stream.codec_context.time_base = 1 / Fraction(fps)
        sound = container.add_stream("aac", rate=44100) if audio else None
        stamp = delay
        for number in range(first, first + frames):
            frame = av.VideoFrame.from_ndarray(draw(number, *size), format="rgb24")
            while stamp in skip:
                stamp += 1
            frame.pts, frame.time_base = stamp, 1 / Fraction(fps)
            stamp += 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _silence(container, sound, float((frames + delay) / Fraction(fps)))
    return path


def _silence(container, stream, seconds: float) -> None:
    for start in range(0, int(44100 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 44100, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_audio(path: Path, seconds: float = 2) -> Path:
    with av.open(str(path), "w") as container:
        _silence(container, container.add_stream("aac", rate=44100), seconds)
    return path


def cut(source: Path, path: Path, start: float) -> Path:
    """What `ffmpeg -ss start -i source -c copy` makes: whole packets from the keyframe before, and an edit list."""
    with av.open(str(source)) as taken, av.open(str(path), "w") as container:
        stream = taken.streams.video[0]
        copy = container.add_stream_from_template(stream)
        offset = int(start / stream.time_base)
        taken.seek(offset, stream=stream)
        for packet in taken.demux(stream):
            if packet.dts is None:
                continue
            packet.pts -= offset
            packet.dts -= offset
            packet.stream = copy
            container.mux(packet)
    return path


def rotate(source: Path, path: Path, degrees: int) -> Path:
    """The file with a rotation in its track header, as phones write it; the coded pictures stay as they are."""
    one = 1 << 16
    matrix = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    data = bytearray(source.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value.to_bytes(4, "big", signed=True) for value in matrix)
    zero, w = bytes(4), (1 << 30).to_bytes(4, "big")
    data[place : place + 36] = a + b + zero + c + d + zero + zero + zero + w
    path.write_bytes(data)
    return path


def write_packed(path: Path, frames: int = 60, size: tuple[int, int] = (64, 64)) -> Path:
    """MPEG-4 as DivX 5 wrote it into AVI: a P and the B picture before it in one chunk, then an empty one."""
    skipped = bytes.fromhex("000001b650007f")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", 12
        stream.bit_rate = 2_000_000
        stream.codec_context.max_b_frames = 1
        stream.codec_context.options = {"b_strategy": "0"}
        coded = []
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(number, *size), format="rgb24")
            frame.pts = number
            coded += stream.encode(frame)
        coded += stream.encode(None)
        chunks: list[tuple[bool, bytes]] = []
        for before, packet in zip([None, *coded], coded, strict=False):
            # what names the encoder also announces the packing
            data = re.sub(rb"Lavc\d+\.\d+\.\d+", b"DivX503b1393p", bytes(packet))
            if before is not None and packet.pts < before.pts:
                chunks[-1] = (chunks[-1][0], chunks[-1][1] + data)
                chunks.append((False, skipped))
            else:
                chunks.append((packet.is_keyframe, data))
        for place, (key, data) in enumerate(chunks):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, place, place, key
            packet.time_base = Fraction(1, 25)
            container.mux(packet)
    return path


def remux(source: Path, path: Path, options: dict[str, str] | None = None) -> Path:
    """The same packets in another container, or in the same one written with `options`."""
    with av.open(str(source)) as taken, av.open(str(path), "w", options=options or {}) as container:
        copy = container.add_stream_from_template(taken.streams.video[0])
        for packet in taken.demux(taken.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
    return path


X264 = {"codec": "libx264", "b_frames": 2}
VPX = {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}
CONTAINERS = {
    "h264.mp4": X264,
    "pyramid.mp4": {**X264, "b_frames": 4, "gop": 60},
    "open_gop.mp4": {**X264, "options": {"x264-params": "open-gop=1:log-level=none"}},
    "intra_refresh.mp4": {"codec": "libx264", "options": {"x264-params": "intra-refresh=1:log-level=none"}},
    "interlaced.mp4": {**X264, "options": {"x264-params": "interlaced=1:log-level=none"}},
    "no_edit_list.mp4": {**X264, "mux": {"use_editlist": "0"}},
    "fragments.mp4": {**X264, "mux": {"movflags": "frag_keyframe+empty_moov"}},
    "variable.mp4": {**X264, "skip": tuple(range(5, 60, 3))},
    "odd.mp4": {**X264, "size": (67, 65), "pixels": "yuv444p"},
    "ten_bit.mp4": {**X264, "pixels": "yuv420p10le"},
    "h265.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}, "b_frames": 3},
    "av1.mp4": {"codec": "libsvtav1"},
    "h264.mov": X264,
    "mpeg4_b.mov": {"codec": "mpeg4", "b_frames": 2},
    "mpeg2.mov": {"codec": "mpeg2video", "b_frames": 2},
    "h264.mkv": X264,
    "vp9.webm": {"codec": "libvpx-vp9", "options": VPX},
    "vp8.webm": {"codec": "libvpx", "options": VPX},
    "h264.avi": X264,
    "xvid_b.avi": {"codec": "mpeg4", "b_frames": 2},
    "msmpeg4.avi": {"codec": "msmpeg4"},
    "left_out.avi": {"codec": "mpeg4", "skip": tuple(range(5, 60, 3))},
    "mpeg1.mpg": {"codec": "mpeg1video", "b_frames": 2},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2},
    "wmv2.wmv": {"codec": "wmv2"},
    "h264.ts": {**X264, "format": "mpegts"},
    "interlaced.mts": {
        **X264, "options": {"x264-params": "interlaced=1:log-level=none"}, "format": "mpegts",
        "mux": {"mpegts_m2ts_mode": "1"},
    },
    "mpeg2.ts": {"codec": "mpeg2video", "b_frames": 2, "format": "mpegts"},
    "flv1.flv": {"codec": "flv"},
    "h264.flv": X264,
    "mpeg4.3gp": {"codec": "mpeg4"},
    "avi_inside.mp4": {"codec": "mpeg4", "b_frames": 2, "format": "avi"},
}  # fmt: skip
