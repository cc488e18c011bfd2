"""Small JSON files that several processes read while one writes: written to a temporary name and renamed."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: str | Path, value: Any) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def read_json(path: str | Path) -> dict[str, Any]:
    """The file's object; an empty one where the file is not there (yet) or holds none."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


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
