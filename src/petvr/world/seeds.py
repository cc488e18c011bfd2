"""Random generators by name, so that no draw depends on how many draws came before it elsewhere."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def number(seed: int, *names: object) -> int:
    """A 63-bit number that belongs to this seed and these names (for generators that are not numpy's)."""
    text = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """`generator(0, "msrvtt", "train", 17)`: PCG64 whose stream these names alone decide."""
    return np.random.Generator(np.random.PCG64(number(seed, *names)))


# The following draw what numpy's `choice` and `permutation` do, number for number, without making arrays of the values:
# a few microseconds instead of tens, and a world is made of hundreds of thousands of draws.


def one_of(rng: np.random.Generator, values: Iterable[T]) -> T:
    """rng.choice(values)"""
    values = tuple(values)
    return values[int(rng.integers(len(values)))]


def one_weighted(rng: np.random.Generator, values: Sequence[T], weights: Iterable[float]) -> T:
    """rng.choice(values, p=weights); they are brought to a sum of one where they have another."""
    sums = list(accumulate(weights))
    return values[bisect_right([part / sums[-1] for part in sums], rng.random())]


def shuffled(rng: np.random.Generator, values: Iterable[T]) -> list[T]:
    """rng.permutation(values)"""
    values = tuple(values)
    return [values[index] for index in rng.permutation(len(values))]
