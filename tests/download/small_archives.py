"""Small archives made on the spot, and what becomes of them."""

import io
import tarfile
import zipfile

from petvr.data.download.archives import Unpacking, is_video
from petvr.data.download.failures import MirrorFailed
from petvr.data.download.untar import untar
from petvr.data.download.unzip import unzip

CLIPS = {"MSRVTT/videos/all/video0.mp4": b"0" * 5_000, "MSRVTT/videos/all/video1.avi": b"1" * 700, "README.md": b"text"}
WANTED = {"video0.mp4": b"0" * 5_000, "video1.avi": b"1" * 700}


def zipped(members, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(members, mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def attempt(kind, data, folder):
    """Files in the target, after this archive was read into a folder of its own."""
    order = Unpacking("a", folder / "target", folder / "staging", is_video)
    (folder / "archive").write_bytes(data)
    try:
        unzip(folder / "archive", order) if kind == "zip" else untar([folder / "archive"], order)
    except MirrorFailed:
        assert not list((folder / "target").iterdir())
        return None
    return {path.name: path.read_bytes() for path in (folder / "target").iterdir()}
