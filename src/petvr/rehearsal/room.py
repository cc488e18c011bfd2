"""What the plan will write, against what is free where it will be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from petvr.rehearsal.parts import Part

GB = 1e9
MARGIN = 1.05
ASK = "make room, or let `results`, `data` or `feature_cache_gib` in the configuration say otherwise"


@dataclass(frozen=True)
class Writing:
    """So many bytes to come below a folder; `what` in words."""

    what: str
    folder: Path
    bytes: float


def check_room(part: Part, writings: list[Writing]) -> None:
    """By file system, and by quota where `quota` answers."""
    by_disk: dict[int, list[Writing]] = {}
    for writing in writings:
        by_disk.setdefault(os.stat(nearest_there(writing.folder)).st_dev, []).append(writing)
    for group in by_disk.values():
        folder = nearest_there(group[0].folder)
        needed = MARGIN * sum(writing.bytes for writing in group)
        free, limit = shutil.disk_usage(folder).free, quota_free(folder)
        listed = ", ".join(f"{writing.what} {writing.bytes / GB:,.2f}" for writing in group if writing.bytes)
        says = f"{folder.resolve()}: {needed / GB:,.2f} GB to come ({listed or 'nothing'}), {free / GB:,.2f} GB free"
        if limit is not None:
            says += f", {limit / GB:,.2f} GB left of your quota"
        part.add("is there room?", needed <= min(free, free if limit is None else limit), says, ASK)
        if limit is None:
            part.facts.setdefault("quota", []).append(f"{folder.resolve()}: no quota is known here")


def nearest_there(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    folder = folder.absolute()
    return next(one for one in (folder, *folder.parents) if one.exists())


def bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def quota_free(folder: Path) -> int | None:
    """Bytes left by the user's quota on the folder's file system; None where no quota is set or nobody can be asked.

    `quota` answers for local disks and NFS, `lfs` for Lustre.
    """
    disk = _said("df", "--output=source,fstype", str(folder)).split()[-2:]
    if disk[1:] == ["lustre"]:
        listing = _said("lfs", "quota", "-q", "-u", str(os.getuid()), str(folder))
        return _left(" ".join(listing.split()).split()[1:4])
    for line in _said("quota", "--no-wrap", "--show-mntpoint").splitlines():
        fields = line.split()
        if fields and fields[:1] == disk[:1]:
            return _left(fields[2:5])
    return None


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _left(fields: list[str]) -> int | None:
    """Of kilobytes used, soft and hard limit, of which 0 is none."""
    try:
        used, soft, hard = (int(word.rstrip("*")) for word in fields)
    except ValueError:
        return None
    return max(0, (soft or hard) - used) * 1024 if soft or hard else None
