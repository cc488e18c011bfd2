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
    """Bytes left by the user's quota on the folder's file system; None where no quota is set or nobody can be asked."""
    try:
        source = subprocess.run(["df", "--output=source", str(folder)], capture_output=True, text=True, timeout=20)
        listing = subprocess.run(["quota", "--no-wrap", "--show-mntpoint"], capture_output=True, text=True, timeout=20)
        disk = source.stdout.split()[-1]
        for line in listing.stdout.splitlines():
            words = line.split()
            if words and words[0] == disk:
                used, soft, hard = (int(word.rstrip("*")) for word in words[2:5])
                limit = soft or hard
                return max(0, limit - used) * 1024 if limit else None
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None
    return None
