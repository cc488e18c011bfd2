"""Locks that end with their process, however that ends: nothing stale is ever left to be removed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from petvr.errors import PetvrError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # file systems without locks are let pass
PAUSE = 0.1  # seconds between two tries


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
