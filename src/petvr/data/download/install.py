"""What one mirror gives of a source, to its final place: a file, the content of an archive, or videos one by one."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from petvr.data.datasets.source import DownloadSource, Mirror
from petvr.data.download import archives, per_video
from petvr.data.download.dataset_folder import WORK, name_of
from petvr.data.download.failures import DiskFull, MirrorFailed
from petvr.data.download.session import DownloadSession
from petvr.data.download.transfer import SPARE, fetch
from petvr.data.download.untar import untar
from petvr.data.download.unzip import unzip
from petvr.data.download.web import shown


def install_source(session: DownloadSession, source: DownloadSource, mirror: Mirror) -> None:
    """All that `source` gives from this mirror, in its final place. Raises what transfer and archives raise."""
    if mirror.kind in ("links", "youtube"):
        per_video.download_videos(session, source, mirror)
        return
    home = session.folder.root if source.gives == "annotations" else session.folder.videos
    work = home / WORK
    work.mkdir(parents=True, exist_ok=True)
    files = _archive_files(session, source, mirror, work)
    if mirror.kind == "file":
        leaf = source.names[0] if source.names else mirror.url.rpartition("/")[2]
        os.replace(files[0], home / leaf)
    else:
        _unpack(session, source, mirror, files, home)
    if source.gives == "videos":
        session.folder.lock.gives(source.key, name_of(mirror), complete=True)


def _archive_files(session: DownloadSession, source: DownloadSource, mirror: Mirror, work: Path) -> list[Path]:
    """The file at the mirror, or all parts of the archive there; those that a killed call finished stay."""
    if source.about_bytes and mirror.size is None and source.gives == "videos":
        need = source.about_bytes * (2 if mirror.kind != "file" else 1)  # the archive and what comes out of it
        free = shutil.disk_usage(work).free
        present = sum(file.stat().st_size for file in work.rglob("*") if file.is_file())
        if need - present + SPARE > free:
            raise DiskFull(
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
            with session.progress.bytes(leaf) as on_progress:
                fetch(session.web, one, target, session.folder.lock, on_progress)
        return target

    if len(pieces) == 1:
        return [piece(0)]
    return session.parallel(piece, range(len(pieces)), session.options.parallel)


def _unpack(session: DownloadSession, source: DownloadSource, mirror: Mirror, files: list[Path], home: Path) -> None:
    wanted = set(source.names).__contains__ if source.names else archives.is_video
    size = sum(file.stat().st_size for file in files)
    with session.progress.bytes(f"unpacking {source.key}") as on_progress:

        def unpacked(done: int) -> None:
            session.retry.raise_if_cancelled()
            on_progress(done, size)

        unpacking = archives.Unpacking(
            shown(mirror.url),
            home,
            home / WORK / f"{re.sub(r'[^A-Za-z0-9.-]', '_', source.key)[:60]}.unpacking",
            wanted,
            on_progress=unpacked,
        )
        try:
            unzip(files[0], unpacking) if mirror.kind == "zip" else untar(files, unpacking)
            lacking = [name for name in source.names if not (home / name).is_file()]
            if lacking:
                raise MirrorFailed(f"{shown(mirror.url)}: holds no {', '.join(lacking)}")
        except MirrorFailed:
            shutil.rmtree(unpacking.staging, ignore_errors=True)
            for file in files:
                file.unlink()
            raise
    for file in files:
        if session.options.archives == "keep":
            kept = session.folder.state / "archives" / file.name
            kept.parent.mkdir(exist_ok=True)
            shutil.move(file, kept)
        else:
            file.unlink()
