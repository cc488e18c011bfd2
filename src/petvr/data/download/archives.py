"""Taking files out of a foreign archive: only plain files, only flat names, only so many and so much.

Wanted members are written to a folder beside their destination and moved there when the whole archive turned out to be
sound. A member that was finished by a killed call is not written again. The archive is read as a stream (tar) or by its
table (zip) and is never held in memory; there is no second copy of it, also where it came in parts.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from petvr.data.datasets.base import EXTENSIONS
from petvr.data.download.failures import DiskFull, MirrorFailed

VIDEOS = frozenset(  # DiDeMo alone has seventeen; some of its names end in a bare dot
    (*EXTENSIONS, ".3g2", ".3gpp", ".asf", ".divx", ".m2ts", ".mts", ".null", ".ogv", ".qt", ".ts", ".vob", ".")
)
LONGEST_PATH = 4096  # Linux's
Wanted = Callable[[str], bool]  # of a member's last name: whether it is written


@dataclass(frozen=True)
class UnpackLimits:
    """What no archive of videos or annotations comes near (guesses; text packs to a tenth, videos not at all)."""

    members: int = 1_000_000
    ratio: float = 100.0  # unpacked bytes for each packed one
    free_ratio: int = 64 << 20  # bytes below which the ratio does not matter
    spare: int = 64 << 20  # bytes of disk left free


@dataclass
class Unpacking:
    """One archive on its way to `target`; `staging` is on the same file system and keeps what a killed call wrote."""

    archive: str
    target: Path
    staging: Path
    wanted: Wanted
    limits: UnpackLimits = field(default_factory=UnpackLimits)
    on_progress: Callable[[int], None] = lambda packed_bytes: None

    def __post_init__(self) -> None:
        self.staging.mkdir(parents=True, exist_ok=True)
        self.target.mkdir(parents=True, exist_ok=True)
        self._paths: set[str] = set()
        self._leaves: set[str] = set()

    def refuse(self, why: str) -> MirrorFailed:
        return MirrorFailed(f"{self.archive}: {why}; nothing of it was used")

    def admit(self, name: str, size: int) -> str | None:
        """The last name of a plain member if it is wanted. Raises MirrorFailed for what no honest archive holds."""
        if len(self._paths) >= self.limits.members:
            raise self.refuse(f"holds more than {self.limits.members:,} members")
        path = self._safe(name)
        if path in self._paths:
            raise self.refuse(f"holds {name!r} twice")
        self._paths.add(path)
        leaf = path.rpartition("/")[2]
        if size < 0:
            raise self.refuse(f"member {name!r} has a negative size")
        if leaf.startswith("._") or path.startswith("__MACOSX/") or not self.wanted(leaf):
            return None
        if leaf in self._leaves:
            raise self.refuse(f"holds two files named {leaf!r}")
        self._leaves.add(leaf)
        return leaf

    def folder(self, name: str) -> None:
        self._safe(name.rstrip("/") or ".")

    def _safe(self, name: str) -> str:
        """`name` without leading `./`, or MirrorFailed where it could lead anywhere but down."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            raise self.refuse(f"member {name!r} leads out of the folder")
        if "\\" in name or (len(name) > 1 and name[1] == ":") or any(map(_unprintable, name)):
            raise self.refuse(f"member {name!r} has a name that is not safe")
        if len(name) > LONGEST_PATH or any(len(os.fsencode(part)) > 255 for part in parts):
            raise self.refuse(f"member {name[:40]!r}... has a name that is too long")
        return "/".join(parts)

    def balance(self, unpacked: int, packed: int) -> None:
        """Stop a bomb: `unpacked` bytes so far or declared, made of `packed`."""
        if unpacked > self.limits.free_ratio and unpacked > self.limits.ratio * max(packed, 1):
            raise self.refuse(f"{packed:,} bytes would become {unpacked:,} or more")

    def room(self, size: int) -> None:
        free = shutil.disk_usage(self.staging).free
        if size + self.limits.spare > free:
            raise DiskFull(f"{self.staging}: unpacking needs {size:,} bytes, {free:,} are free")

    def has(self, leaf: str, size: int) -> bool:
        """Whether an earlier, killed call finished this member; its file is then left as it is."""
        return any(path.is_file() and path.stat().st_size == size for path in (self.staging / leaf, self.target / leaf))

    def write(self, leaf: str, size: int, blocks: Iterable[bytes | memoryview]) -> None:
        """Write one member whole under its name; a half-written one has another name."""
        half = self.staging / f"{leaf[:200]}.half"
        written = 0
        try:
            with open(half, "wb") as out:
                for block in blocks:
                    written += len(block)
                    if written > size:
                        raise self.refuse(f"member {leaf!r} is longer than the {size:,} bytes it declares")
                    out.write(block)
        except OSError as error:
            raise DiskFull(f"{half}: {error.strerror or error}") from error
        if written != size:
            raise self.refuse(f"is cut off: member {leaf!r} has {written:,} of {size:,} bytes")
        os.replace(half, self.staging / leaf)

    def finish(self) -> int:
        """Move everything to the target, where a file of the same name stays. Returns the number of wanted members."""
        if not self._leaves:
            raise self.refuse(f"holds nothing that is wanted among {len(self._paths):,} files")
        for leaf in sorted(self._leaves):
            ready, target = self.staging / leaf, self.target / leaf
            if ready.exists() and not target.exists():
                os.replace(ready, target)
        shutil.rmtree(self.staging)
        return len(self._leaves)


def is_video(leaf: str) -> bool:
    """By the ending of its name: archives of videos also hold lists, licences and thumbnails."""
    return leaf[leaf.rfind(".") :].lower() in VIDEOS if "." in leaf else False


def _unprintable(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
