"""Small JSON files that several processes read while one writes: written beside their place and renamed."""

from __future__ import annotations

import json
import os
import socket
import uuid
from pathlib import Path
from typing import Any


def write(path: str | Path, value: Any) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def read(path: str | Path) -> dict | None:
    """The file's value; None where it is not there (yet) or is no JSON object."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def tail(path: str | Path, lines: int = 20, most: int = 20_000) -> str:
    """The last lines of a log, without reading a log of gigabytes."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - most))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def process(pid: int | None = None) -> dict[str, Any]:
    """What identifies a process beyond its number, which the system reuses: host and kernel start time."""
    pid = pid or os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "born": _born(pid)}


def alive(who: dict[str, Any] | None) -> bool | None:
    """Whether that process still runs; None where another host would have to be asked."""
    if not who or "pid" not in who:
        return False
    if who.get("host") != socket.gethostname():
        return None
    born = _born(who["pid"])
    return born is not None and born == who.get("born")


def _born(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
