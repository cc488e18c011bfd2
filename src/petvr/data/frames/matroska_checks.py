"""Checksums of Matroska and WebM: FFmpeg writes one over each cluster of packets, and reads none.

They tell what VP8 and VP9 cannot: a flipped bit gives them another picture that nothing marks.
"""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO

from petvr.data.frames.probe import Probe

SEGMENT, CHECKED = 0x18538067, {0x1F43B675: "packets", 0x1654AE6B: "list of streams"}  # Cluster, Tracks
CRC32 = b"\xbf\x84"  # the id of a checksum and the length of its four bytes
CHUNK = 2**20


def differing_checksum(facts: Probe) -> str:
    """Where the content differs from its checksum, in words; "" where none does, or there is none to compare."""
    if facts.family != "matroska":
        return ""
    with open(facts.path, "rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        while (head := _element(stream)) is not None:
            name, size = head
            if name == SEGMENT:
                continue  # its parts follow
            start = stream.tell()
            if size is None or start + size > end:  # a live recording without lengths; the file ends before
                return ""
            if name in CHECKED and size > 6 and stream.read(2) == CRC32:
                noted = int.from_bytes(stream.read(4), "little")
                if _crc32(stream, size - 6) != noted:
                    return f"the checksum of the {CHECKED[name]} at byte {start} differs"
            stream.seek(start + size)
    return ""


def _crc32(stream: BinaryIO, left: int) -> int:
    value = 0
    while left and (part := stream.read(min(left, CHUNK))):
        value, left = zlib.crc32(part, value), left - len(part)
    return value


def _element(stream: BinaryIO) -> tuple[int, int | None] | None:
    """Id and size of the element that begins here, size None where it is open; None at the end or where none begins."""
    numbers = []
    for most in (4, 8):
        first = stream.read(1)
        length = 9 - first[0].bit_length() if first and first[0] else 9
        rest = stream.read(length - 1) if length <= most else b""
        if length > most or len(rest) < length - 1:
            return None
        numbers.append((int.from_bytes(first + rest), length))
    (name, _), (size, length) = numbers
    size -= 1 << 7 * length
    return name, None if size == (1 << 7 * length) - 1 else size
