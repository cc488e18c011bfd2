"""Random generators by name, so that no draw depends on how many draws came before it elsewhere."""

from __future__ import annotations

import hashlib

import numpy as np


def number(seed: int, *names: object) -> int:
    """A 63-bit number that belongs to this seed and these names (for generators that are not numpy's)."""
    text = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """`generator(0, "msrvtt", "train", 17)`: PCG64 whose stream these names alone decide."""
    return np.random.Generator(np.random.PCG64(number(seed, *names)))
