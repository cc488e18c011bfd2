"""The factor on the learning rate at each step (METHODS A.0, A.1)."""

from __future__ import annotations

import math
from collections.abc import Callable

from petvr.errors import unknown


def warmup_cosine(step: int, total: float, warmup: float) -> float:
    """BertAdam's: x = step / total; x / warmup below `warmup`, then 0.5 (1 + cos pi x), which is NOT restarted.

    It jumps from about 1 to 0.5 (1 + cos(pi warmup)) at the end of the warm-up. Step 0 has factor 0.
    """
    x = step / total
    return x / warmup if x < warmup else 0.5 * (1.0 + math.cos(math.pi * x))


def warmup_cosine_restarted(step: int, total: float, warmup: float) -> float:
    """X-Pool's: linear over int(warmup total) steps, then half a cosine over the rest, from 1 to 0."""
    rise = int(warmup * total)
    if step < rise:
        return step / rise
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, total - rise))))


def constant(step: int, total: float, warmup: float) -> float:
    """1 after the same warm-up as `warmup_cosine`."""
    x = step / total
    return x / warmup if x < warmup else 1.0


SCHEDULES: dict[str, Callable[[int, float, float], float]] = {
    "warmup_cosine": warmup_cosine,
    "warmup_cosine_restarted": warmup_cosine_restarted,
    "constant": constant,
}


def named(name: str, *, total: float, warmup: float) -> Callable[[int], float]:
    """step (from 0) -> factor. Raises PetvrError for an unknown name."""
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES, "recipe.schedule")
    function = SCHEDULES[name]
    return lambda step: function(step, total, warmup)
