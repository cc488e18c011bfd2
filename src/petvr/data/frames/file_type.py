"""What the bytes of a file say before or beside a demuxer: pages saved as videos, files that were cut off."""

from __future__ import annotations

import stat
from pathlib import Path

from petvr.errors import PetvrError

ENOUGH = 0.9  # share of the announced frames that must be there

# Containers of videos, by FFmpeg's names; an allow list, because FFmpeg also takes a JPEG for a video of one frame, and
# playlists, which make it open other files and addresses.
CONTAINERS = (
    "mov", "matroska", "webm", "avi", "flv", "live_flv", "asf", "mpeg", "mpegts", "mpegvideo", "m4v", "h264", "hevc",
    "ogg", "rm", "mxf", "wtv", "dv", "nut", "ivf", "obu", "gif", "swf", "amv", "vc1",
)  # fmt: skip
NO_FILE = {  # opening one of these may wait for ever
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
NO_VIDEO = {  # how files begin that are often saved in a video's place
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a rar archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF document",
    b"{": "JSON text",
    b"#EXTM3U": "a playlist",
    b"ffconcat": "a playlist",
    b"version https://git-lfs": "a Git LFS pointer",
}


class Unreadable(PetvrError):
    """A video that cannot be used; `reason` is the message without the path."""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = Path(path), reason

    def __reduce__(self) -> tuple[type[Unreadable], tuple[Path, str]]:  # rebuilt from its arguments in other processes
        return type(self), (self.path, self.reason)


def require_video_file(path: Path) -> None:
    """Tell missing, empty and text files, pipes and devices by name before a demuxer guesses at them or waits."""
    try:
        if kind := NO_FILE.get(stat.S_IFMT(path.stat().st_mode)):
            raise Unreadable(path, f"{kind}, not a video")
        with open(path, "rb") as stream:
            head = stream.read(512)
    except FileNotFoundError as error:
        raise Unreadable(path, "no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise Unreadable(path, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not head:
        raise Unreadable(path, "empty file")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        raise Unreadable(path, "an HTML page saved as a video (quota or login page?)")
    for magic, what in NO_VIDEO.items():
        if head.startswith(magic) or start.startswith(magic.lower()):
            raise Unreadable(path, f"{what}, not a video")
    if head[8:12] == b"WEBP":
        raise Unreadable(path, "a WebP picture, not a video")
    _whole_packets(path, head)
    if head.startswith(b"GIF8") and _tail(path, 1) != b";":
        raise Unreadable(path, "truncated: the end mark of the GIF is missing")


def _whole_packets(path: Path, head: bytes) -> None:
    """MPEG transport streams announce no length; that one was cut off shows only where a packet is torn."""
    for size, offset in ((188, 0), (192, 4)):
        if [head[offset + size * i : offset + size * i + 1] for i in range(2)] != [b"G", b"G"]:
            continue
        rest = path.stat().st_size % size
        last = _tail(path, rest + size)[offset : offset + 1]
        if rest or last != b"G":
            what = "ends within a packet" if rest else "does not end in a packet"
            raise Unreadable(path, f"truncated: the transport stream {what}; how much is missing is not known")


def _tail(path: Path, size: int) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(-min(size, path.stat().st_size), 2)
        return stream.read()


def missing_moov(path: Path) -> str:
    """For an MP4 that lacks its table of contents: say so. Walks the top-level boxes."""
    size = path.stat().st_size
    boxes: list[bytes] = []
    offset = 0
    with open(path, "rb") as stream:
        while offset + 8 <= size and len(boxes) < 100:
            stream.seek(offset)
            head = stream.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            boxes.append(kind)
            if length < 8:
                break
            offset += length
    if boxes[:1] == [b"ftyp"] and b"moov" not in boxes:
        return ": no moov box, the file was cut off"
    return ""


def require_asf_size(path: Path) -> None:
    """WMV: FFmpeg takes back the announced duration of a cut-off file, but the header also holds the file's size."""
    with open(path, "rb") as stream:
        head = stream.read(65536)
    offset = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))  # the file properties object
    if offset < 0:
        return
    announced = int.from_bytes(head[offset + 40 : offset + 48], "little")
    live = head[offset + 88] & 1  # then the size is not valid
    if not live and path.stat().st_size < ENOUGH * announced:
        raise Unreadable(path, f"truncated: {path.stat().st_size} of {announced} bytes")
