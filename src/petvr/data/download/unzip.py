"""Zip archives: the table is checked whole before a byte is written, and again by what stands before each content.

A zip ends with a record that says where its table begins, how long it is and how many members it lists; these must fit
to the byte, so that no archive that is cut anywhere, or has lost a piece in its middle, is taken for whole.
"""

from __future__ import annotations

import bz2
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from petvr.data.download.archives import Unpacking
from petvr.data.download.compression import BLOCK, Damaged, Decompressor, decompress_one

STORED, DEFLATED, BZIP2 = 0, 8, 12
ENCRYPTED = 0x2041  # also strongly, or with a hidden table
STREAMED, UTF8 = 0x8, 0x800
END = struct.Struct("<4s4H2LH")  # the records' layouts as in PKWARE's APPNOTE
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF  # the number stands in a 64-bit field elsewhere


@dataclass
class ZipMember:
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int
    start: int = 0  # of its packed bytes

    @property
    def name(self) -> str:
        try:
            return self.raw_name.decode("utf-8" if self.flags & UTF8 else "cp437")
        except UnicodeDecodeError as error:
            raise Damaged("a member's name is no UTF-8") from error


def unzip(path: Path, unpacking: Unpacking) -> int:
    """Take the wanted members out of the zip at `path`; returns their number. Raises MirrorFailed, DiskFull."""
    try:
        with open(path, "rb") as stream:
            size = path.stat().st_size
            todo: list[tuple[str, ZipMember]] = []
            unpacked = 0
            for member in read_table(stream, size, unpacking.limits.members):
                unpacked += member.size
                if (leaf := _admit(member, unpacking)) and not unpacking.has(leaf, member.size):
                    todo.append((leaf, member))
            unpacking.balance(unpacked, size)
            unpacking.room(sum(member.size for _, member in todo))
            done = size - sum(member.packed for _, member in todo)
            for leaf, member in todo:
                unpacking.write(leaf, member.size, _content(stream, member))
                done += member.packed
                unpacking.on_progress(done)
    except Damaged as error:
        raise unpacking.refuse(f"damaged, cut off or unreadable zip ({error})") from error
    return unpacking.finish()


def read_table(stream: IO[bytes], size: int, most: int) -> list[ZipMember]:
    """All members, in the order of the table. Raises Damaged where table and end do not fit each other to the byte."""
    count, start, end = _find_table(stream, size)
    if count > most:
        raise Damaged(f"it holds more than {most:,} members")
    stream.seek(start)
    members = [_read_entry(stream) for _ in range(count)]
    if stream.tell() != end:
        raise Damaged("its table is longer or shorter than its end says")
    following = start
    for member in sorted(members, key=lambda member: member.offset, reverse=True):
        _check_local(stream, member, following)
        following = member.offset
    return members


def _find_table(stream: IO[bytes], size: int) -> tuple[int, int, int]:
    """(number of members, first byte and end of the table), from the record that must be the last thing in the file."""
    tail_size = min(size, END.size + FULL_16)
    stream.seek(size - tail_size)
    tail = stream.read(tail_size)
    at = tail.rfind(b"PK\5\6")
    while at >= 0 and at + END.size + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail):
        at = tail.rfind(b"PK\5\6", 0, at)
    if at < 0:
        raise Damaged("no end record at its end")
    _, disk, first_disk, disk_count, count, length, start, _ = END.unpack_from(tail, at)
    end = size - tail_size + at
    if end >= LOCATOR_64.size:
        mark, locator_disk, end_64, disks = LOCATOR_64.unpack(_read_at(stream, end - LOCATOR_64.size, LOCATOR_64.size))
        if mark == b"PK\6\7":
            record = END_64.unpack(_read_at(stream, end_64, END_64.size))
            if record[0] != b"PK\6\6" or end_64 + 12 + record[1] + LOCATOR_64.size != end or disks > 1:
                raise Damaged("its 64-bit end record is not where it should be")
            disk, first_disk, disk_count, count, length, start = record[4], record[5], *record[6:]
            disk, end = disk or locator_disk, end_64
    if disk or first_disk or disk_count != count:
        raise Damaged("one of several volumes")
    if start + length != end:
        raise Damaged("its table does not lie where its end says")
    return count, start, end


