"""Packed streams read to their own end: what is cut, damaged or followed by other bytes is never taken as whole.

The readers of the standard library (gzip, bz2, lzma, tarfile, zipfile) differ between releases in what they make of
such files, and some stop without a word; here only the decompressors themselves are used.
"""

from __future__ import annotations

import bz2
import itertools
import lzma
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Protocol

BLOCK = 1 << 20
PACKED_BLOCK = 1 << 16  # the rest of a block is copied for each of many short streams in it
MEMORY = 1 << 30  # bytes an xz stream may ask for (xz -9 takes 65 MB); a guess


class Damaged(Exception):
    """The bytes are not what their format demands: cut off, changed, or followed by something else."""


class Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


FORMATS: dict[bytes, Callable[[], Decompressor]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY),
}
LONGEST_MAGIC = max(map(len, FORMATS))


class JoinedFiles:
    """The bytes of files one after the other, which is what `cat part.*` would give."""

    def __init__(self, paths: Iterable[Path]):
        self.paths = list(paths)
        self.size = sum(path.stat().st_size for path in self.paths)
        self.read_bytes = 0
        head = _fill(b"", iter(self))
        self.magic = next((magic for magic in FORMATS if head.startswith(magic)), b"")  # b"": not packed

    def __iter__(self) -> Iterator[bytes]:
        self.read_bytes = 0
        for path in self.paths:
            with open(path, "rb") as stream:
                while block := stream.read(PACKED_BLOCK):
                    self.read_bytes += len(block)
                    yield block


def decompress_one(blocks: Iterator[bytes], decompressor: Decompressor) -> Generator[bytes, None, bytes]:
    """The content of one packed stream, at most a MiB at a time; returns the bytes that were read past its end.

    Raises Damaged where the format's own checks fail or its end does not come.
    """
    for packed in blocks:
        while True:
            try:
                content = decompressor.decompress(packed, BLOCK)
            except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
                raise Damaged(" ".join(str(error).split())[:120]) from error
            if content:
                yield content
            if decompressor.eof:
                return decompressor.unused_data
            packed = getattr(decompressor, "unconsumed_tail", b"")  # bz2 and lzma keep it themselves
            if not packed and len(content) < BLOCK:
                break
    raise Damaged("the packed data has no end")


def decompress(files: JoinedFiles) -> Iterator[bytes]:
    """What is in the files under the compression they begin with, if any: one or more streams of the same format.

    Zeros may follow, as on tapes. Raises Damaged, also where anything else follows.
    """
    blocks = iter(files)
    if not files.magic:
        yield from blocks
        return
    head = _fill(b"", blocks)
    while head:
        if not head.startswith(files.magic):
            raise Damaged("other bytes follow the end of the packed data")
        head = yield from decompress_one(itertools.chain([head], blocks), FORMATS[files.magic]())
        head = head.lstrip(b"\0")
        while not head and (block := next(blocks, b"")):
            head = block.lstrip(b"\0")
        head = _fill(head, blocks)


def _fill(head: bytes, blocks: Iterator[bytes]) -> bytes:
    """`head` with so much of `blocks` that a format can be recognised."""
    while len(head) < LONGEST_MAGIC and (block := next(blocks, b"")):
        head += block
    return head
