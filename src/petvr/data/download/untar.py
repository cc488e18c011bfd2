"""Tar archives of any compression, whole or cut into parts: read once from front to end, and the end is proved.

The end of a tar is a block of zeros where a header would be, after which nothing but zeros comes. POSIX asks for two
such blocks; one is taken as well, as GNU tar does, because no member can follow it. An archive without any is refused,
also where its compression ends well: a `tar` that was killed in `tar c | gzip` leaves the same bytes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from petvr.data.download.archives import Unpacking
from petvr.data.download.compression import Damaged, JoinedFiles, decompress

HEADER = 512  # bytes, and the unit that contents are padded to
FILES = (b"0", b"\0", b"7")
FOLDER = b"5"
PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK = (b"x", b"X"), b"g", b"L", b"K"
LONGEST_NAME = 1 << 20  # bytes, with its other attributes
PAX_LENGTH = re.compile(rb"([1-9]\d{0,6}) ")
PAX_SIZE = re.compile(rb"\d{1,18}")


def untar(parts: Sequence[Path], unpacking: Unpacking) -> int:
    """Take the wanted members out of the tar that `parts` make in this order; returns their number.

    Raises MirrorFailed, DiskFull.
    """
    joined = JoinedFiles(parts)
    try:
        tar = TarStream(decompress(joined))
        while (member := tar.next_member()) is not None:
            unpacking.on_progress(joined.read_bytes)
            unpacking.balance(tar.position + member.size, joined.size)
            if not joined.magic and tar.position + member.size > joined.size:
                raise Damaged(f"member {member.name!r} ends after the archive")
            _unpack_member(tar, member, unpacking)
        for _ in tar.zeros():
            unpacking.balance(tar.position, joined.size)
    except Damaged as error:
        raise unpacking.refuse(f"damaged or cut off ({error})") from error
    return unpacking.finish()


@dataclass(frozen=True)
class TarMember:
    name: str
    kind: bytes  # type flag of its header
    size: int
    sparse: bool = False


def _unpack_member(tar: TarStream, member: TarMember, unpacking: Unpacking) -> None:
    if member.kind == FOLDER:
        unpacking.folder(member.name)
        return
    if member.kind not in FILES or member.sparse:
        raise unpacking.refuse(f"member {member.name!r} is a link, a device or a file with holes")
    leaf = unpacking.admit(member.name, member.size)
    if leaf is not None and not unpacking.has(leaf, member.size):
        unpacking.room(member.size)
        unpacking.write(leaf, member.size, tar.content(member.size))
    else:
        for _ in tar.content(member.size):
            pass
    tar.read(-member.size % HEADER)


class TarStream:
    """Headers and contents of an unpacked tar in their order. Raises Damaged for all that no whole tar holds."""

    def __init__(self, blocks: Iterable[bytes]):
        self._blocks = iter(blocks)
        self._block = memoryview(b"")
        self._global: dict[str, bytes] = {}
        self.position = 0

    def content(self, size: int) -> Iterator[bytes | memoryview]:
        """Exactly the next `size` bytes."""
        while size:
            if not self._block:
                self._block = memoryview(next(self._blocks, b""))
                if not self._block:
                    raise Damaged(f"the archive ends {size:,} bytes too early")
            piece, self._block = self._block[:size], self._block[size:]
            self.position += len(piece)
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        return b"".join(self.content(size))

    def zeros(self) -> Iterator[None]:
        """To the end of the stream, which may hold nothing but zeros from here on."""
        for block in itertools.chain([self._block], self._blocks):
            if bytes(block).strip(b"\0"):
                raise Damaged("other bytes follow the end of the archive")
            self.position += len(block)
            yield

    def next_member(self) -> TarMember | None:
        """The next member with the names and sizes that stand before it; None at the end of the archive."""
        attributes: dict[str, bytes] = {}
        while True:
            header = self.read(HEADER)
            if not header.strip(b"\0"):
                if attributes:
                    raise Damaged("a name or attributes without a member")
                return None
            if not sum_fits(header):
                raise Damaged(f"no header where one should be, at byte {self.position - HEADER:,}")
            kind, size = header[156:157], _number(header[124:136])
            if kind in PAX or kind in (PAX_GLOBAL, LONG_NAME, LONG_LINK):
                if size > LONGEST_NAME:
                    raise Damaged(f"a name or attribute of {size:,} bytes")
                text = self.read(size)
                self.read(-size % HEADER)
                if kind == PAX_GLOBAL:
                    self._global |= _pax(text)
                elif kind in PAX:
                    attributes |= _pax(text)
                elif kind == LONG_NAME:
                    attributes["path"] = text.partition(b"\0")[0]
                continue
            return _member(header, kind, size, {**self._global, **attributes})


def _member(header: bytes, kind: bytes, size: int, attributes: dict[str, bytes]) -> TarMember:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    name = attributes.get("path", prefix + b"/" + name if prefix else name)
    if kind == b"\0" and name.endswith(b"/"):  # before POSIX, folders had no kind of their own
        kind = FOLDER
    if "size" in attributes:
        if not PAX_SIZE.fullmatch(attributes["size"]):
            raise Damaged("a size that is no number")
        size = int(attributes["size"])
    sparse = any(key.startswith("GNU.sparse.") for key in attributes)
    return TarMember(name.decode("utf-8", "surrogateescape"), kind, size, sparse)


def sum_fits(header: bytes) -> bool:
    """Whether a header holds its own sum. Old writers added bytes as signed numbers."""
    try:
        noted = _number(header[148:156])
    except Damaged:
        return False
    counted = header[:148] + b" " * 8 + header[156:HEADER]
    total = sum(counted)
    return len(header) >= HEADER and noted in (total, total - 256 * sum(byte > 127 for byte in counted))


def _number(field: bytes) -> int:
    """An octal number, or a binary one where that is too small."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise Damaged("a header's number is no octal number")
    return int(digits or b"0", 8)


def _pax(text: bytes) -> dict[str, bytes]:
    """The records `length key=value` of an extended header."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(text):
        match = PAX_LENGTH.match(text, at)
        end = at + int(match[1]) if match else 0
        key, equals, value = text[match.end() : end - 1].partition(b"=") if match else (b"", b"", b"")
        if not equals or text[end - 1 : end] != b"\n":
            raise Damaged("an extended header that cannot be read")
        records[key.decode("utf-8", "replace")] = value
        at = end
    return records