def _read_at(stream: IO[bytes], offset: int, size: int) -> bytes:
    if offset + size > os.fstat(stream.fileno()).st_size:
        raise Damaged("it points outside itself")
    stream.seek(offset)
    return _read(stream, size)


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise Damaged("it ends too early")
    return data


def _read_entry(stream: IO[bytes]) -> ZipMember:
    (mark, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, disk, _, attributes, offset) = (
        ENTRY.unpack(_read(stream, ENTRY.size))
    )
    if mark != b"PK\1\2":
        raise Damaged("its table lacks entries")
    raw_name, extras = _read(stream, name), _read(stream, extra)
    _read(stream, comment)
    if FULL_32 in (packed, size, offset):
        size, packed, offset = _wide(extras, [size, packed, offset])
    if disk not in (0, FULL_16):
        raise Damaged("one of several volumes")
    return ZipMember(raw_name, flags, method, crc, packed, size, attributes >> 16, offset)


def _wide(extras: bytes, numbers: list[int]) -> list[int]:
    """`numbers` with those that did not fit into 32 bits from the extra field 1."""
    while len(extras) >= 4:
        kind, length = struct.unpack_from("<2H", extras)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{min(length, len(extras) - 4) // 8}Q", extras, 4))
            return [next(values, number) if number == FULL_32 else number for number in numbers]
        extras = extras[4 + length :]
    return numbers


def _admit(member: ZipMember, unpacking: Unpacking) -> str | None:
    name, kind = member.name, stat.S_IFMT(member.mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise unpacking.refuse(f"member {name!r} is a link or a device")
    if member.flags & ENCRYPTED:
        raise unpacking.refuse(f"member {name!r} is encrypted")
    if member.method not in (STORED, DEFLATED, BZIP2):
        raise unpacking.refuse(f"member {name!r} is packed in a way that is not supported ({member.method})")
    if name.endswith("/") or kind == stat.S_IFDIR:
        if member.size or not name.endswith("/"):
            raise Damaged(f"it says that {name!r} is a folder and that it is a file")
        unpacking.folder(name)
        return None
    return unpacking.admit(name, member.size)


def _check_local(stream: IO[bytes], member: ZipMember, following: int) -> None:
    """The header before a content must say what the table says, and the content end before what follows."""
    mark, _, flags, method, _, _, crc, packed, size, name, extra = LOCAL.unpack(
        _read_at(stream, member.offset, LOCAL.size)
    )
    raw_name = _read(stream, name)
    member.start = member.offset + LOCAL.size + name + extra
    counts = [] if flags & STREAMED else [(crc, member.crc), (packed, member.packed), (size, member.size)]
    if (
        (mark, method, raw_name) != (b"PK\3\4", member.method, member.raw_name)
        or (flags ^ member.flags) & ENCRYPTED
        or any(local not in (listed, FULL_32) for local, listed in counts)
        or member.start + member.packed > following
    ):
        raise Damaged(f"member {member.name!r} is not what the table says")


def _content(stream: IO[bytes], member: ZipMember) -> Iterator[bytes]:
    """The unpacked content, which must use up all its packed bytes and have the length and sum of the table."""
    stream.seek(member.start)
    blocks = _blocks(stream, member.packed)
    unpacked = 0
    checksum = 0
    for content in blocks if member.method == STORED else _all_of(blocks, member.method):
        checksum = zlib.crc32(content, checksum)
        unpacked += len(content)
        yield content
    if (unpacked, checksum) != (member.size, member.crc):
        raise Damaged(f"member {member.name!r} has another length or sum than the table says")


def _blocks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        block = _read(stream, min(size, BLOCK))
        size -= len(block)
        yield block


def _all_of(blocks: Iterator[bytes], method: int) -> Iterator[bytes]:
    decompressor: Decompressor = zlib.decompressobj(wbits=-15) if method == DEFLATED else bz2.BZ2Decompressor()
    if (yield from decompress_one(blocks, decompressor)) or next(blocks, b""):
        raise Damaged("bytes follow the end of a member's packed data")
