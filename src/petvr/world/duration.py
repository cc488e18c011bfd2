"""How long the demo will take here: what its jobs took on another machine, and how fast this one is."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

SECONDS = {"train": 10.5, "weights": 100.0, "world": 27.0, "frames": 9.0}  # CPU seconds of a job, on average
OTHER = 1.0  # tables, manifests, figures
PRODUCTS = 215_000  # per second of a core to itself, where these were measured


def products_per_second(seconds: float = 1.0) -> float:
    """Products of matrices as small as the tiny CLIP's: what happens between two of them counts most."""
    left, right = np.ones((48, 64), np.float32), np.full((64, 64), 1 / 64, np.float32)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(100):
            left = left @ right
        count += 100
    return count / (time.perf_counter() - began)


def expected_minutes(jobs: Mapping[str, int], cores: int, products: float) -> tuple[float, float]:
    """Between which it should lie, for `jobs`, rule -> count. The tiny CLIP is trained on one core before any run."""
    work = sum(count * SECONDS.get(rule, OTHER) for rule, count in jobs.items())
    alone = SECONDS["weights"] * bool(jobs.get("weights")) + SECONDS["train"] * bool(jobs.get("train"))
    minutes = max(work / cores, alone) * PRODUCTS / products / 60
    return 0.7 * minutes, 1.5 * minutes


def announcement(jobs: Mapping[str, int], cores: int) -> str:
    """`petvr: 60 runs, 6 to 12 minutes on 2 cores as fast as these are now`; measures for a second."""
    low, high = expected_minutes(jobs, cores, products_per_second())
    span = f"{max(1, round(low))} to {round(high)} minutes" if high > 2 else "a minute or two"
    what = f"{jobs['train']} runs" if jobs.get("train") else f"{sum(jobs.values())} jobs"
    return f"petvr: {what}, {span} on {cores} core{'s' * (cores > 1)} as fast as these are now"
