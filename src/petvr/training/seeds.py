"""Random numbers by name: every draw of a run is decided by its seed and what it is for.

No draw depends on how many came before it, so a resumed run continues at any step without stored generator states.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def number(seed: int, *names: object) -> int:
    """63 bits that belong to this seed and these names."""
    text = "/".join(["petvr.training", str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *names: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(number(seed, *names)))


def torch_generator(seed: int, *names: object, device: str | torch.device = "cpu") -> torch.Generator:
    return torch.Generator(device=device).manual_seed(number(seed, *names))


def seed_torch(device: torch.device, seed: int, *names: object) -> None:
    """torch's own generators, which dropout draws from.

    Not torch.manual_seed: on a machine without GPU it queues a call with a stack trace for each device, every time.
    """
    torch.default_generator.manual_seed(number(seed, *names))
    if device.type == "cuda":
        torch.cuda.manual_seed_all(number(seed, *names))
