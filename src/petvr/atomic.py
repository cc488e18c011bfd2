"""Files that matter are written beside their place and renamed, so that no reader ever sees half of one; what one
process alone may do is locked by files whose locks end with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import math
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from petvr.errors import PetvrError
from petvr.text_files import is_pipe_or_device, read_json

FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)))
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # file systems without locks are let pass
PAUSE = 0.1  # seconds between two tries
COUNTS_VERSION = 1  # raised when the same model would be counted otherwise
REMEMBERED = ".digests.json"
AHEAD = 2.0  # seconds; a file server's clock is never quite this machine's


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it is synced and renamed to `path`.

    On any failure the temporary file is removed and `path` keeps what it held. A full disk or a folder
    that cannot be written becomes a PetvrError that names the file; so do a pipe and a device, which root would
    replace for everybody (/dev/null).
    """
    path = Path(path)
    if is_pipe_or_device(path):
        raise PetvrError(f"{path}: a pipe or a device, which would be replaced; allowed: a file")
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


def require_writable(path: Path) -> None:
    """Before what takes long: PetvrError where `path` cannot be written in the end."""
    if path.is_dir():
        raise PetvrError(f"{path}: a folder, allowed: a file")
    with contextlib.suppress(_Tried), replacing(path):
        raise _Tried


class _Tried(Exception):
    """Nothing is to be written yet."""


