"""A scene as an H.264 mp4 file."""

from __future__ import annotations

from pathlib import Path

from petvr.atomic import replacing
from petvr.world import render
from petvr.world.scene import HEIGHT, WIDTH, Scene


def write(scene: Scene, path: Path) -> None:
    """Encode with x264 (yuv420p, B-frames, one thread, so that the bytes do not depend on the machine's cores)."""
    import av

    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=scene.fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "18", "threads": "1", "g": "48"}
        for picture in render.frames(scene):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
