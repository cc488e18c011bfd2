"""Tar archives of any compression, whole or cut into parts: read once from front to end."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from petvr.data.download.archives import Unpacking

LONG_NAMES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
LONGEST_NAME = 1 << 20  # bytes, with its other attributes


def untar(parts: Sequence[Path], unpacking: Unpacking) -> int:
    """Take the wanted members out of the tar that `parts` make in this order; returns their number.

    Raises Refused, Full.
    """
    joined = Joined(parts)
    try:
        with joined, _plain(joined) as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=Header) as archive:
            unpacked = 0
            for member in archive:
                archive.members.clear()  # a list of a hundred thousand that nobody reads
                unpacking.told(joined.read_bytes)
                unpacked += 512 + max(member.size, 0)
                unpacking.balance(unpacked, joined.size)
                _one(archive, member, unpacking)
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise unpacking.refuse(f"damaged or cut off ({' '.join(str(error).split())[:120]})") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise unpacking.refuse(f"damaged ({' '.join(str(error).split())[:120]})") from error
    return unpacking.finish()


class Header(tarfile.TarInfo):
    """tarfile takes a broken or missing header for the archive's end, and holds long names in memory at any length."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        end = len(buf) == tarfile.BLOCKSIZE and not buf.strip(b"\0")
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if end:
                raise
            raise tarfile.ReadError(f"no header where one should be: {error}") from error
        if header.type in LONG_NAMES and header.size > LONGEST_NAME:
            raise tarfile.ReadError(f"a name or attribute of {header.size:,} bytes")
        return header


def _one(archive: tarfile.TarFile, member: tarfile.TarInfo, unpacking: Unpacking) -> None:
    if member.isdir():
        unpacking.folder(member.name)
        return
    if not member.isreg() or member.issparse():
        raise unpacking.refuse(f"member {member.name!r} is a link, a device or a file with holes")
    leaf = unpacking.admit(member.name, member.size)
    if leaf is None or unpacking.has(leaf, member.size):
        return
    unpacking.room(member.size)
    content = archive.extractfile(member)
    assert content is not None  # it is a regular file
    unpacking.write(leaf, member.size, content)


class Joined(io.RawIOBase):
    """Files read one after the other as one stream, which is what `cat part.*` would give."""

    def __init__(self, paths: Sequence[Path]):
        super().__init__()
        self._paths, self._open = list(paths), None
        self.size = sum(path.stat().st_size for path in paths)
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._open is None:
                if not self._paths:
                    return 0
                self._open = open(self._paths.pop(0), "rb")  # noqa: SIM115 - closed below, at its end
            if count := self._open.readinto(buffer):
                self.read_bytes += count
                return count
            self._open.close()
            self._open = None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        super().close()


def _plain(joined: Joined) -> IO[bytes]:
    """The tar stream under whatever compression the first bytes announce."""
    buffered = io.BufferedReader(joined, 1 << 20)
    head = buffered.peek(6)[:6]
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=buffered)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(buffered)
    if head.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(buffered)
    return buffered
