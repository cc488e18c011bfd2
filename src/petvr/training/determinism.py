"""What makes a run repeatable: its device and threads, torch's deterministic algorithms, and random numbers by name.

Every draw of a run is decided by its seed and what it is for, and by no draw before it, so that a resumed run continues
at any step without stored generator states.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
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


def seed_number(seed: int, *names: object) -> int:
    """63 bits that belong to this seed and these names."""
    text = "/".join(["petvr.training", str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *names: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_number(seed, *names)))


def torch_generator(seed: int, *names: object, device: str | torch.device = "cpu") -> torch.Generator:
    return torch.Generator(device=device).manual_seed(seed_number(seed, *names))


def seed_torch(device: torch.device, seed: int, *names: object) -> None:
    """torch's own generators, which dropout draws from.

    Not torch.manual_seed: on a machine without GPU it queues a call with a stack trace for each device, every time.
    """
    torch.default_generator.manual_seed(seed_number(seed, *names))
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed_number(seed, *names))
