"""The training and test split of a run, without what the frame store lacks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from petvr.datasets import Dataset
from petvr.errors import PetvrError
from petvr.frames.store import FrameStore
from petvr.result import Data, data_class
from petvr.spec import RunSpec
from petvr.training import missing
from petvr.training.missing import Present


@dataclass(frozen=True)
class Splits:
    train: Present
    test: Present
    trains: bool = True  # False: the run is evaluated as it is, and what is missing of `train` changes nothing

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
            missing=[*self.train.missing, *self.test.missing],
            data_class=data_class((test, self.test.official), (train, official)),
        )


def open_splits(spec: RunSpec, dataset: Dataset, frames: FrameStore, policy: str) -> Splits:
    """Both splits against the store, which must have been made with the recipe's sampler and number of frames.

    An evaluation needs the test videos alone: missing training videos are then recorded under either policy.
    """
    recipe = spec.recipe
    for key in ("sampler", "frames"):
        if getattr(frames, key) != getattr(recipe, key):
            raise PetvrError(f"{frames.path}: {key} {getattr(frames, key)}, the recipe asks for {getattr(recipe, key)}")
    ids, where = set(frames.ids), str(frames.path)
    official = dataset.official or {}

    def one(name: str, policy: str, needed: bool) -> Present:
        count = official.get(name, (0, 0))[0]
        return missing.present(dataset.split(name), ids, frames.problems, policy, where, count, needed)

    return Splits(one("train", policy if spec.train else "record", spec.train), one("test", policy, True), spec.train)
