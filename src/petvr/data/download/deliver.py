"""What one mirror gives of a source, to its final place: a file, the content of an archive, or videos one by one."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from petvr.data.datasets.source import Mirror, Source
from petvr.data.download import archives, clips
from petvr.data.download.failures import Full, Refused
from petvr.data.download.place import WORK, name_of
from petvr.data.download.transfer import SPARE, fetch
from petvr.data.download.untar import untar
from petvr.data.download.unzip import unzip
from petvr.data.download.web import shown

if TYPE_CHECKING:
    from petvr.data.download.bring import Bringing


def deliver(call: Bringing, source: Source, mirror: Mirror) -> None:
    """All that `source` gives from this mirror, in its final place. Raises what transfer and archives raise."""
    if mirror.kind in ("links", "youtube"):
        clips.bring(call, source, mirror)
        return
    home = call.place.root if source.gives == "annotations" else call.place.videos
    work = home / WORK
    work.mkdir(parents=True, exist_ok=True)
    files = _files(call, source, mirror, work)
    if mirror.kind == "file":
        leaf = source.names[0] if source.names else mirror.url.rpartition("/")[2]
        os.replace(files[0], home / leaf)
    else:
        _unpack(call, source, mirror, files, home, work)
    if source.gives == "videos":
        call.place.lock.gives(source.key, name_of(mirror), complete=True)


def _files(call: Bringing, source: Source, mirror: Mirror, work: Path) -> list[Path]:
    """The file at the mirror, or all parts of the archive there; those that a killed call finished stay."""
    if source.about_bytes and mirror.size is None and source.gives == "videos":
        need = source.about_bytes * (2 if mirror.kind != "file" else 1)  # the archive and what comes out of it
        free = shutil.disk_usage(work).free
        there = sum(file.stat().st_size for file in work.rglob("*") if file.is_file())
        if need - there + SPARE > free:
            raise Full(
                f"{work.parent}: about {need / 1e9:.1f} GB are needed while it is unpacked, "
                f"{free / 1e9:.1f} GB are free"
            )
    pieces = [mirror]
    pieces += [Mirror(url, login=mirror.login) for url in mirror.parts]

    def piece(number: int) -> Path:
        one = pieces[number]
        leaf = re.sub(r"[^\w.-]", "_", one.url.partition("?")[0].rpartition("/")[2])[-100:] or "file"
        target = work / f"{re.sub(r'[^A-Za-z0-9.-]', '_', source.key)[:60]}.{number:03d}.{leaf}"
        if not target.exists():
            with call.watch.bytes(leaf) as told:
                fetch(call.web, one, target, call.place.lock, told)
        return target

    if len(pieces) == 1:
        return [piece(0)]
    return call.parallel(piece, range(len(pieces)), call.wishes.parallel)  # type: ignore[arg-type]


def _unpack(call: Bringing, source: Source, mirror: Mirror, files: list[Path], home: Path, work: Path) -> None:
    wanted = set(source.names).__contains__ if source.names else archives.is_video
    size = sum(file.stat().st_size for file in files)
    with call.watch.bytes(f"unpacking {source.key}") as told:
        unpacking = archives.Unpacking(
            shown(mirror.url),
            home,
            work / f"{re.sub(r'[^A-Za-z0-9.-]', '_', source.key)[:60]}.unpacking",
            wanted,
            told=lambda done: (call.patience.check(), told(done, size))[0],
        )
        try:
            unzip(files[0], unpacking) if mirror.kind == "zip" else untar(files, unpacking)
            lacking = [name for name in source.names if not (home / name).is_file()]
            if lacking:
                raise Refused(f"{shown(mirror.url)}: holds no {', '.join(lacking)}")
        except Refused:
            shutil.rmtree(unpacking.staging, ignore_errors=True)
            for file in files:
                file.unlink()
            raise
    for file in files:
        if call.wishes.archives == "keep":
            kept = call.place.state / "archives" / file.name
            kept.parent.mkdir(exist_ok=True)
            shutil.move(file, kept)
        else:
            file.unlink()
