"""Videos of a split that the frame store does not have: an error, or a recorded share with a class (DATASETS §8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from petvr.errors import PetvrError

POLICIES = ("strict", "record")


class Split(Protocol):
    name: str
    videos: tuple[str, ...]
    captions: tuple[str, ...]
    caption_video: tuple[int, ...]

    def keep(self, videos: set[str]) -> Split: ...
    def digest(self) -> str: ...


@dataclass(frozen=True)
class Present:
    split: Split  # what is there
    official: int  # videos the split should have
    missing: tuple[str, ...]


def present(
    split: Split, ids: set[str], problems: dict[str, str], policy: str, where: str, official: int, needed: bool = True
) -> Present:
    """The split without the videos that the store `where` lacks.

    Raises PetvrError when something is missing and the policy is not `record`, or when nothing is left of a split
    that is `needed`.
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
    if needed and not split.videos:
        raise PetvrError(f"{where}: the {split.name} split lists no video at all, and this run needs some")
    if needed and len(gone) == len(split.videos):
        raise PetvrError(f"{where}: none of the {len(gone)} {split.name} videos is in the store")
    left = split.keep(set(split.videos) - set(gone)) if gone else split
    return Present(left, max(official, len(split.videos)), gone)
