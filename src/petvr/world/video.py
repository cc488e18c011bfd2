"""A scene as an H.264 mp4 file, or MPEG-4 in an avi file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from petvr.atomic import replacing
from petvr.world import render
from petvr.world.scene import HEIGHT, WIDTH, Scene

# With B-frames. x264's macroblock tree reads memory nobody has written: the same scene might become other bytes.
X264 = {"preset": "veryfast", "crf": "18", "threads": "1", "g": "48", "x264-params": "mbtree=0"}
CODECS: dict[str, tuple[str, Literal["libx264", "mpeg4"], dict[str, str]]] = {
    ".mp4": ("mp4", "libx264", X264),
    ".avi": ("avi", "mpeg4", {"qmin": "2", "qmax": "3", "bf": "0", "threads": "1", "g": "48"}),
}


def write_video(scene: Scene, path: Path) -> None:
    """Encode as the file's ending says (yuv420p; one thread: the bytes must not depend on the number of cores)."""
    import av
    from av.video.reformatter import VideoReformatter

    form, codec, options = CODECS[path.suffix]
    with replacing(path) as temporary, av.open(str(temporary), "w", format=form) as container:
        stream = container.add_stream(codec, rate=scene.fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = dict(options)
        if form == "avi":
            stream.bit_rate = 2_000_000  # MPEG-4 aims at a rate; qmax keeps pictures this small good
        reformatter, shown, frame = VideoReformatter(), None, av.VideoFrame()
        for number, picture in enumerate(render.draw_frames(scene)):
            if picture is not shown:
                shown = picture
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame = reformatter.reformat(frame, format=stream.pix_fmt, threads=1)
            frame.pts, frame.time_base = number, 1 / scene.fps
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
