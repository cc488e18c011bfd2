"""What makes a run repeatable: its device and threads, torch's deterministic algorithms, and random numbers by name.

Every draw of a run is decided by its seed and what it is for, and by no draw before it, so that a resumed run continues
at any step without stored generator states.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from petvr.errors import PetvrError, first_line
from petvr.spec import MOST_THREADS

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")  # 2 MiB each: passes over memory take a quarter less
OVERRIDES = ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")


def prepare_device(device: str | None, threads: int | None, deterministic: bool = True) -> torch.device:
    """The device. deterministic: torch takes no kernel whose sums may come in another order the next time, and raises
    where it has no other; merely warned, attention's backward passes would stay such kernels."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if HUGE_PAGES.exists():  # else torch would warn
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch with a process's first tensor
    count = threads if threads is not None else os.environ.get("PETVR_THREADS")
    if count is not None:
        text, where = str(count), "PETVR_THREADS" if threads is None else "threads"
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MOST_THREADS and len(text) < 9):
            raise PetvrError(f"{where}: '{text:.40}' given, allowed: 1 to {MOST_THREADS}")
        torch.set_num_threads(int(count))
    torch.set_deterministic_debug_mode("error" if deterministic else "default")  # imports no compiler: a second
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads what it did not write
    torch.backends.cudnn.benchmark = False
    chosen = usable_device(device)
    if chosen.type == "cuda":
        torch.cuda.reset_peak_memory_stats(chosen)
    return chosen


def keep_freed_memory(device: torch.device) -> bool:
    """On a CPU the memory that a step gives back stays with the process; whether glibc was told so: other C libraries
    stay as they are.

    glibc gets each block above 32 MiB from the kernel anew, which fills it with zeros page by page: the activations of
    96 frames are larger, and writing one took three times as long as it does into memory that is kept.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))


def usable_device(device: str | None) -> torch.device:
    """The device of that name; None: a GPU where there is one. PetvrError for one that is not there."""
    try:
        usual = "cuda" if torch.cuda.is_available() else "cpu"
        chosen = torch.device(usual if device is None else device)
        torch.zeros(1, device=chosen).item()  # `meta` has no numbers
    except (RuntimeError, AssertionError, TypeError) as error:
        raise PetvrError(f"device '{device}' cannot be used: {first_line(error)}") from error
    return chosen


@contextlib.contextmanager
def name_refused_kernels() -> Iterator[None]:
    """What torch refuses under deterministic algorithms is an error that says what to do."""
    try:
        yield
    except RuntimeError as error:
        name, refused, _ = str(error).partition(" does not have a deterministic implementation")
        if not refused:
            raise
        raise PetvrError(
            f"{name} has no deterministic kernel on this device; `deterministic: false` in the configuration goes on "
            "without: a resumed run may then differ from an uninterrupted one, and its result.json says so"
        ) from error


def numerics() -> dict[str, object]:
    """What decides a result's last bits beside the recipe, for result.json."""
    return {
        "deterministic": torch.get_deterministic_debug_mode() == 2,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        **{name: os.environ[name] for name in OVERRIDES if name in os.environ},
    }


def seed_number(seed: int, *names: object) -> int:
    """63 bits that belong to this seed and these names."""
    text = "/".join(["petvr.training", str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *names: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_number(seed, *names)))


def torch_generator(seed: int, *names: object) -> torch.Generator:
    return torch.Generator().manual_seed(seed_number(seed, *names))


def seed_torch(device: torch.device, seed: int, *names: object) -> None:
    """torch's own generators, which dropout draws from.

    Not torch.manual_seed: on a machine without GPU it queues a call with a stack trace for each device, every time.
    """
    torch.default_generator.manual_seed(seed_number(seed, *names))
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed_number(seed, *names))
