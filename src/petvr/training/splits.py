"""The training and test split of a run, without what the frame store lacks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from petvr.data.datasets import Dataset
from petvr.data.datasets.video_state import VideoState
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.result import Data, data_class
from petvr.spec import RunSpec
from petvr.training import missing
from petvr.training.missing import Present


@dataclass(frozen=True)
class Checked:
    """What is known of a data set beside its frame store; split names are `train` and `test`."""

    identity: Callable[[Iterable[str]], str] = lambda left_out: ""  # of the data without the videos left out
    lock: str = ""  # the identity that was frozen
    captions: Mapping[str, str] = field(default_factory=dict)  # split -> Split.digest() that was checked
    usable: Mapping[str, frozenset[str]] = field(default_factory=dict)  # split -> videos of a lock; {}: any
    status: Mapping[str, str] = field(default_factory=dict)  # video -> why it cannot be used, where known


@dataclass(frozen=True)
class Splits:
    train: Present
    test: Present
    trains: bool = True  # False: the run is evaluated as it is, and what is missing of `train` changes nothing
    checked: Checked = Checked()

    def digest(self) -> str:
        """Of ids and captions of both splits as used; equal for all cells that may stand in one table."""
        return hashlib.sha256((self.train.split.digest() + self.test.split.digest()).encode()).hexdigest()[:16]

    def data(self, world: str, frames_digest: str) -> Data:
        train, test = len(self.train.split.videos), len(self.test.split.videos)
        official = self.train.official if self.trains else 0
        return Data(
            world=world,
            digest=self.digest(),
            frames_digest=frames_digest,
            train_videos=train,
            train_videos_official=self.train.official,
            test_videos=test,
            test_videos_official=self.test.official,
            test_captions=len(self.test.split.captions),
            missing=[*self.test.missing, *self.train.missing],
            why={name: self._why(part) for name, part in (("test", self.test), ("train", self.train)) if part.missing},
            data_class=data_class((test, self.test.official), (train, official)),
            manifest=self.identity(),
            frozen=bool(self.checked.lock),
        )

    def identity(self) -> str:
        return self.checked.identity([*self.train.missing, *self.test.missing])

    def _why(self, part: Present) -> dict[str, int]:
        """Beside what was known before, only decoding can have failed."""
        states = (self.checked.status.get(video, VideoState.UNDECODABLE.value) for video in part.missing)
        return dict(sorted(Counter(states).items()))


def open_splits(
    spec: RunSpec, dataset: Dataset, frames: FrameStore, policy: str, checked: Checked | None = None
) -> Splits:
    """Both splits against the store, which must have been made with the recipe's sampler and number of frames.

    An evaluation needs the test videos alone: missing training videos are then recorded under either policy. Raises
    PetvrError also where captions or videos are not those that were checked and frozen.
    """
    checked = checked or Checked()
    recipe = spec.recipe
    for key in ("sampler", "frames"):
        if getattr(frames, key) != getattr(recipe, key):
            raise PetvrError(f"{frames.path}: {key} {getattr(frames, key)}, the recipe asks for {getattr(recipe, key)}")
    ids, where = set(frames.ids), str(frames.path)
    official = dataset.official or {}

    def one(name: str, policy: str, needed: bool) -> Present:
        count = official.get(name, (0, 0))[0]
        split = dataset.split(name)
        if checked.captions.get(name, split.digest()) != split.digest():
            raise PetvrError(
                f"{dataset.root}: the {name} split of {dataset.name} is not the one that was checked; "
                f"`petvr data check {dataset.name}` says what changed"
            )
        return missing.present(split, allowed(name), frames.problems, policy, where, count, needed)

    def allowed(name: str) -> set[str]:
        """What the store has of what a lock allows; a store that lacks a frozen video is an error, not a gap."""
        if name not in checked.usable:
            return ids
        lacking = sorted(checked.usable[name] - ids)
        if lacking and (spec.train or name == "test"):
            reason = frames.problems.get(lacking[0], "not in the store")
            raise PetvrError(
                f"{where}: lacks {len(lacking)} {name} videos that were frozen as readable, the first is "
                f"'{lacking[0]}' ({reason}); build the frames again, or freeze what is there: "
                f"petvr data freeze {dataset.name} --accept"
            )
        return ids & checked.usable[name]

    train = one("train", policy if spec.train else "record", spec.train)
    splits = Splits(train, one("test", policy, True), spec.train, checked)
    if checked.lock and splits.identity() != checked.lock:
        raise PetvrError(
            f"{dataset.root}: {dataset.name} is not as it was frozen ({splits.identity()}, frozen {checked.lock}); "
            f"`petvr data check {dataset.name}` says what differs"
        )
    return splits
