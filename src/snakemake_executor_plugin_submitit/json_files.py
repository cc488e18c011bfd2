"""Small JSON files that several processes read while one writes: written to a temporary name and renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOM_POLL_S = 2.0


def write_json(path: str | Path, value: Any, sync: bool = True) -> None:
    """`sync`: it outlives a power cut, at the price of some milliseconds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1)
            stream.write("\n")
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def wait_for_room(
    write: Callable[[], T], log: Callable[[str], object], hopeless: Callable[[], bool], where: str | Path = ""
) -> T:
    """Do what writes to a disk; while that is full (or a quota used up) say so once and try again."""
    is_told = False
    while True:
        try:
            return write()
        except OSError as error:
            if not is_full(error) or hopeless():
                raise
            if not is_told:
                log(f"{error.filename or where}: {error.strerror}; waiting for room on that disk.")
            is_told = True
            time.sleep(ROOM_POLL_S)


def has_room(folder: str | Path) -> bool:
    """Whether a little can be written there; also where it cannot be asked."""
    path = Path(folder) / f".room.{uuid.uuid4().hex}"
    try:
        with open(path, "wb") as stream:
            stream.write(b"x" * 65536)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return not is_full(error)
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return True


def read_json(path: str | Path) -> dict[str, Any]:
    """The file's object; an empty one where the file is not there (yet) or holds none."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_spec(folder: Path) -> dict[str, Any]:
    """What a submission is to run: a file of its own until it starts, then kept with its owner."""
    return read_json(folder / "spec.json") or read_json(folder / "owner.json").get("spec", {})


def read_owner(folder: Path) -> dict[str, Any]:
    """The process that works on a submission, or that ended it."""
    return read_json(folder / "owner.json") or read_json(folder / "result.json")


def tail(path: str | Path, lines: int = 20, max_bytes: int = 20_000) -> str:
    """The last lines of a log, without reading a log of gigabytes."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - max_bytes))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """What identifies a process beyond its number, which the system reuses: host and kernel start time."""
    pid = pid or os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "born": _start_time(pid)}


def is_alive(process: Mapping[str, Any]) -> bool | None:
    """Whether that process still runs; None where another host would have to be asked."""
    if "pid" not in process:
        return False
    if process.get("host") != socket.gethostname():
        return None
    born = _start_time(process["pid"])
    return born is not None and born == process.get("born")


def _start_time(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
