"""Files that matter are written beside their place and renamed, so that no reader ever sees half of one."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from petvr.errors import PetvrError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it is synced and renamed to `path`.

    On any failure the temporary file is removed and `path` keeps what it held. A full disk or a folder
    that cannot be written becomes a PetvrError that names the file.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except Exception as error:
        if not (reason := system_reason(error)):
            raise
        raise PetvrError(f"{path}: cannot be written: {reason}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def system_reason(error: Exception) -> str:
    """What the operating system said, also where a library in Rust passes it on as text; "" for any other error."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = re.search(r"\(os error (\d+)\)", str(error))
    return os.strerror(int(number[1])) if number and not isinstance(error, PetvrError) else ""


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with a checksum of all else it holds, under `seal`."""
    return {**value, "seal": _seal(value)}


def unsealed(value: Any, path: str | Path) -> Any:
    """What `sealed` was given. Raises PetvrError where it was altered since; what has no seal is an earlier petvr's."""
    if not isinstance(value, dict) or "seal" not in value:
        return value
    content = {key: part for key, part in value.items() if key != "seal"}
    if value["seal"] != _seal(content):
        raise PetvrError(f"{path}: altered or damaged since it was written (its checksum differs); make it anew")
    return content


def file_sha256(path: Path) -> str:
    """Of a file's content, read once a process as long as its size, time of change and inode stay as they are."""
    facts = path.stat()
    return _sha256(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@functools.lru_cache(maxsize=4096)
def _sha256(path: Path, *_: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _seal(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