def system_reason(error: Exception) -> str:
    """What the operating system said, also where a library in Rust passes it on as text; "" for any other error."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = re.search(r"\(os error (\d+)\)", str(error))
    return os.strerror(int(number[1])) if number and not isinstance(error, PetvrError) else ""


def bring_to_now(paths: Iterable[Path]) -> list[Path]:
    """Of our own files those that are dated in the future, as after the clock was set back, now dated today.

    What Snakemake makes of an input that is newer it takes for out of date, and removes.
    """
    ahead = dated_ahead(paths)
    for path in ahead:
        with contextlib.suppress(OSError):  # another's file
            os.utime(path)
    return ahead


def dated_ahead(paths: Iterable[Path]) -> list[Path]:
    now = time.time()
    return [path for path in paths if path.exists() and path.stat().st_mtime > now + AHEAD]


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def at_least(least: float) -> Callable[[Any], Any]:
    """Of a finite number; a ValueError for another."""

    def checked(value: Any) -> float:
        number = float(value)
        if not least <= number < math.inf:
            raise ValueError(f"{number} is no count")
        return number

    return checked


def kept_count(
    folder: Path | None,
    key: Any,
    names: Mapping[str, Callable[[Any], Any]],
    count: Callable[[], dict[str, Any]],
    code: str = "",
) -> list[Any]:
    """The values of `names` in what `count` gives, once for a key, which says all that they depend on but the code
    that counts; folder None: each time. code: a digest of that; what other code counted is counted anew in its place.
    """
    text = json.dumps([COUNTS_VERSION, *key], sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json" if folder else None
    if path is not None:
        with contextlib.suppress(PetvrError, ValueError, KeyError, TypeError):
            record = unsealed(read_json(path, dict), path, required=True)
            if record["code"] == code:
                return [kind(record[name]) for name, kind in names.items()]
    counted = count()
    if path is not None:
        with contextlib.suppress(PetvrError):  # who asks next counts again
            write_json(path, sealed(counted | {"code": code}))
    return [counted[name] for name in names]


def user_cache() -> Path | None:
    """The folder below the user's home that may be deleted at any time; None for a user without a home."""
    given = os.environ.get("PETVR_CACHE")
    folder = Path(given or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return (folder if given else folder / "petvr") if folder.is_absolute() else None


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with a checksum of all else it holds, under `seal`."""
    return {**value, "seal": _seal(value)}


def unsealed(value: Any, path: str | Path, *, required: bool = False) -> Any:
    """What `sealed` was given. Raises PetvrError where it was altered since; what has no seal is an earlier petvr's.

    required: no petvr ever wrote such a file without one.
    """
    if not isinstance(value, dict) or "seal" not in value:
        if required:
            raise PetvrError(f"{path}: has no checksum (key 'seal'), so petvr did not write it; make it anew")
        return value
    content = {key: part for key, part in value.items() if key != "seal"}
    if value["seal"] != _seal(content):
        raise PetvrError(f"{path}: altered or damaged since it was written (its checksum differs); make it anew")
    return content


def file_sha256(path: Path) -> str:
    """Of a file's content, read once a process as long as its size, dates and inode stay as they are."""
    facts = path.stat()
    return _sha256(path, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


@functools.lru_cache(maxsize=4096)
def _sha256(path: Path, *_: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remembered_sha256(folder: Path, names: Iterable[str], *, again: bool = False) -> dict[str, str]:
    """Of files of one folder, each read once: `.digests.json` beside them keeps it with their size, dates and inode.

    again: read them whatever is kept.
    """
    kept, digests = folder / REMEMBERED, dict[str, Any]()
    known: dict[str, Any] = {}
    if not again:
        with contextlib.suppress(PetvrError):
            known = read_json(kept, dict)
    for name in names:
        with open(folder / name, "rb") as stream:
            status = os.fstat(stream.fileno())
            stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            entry = known.get(name)
            known_sha256 = entry.get("sha256") if isinstance(entry, dict) and entry.get("stamp") == stamp else None
            if not re.fullmatch("[0-9a-f]{64}", str(known_sha256)):
                entry = {"stamp": stamp, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
        digests[name] = entry
    if digests != known:
        with contextlib.suppress(PetvrError):  # where nothing can be written they are read again the next time
            write_json(kept, digests)
    return {name: entry["sha256"] for name, entry in digests.items()}


def _seal(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class HeldElsewhere(PetvrError):
    """Another process is at it: no failure of what it does."""


@contextlib.contextmanager
def file_lock(path: Path, busy: str, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold `path` while the block runs; the file says who does.

    While another process holds it, `wait` is called with that process's note again and again and may raise; without
    `wait`, HeldElsewhere says `busy`. PetvrError where the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _acquired(path, busy, wait)
    except OSError as error:
        raise PetvrError(f"{path.parent}: cannot be written: {error.strerror or error}") from error
    try:
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the note
            os.ftruncate(handle, 0)
            os.pwrite(handle, me().encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
        os.close(handle)


def holder(path: Path) -> str:
    """Who holds the lock `path`, e.g. "process 4711 on node3, since 2026-11-28 22:10:05"; "" if nobody does."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return ""
    except BlockingIOError:
        return _note(handle)
    except OSError:
        return ""
    finally:
        os.close(handle)


def wait_until_free(path: Path, what: str) -> None:
    """Return when nobody holds `path`: what a killed workflow left running is waited for, not started twice."""
    if who := holder(path):
        print(f"{what}: {who} is at it already; waiting for it", flush=True)
    while holder(path):
        time.sleep(5 * PAUSE)


def me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"


def _note(handle: int) -> str:
    return os.pread(handle, 4096, 0).decode(errors="replace").strip() or "another process"


def _acquired(path: Path, busy: str, wait: Callable[[str], None] | None) -> int:
    tries = 0
    while True:
        handle, held = os.open(path, os.O_RDWR | os.O_CREAT, 0o666), False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(handle).st_nlink > 0  # else its last owner removed it meanwhile
        except BlockingIOError:
            tries += 1
            if wait is not None:
                wait(_note(handle))
            elif tries > 3:  # `holder` looks for a moment only
                raise HeldElsewhere(f"{path.parent}: {busy} ({_note(handle)})") from None
            time.sleep(PAUSE if wait or tries > 2 else 0.01)
        except OSError as error:
            held = error.errno in NO_LOCKS
            if not held:
                raise
        finally:
            if not held:
                os.close(handle)
        if held:
            return handle
