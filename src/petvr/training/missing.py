"""Videos of a split that the frame store does not have: an error, or a recorded share with a class (DATASETS §8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from petvr.errors import PetvrError

POLICIES = ("strict", "record")
# class -> largest missing share of (test, training) videos
LIMITS = {"A": (0.0, 0.005), "B": (0.01, 0.02), "C": (0.05, 0.05)}


class Split(Protocol):
    name: str
    videos: tuple[str, ...]
    captions: tuple[str, ...]
    owner: tuple[int, ...]

    def keep(self, videos: set[str]) -> Split: ...
    def digest(self) -> str: ...


@dataclass(frozen=True)
class Present:
    split: Split  # what is there
    official: int  # videos the split should have
    missing: tuple[str, ...]


def present(split: Split, ids: set[str], problems: dict[str, str], policy: str, where: str, official: int) -> Present:
    """The split without the videos that the store `where` lacks.

    Raises PetvrError when something is missing and the policy is not `record`, or when nothing is left.
    """
    if policy not in POLICIES:
        raise PetvrError(f"missing: '{policy}'; allowed: {', '.join(POLICIES)}")
    gone = tuple(video for video in split.videos if video not in ids)
    if gone and policy != "record":
        reason = problems.get(gone[0], "not in the store")
        raise PetvrError(
            f"{where}: {len(gone)} of {len(split.videos)} {split.name} videos are missing, the first is '{gone[0]}' "
            f"({reason}); build the frames again, or set missing=record to leave them out and have that recorded"
        )
    if len(gone) == len(split.videos):
        raise PetvrError(f"{where}: none of the {len(gone)} {split.name} videos is in the store")
    left = split.keep(set(split.videos) - set(gone)) if gone else split
    return Present(left, max(official, len(split.videos)), gone)


def data_class(test: tuple[int, int], train: tuple[int, int]) -> str:
    """A exact, B comparable, C internal, D subset, from (present, official) videos of both splits."""

    def share(have: int, official: int) -> float:
        return max(0.0, 1.0 - have / official) if official else 0.0

    lost = share(*test), share(*train)
    for name, limits in LIMITS.items():
        if all(part <= most + 1e-12 for part, most in zip(lost, limits, strict=True)):
            return name
    return "D"
