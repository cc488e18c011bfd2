"""The device a run computes on, with its threads, determinism and memory, and the lock on the run's state."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

from petvr.errors import PetvrError


def prepare_device(device: str | None, threads: int | None) -> torch.device:
    """The device, with torch's deterministic algorithms where it has them; fp32 means fp32 (no TF32)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    count = threads if threads is not None else os.environ.get("PETVR_THREADS")
    if count is not None:
        if not str(count).isdecimal() or int(count) < 1:
            raise PetvrError(f"threads: '{count}' given, allowed: 1 or more")
        torch.set_num_threads(int(count))
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, which imports the compiler: a second
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads what it did not write
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise PetvrError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
    if chosen.type == "cuda":
        torch.cuda.reset_peak_memory_stats(chosen)
    return chosen


@contextlib.contextmanager
def lock_state(state: Path) -> Iterator[None]:
    """Two processes must not write one run's state. File systems without locks are let pass."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        handle = open(state / "lock", "w")  # noqa: SIM115
    except OSError as error:
        raise PetvrError(f"{state}: cannot be written: {error.strerror or error}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PetvrError(f"{state}: another process is at this run") from error
        except OSError:
            pass
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (state / "lock").unlink()
                state.rmdir()  # nothing is left in it once the result is written


def peak_memory(device: torch.device) -> int:
    """Peak bytes: what torch allocated on a GPU, the process's resident memory on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
