"""Zip archives: the table is checked whole before a byte is written."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path

from petvr.data.download.archives import Unpacking

PLAIN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}


def unzip(path: Path, unpacking: Unpacking) -> int:
    """Take the wanted members out of the zip at `path`; returns their number. Raises Refused, Full."""
    try:
        with zipfile.ZipFile(path) as archive:
            todo = []
            for member in archive.infolist():
                if leaf := _admit(member, unpacking):
                    todo.append((leaf, member))
            packed = path.stat().st_size
            unpacking.balance(sum(member.file_size for member in archive.infolist()), packed)
            missing = [(leaf, m) for leaf, m in todo if not unpacking.has(leaf, m.file_size)]
            unpacking.room(sum(member.file_size for _, member in missing))
            done = packed - sum(member.compress_size for _, member in missing)
            for leaf, member in missing:
                with archive.open(member) as stream:
                    unpacking.write(leaf, member.file_size, stream)
                done += member.compress_size
                unpacking.told(done)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise unpacking.refuse(f"damaged or unreadable zip ({' '.join(str(error).split())[:120]})") from error
    return unpacking.finish()


def _admit(member: zipfile.ZipInfo, unpacking: Unpacking) -> str | None:
    """Also names the reader itself would have repaired are judged as they stand in the archive."""
    name = member.orig_filename
    mode = member.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise unpacking.refuse(f"member {name!r} is a link or a device")
    if member.flag_bits & 0x1:
        raise unpacking.refuse(f"member {name!r} is encrypted")
    if member.compress_type not in PLAIN:
        raise unpacking.refuse(f"member {name!r} is packed in a way that is not supported ({member.compress_type})")
    if member.is_dir() or kind == stat.S_IFDIR:
        unpacking.folder(name)
        return None
    return unpacking.admit(name, member.file_size)
