"""Video files for the tests, made on the spot: every frame carries its own number as black and white squares.

The number can be read back from any picture that shows the frame, so that a wrong frame never passes for a right one.
"""

from __future__ import annotations

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


def write(
    path: Path, *, codec: str, frames: int = 100, fps: Fraction | int = 25, size: tuple[int, int] = (96, 64),
    gop: int = 12, b_frames: int = 0, audio: bool = False, options: dict[str, str] | None = None,
    first: int = 0, format: str | None = None, skip: tuple[int, ...] = (), delay: int = 0, pixels: str = "yuv420p",
    mux: dict[str, str] | None = None, title: bytes = b"",
) -> Path:  # fmt: skip
    """A video of `frames` numbered frames; `skip` leaves time stamps out (variable frame rate), not numbers.

    delay: frames by which the picture starts later than the sound (or than 0); mux: options of the container.
    """
    with av.open(str(path), "w", format=format, options=mux or {}) as container:
        if title:
            container.metadata["title"] = title.decode()
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else pixels
        stream.gop_size = gop
        stream.bit_rate = 2_000_000
        if b_frames:
            stream.codec_context.max_b_frames = b_frames
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
