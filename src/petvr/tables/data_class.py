"""How comparable a result is to the paper, from the share of videos that are missing.

A exact, B comparable (n/N in the caption), C marked and without a difference to the paper, D a subset that is
never shown beside the paper's numbers. Dropping test videos removes distractors, so recall rises.
"""

from __future__ import annotations

from petvr.result import Data

# class -> largest missing share of (test, training) videos
LIMITS = {"A": (0.0, 0.005), "B": (0.01, 0.02), "C": (0.05, 0.05)}


def data_class(data: Data) -> str:
    """The worse of what the result declares and what its counts say; synthetic worlds have no official counts."""
    declared = data.data_class
    return declared if data.world == "synthetic" else max(declared, from_counts(data))


def from_counts(data: Data) -> str:
    def missing(have: int, official: int) -> float:
        return max(0.0, 1.0 - have / official) if official else 0.0

    test = missing(data.test_videos, data.test_videos_official)
    train = missing(data.train_videos, data.train_videos_official)
    for name, (most_test, most_train) in LIMITS.items():
        if test <= most_test + 1e-12 and train <= most_train + 1e-12:
            return name
    return "D"
