"""The training and test split of a run, without what the frame store lacks: an error, or a recorded share with a class
(docs/data_policy.md)."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from petvr.data.datasets import Dataset, Split
from petvr.data.datasets.base import Validation
from petvr.data.datasets.video_state import VideoState
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.result import Data, data_class
from petvr.spec import RunSpec

MissingPolicy = Literal["strict", "record"]
World = Literal["real", "synthetic"]


@dataclass(frozen=True)
class AvailableSplit:
    split: Split  # what is there
    official: int  # videos the split should have
    missing: tuple[str, ...]
    own: bool = True  # False: taken out of the training split


def available_split(
    split: Split,
    ids: set[str],
    problems: Mapping[str, str],
    policy: MissingPolicy,
    where: str,
    official: int,
    needed: bool = True,
) -> AvailableSplit:
    """The split without the videos that the store `where` lacks.

    Raises PetvrError when something is missing and the policy is not `record`, or when nothing is left of a split
    that is `needed`.
    """
    if policy not in get_args(MissingPolicy):
        raise PetvrError(f"missing: '{policy}'; allowed: {', '.join(get_args(MissingPolicy))}")
    missing = tuple(video for video in split.videos if video not in ids)
    if missing and policy != "record":
        reason = problems.get(missing[0], "not in the store")
        raise PetvrError(
            f"{where}: {len(missing)} of {len(split.videos)} {split.name} videos are missing, the first is "
            f"'{missing[0]}' ({reason}); build the frames again, or set missing=record to leave them out and have that "
            "recorded"
        )
    if needed and not split.videos:
        raise PetvrError(f"{where}: the {split.name} split lists no video at all, and this run needs some")
    if needed and len(missing) == len(split.videos):
        raise PetvrError(f"{where}: none of the {len(missing)} {split.name} videos is in the store")
    rest = split.keep(set(split.videos) - set(missing)) if missing else split
    return AvailableSplit(rest, max(official, len(split.videos)), missing)


class SealedSplitRead(PetvrError):
    """Something asked for the test split while values are chosen."""


class SealedSplit:
    """Stands for the test split of a trial: whoever asks it for anything is refused."""

    def __getattr__(self, name: str) -> Any:
        raise SealedSplitRead(f"the test split was asked for `{name}` in tuning, which chooses on validation alone")


def sealed(dataset: Dataset) -> Dataset:
    """The data set without its test split: reading that raises SealedSplitRead."""

    def split(which: str) -> Split:
        return getattr(SealedSplit(), "split") if which == "test" else dataset.split(which)  # noqa: B009 it raises

    copied = copy.copy(dataset)
    copied.split = split  # type: ignore[method-assign]
    return copied


@dataclass(frozen=True)
class DatasetCheck:
    """What is known of a data set beside its frame store; split names are `train` and `test`."""

    identity: Callable[[Iterable[str]], str] = lambda left_out: ""  # of the data without the videos left out
    lock: str = ""  # the identity that was frozen
    captions: Mapping[str, str] = field(default_factory=dict)  # split -> Split.digest() that was checked
    usable: Mapping[str, frozenset[str]] = field(default_factory=dict)  # split -> videos of a lock; {}: any
    status: Mapping[str, str] = field(default_factory=dict)  # video -> why it cannot be used, where known


@dataclass(frozen=True)
class Splits:
    """val: None where the recipe does not select by it; validation: what it is, in words."""

    train: AvailableSplit
    test: Any  # AvailableSplit; in tuning a SealedSplit
    val: AvailableSplit | None = None
    validation: str = ""
    trains: bool = True  # False: the run is evaluated as it is, and what is missing of `train` changes nothing
    checked: DatasetCheck = field(default_factory=DatasetCheck)

    def digest(self) -> str:
        """Of ids and captions of both splits as used; equal for all cells that may stand in one table."""
        return hashlib.sha256((self.train.split.digest() + self.test.split.digest()).encode()).hexdigest()[:16]

    def describe(self, world: World, frames_digest: str) -> Data:
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
            validation=self.validation,
            validation_videos=len(self.val.split.videos) if self.val else 0,
            missing=[video for part in self._parts().values() for video in part.missing],
            why={name: self._why(part) for name, part in self._parts().items() if part.missing},
            data_class=data_class((test, self.test.official), (train, official)),
            manifest=self.identity(),
            frozen=bool(self.checked.lock),
        )

    def identity(self) -> str:
        """Of what runs read whatever their rule: a validation split of its own does not count."""
        held_out = [] if self.val is None or self.val.own else self.val.missing
        return self.checked.identity([*self.train.missing, *self.test.missing, *held_out])

    def _parts(self) -> dict[str, AvailableSplit]:
        parts = {"test": self.test, "train": self.train}
        return parts if self.val is None else parts | {"val": self.val}

    def _why(self, part: AvailableSplit) -> dict[str, int]:
        """Beside what was known before, only decoding can have failed."""
        states = (self.checked.status.get(video, VideoState.UNDECODABLE.value) for video in part.missing)
        return dict(sorted(Counter(states).items()))


def open_splits(
    spec: RunSpec,
    dataset: Dataset,
    frames: FrameStore,
    policy: MissingPolicy,
    checked: DatasetCheck,
    *,
    tuning: bool = False,
) -> Splits:
    """Both splits against the store, made with the recipe's sampler, number of frames and pictures.

    In tuning the test split is a SealedSplit, nothing of its files is read, and what was frozen is asked of the
    training split alone. An evaluation needs the test videos alone: missing training videos are then recorded under
    either policy. Raises PetvrError also where captions or videos are not those that were checked and frozen.
    """
    recipe, dataset = spec.recipe, sealed(dataset) if tuning else dataset
    for key in ("sampler", "frames", "picture"):
        if getattr(frames, key) != getattr(recipe, key):
            raise PetvrError(f"{frames.path}: {key} {getattr(frames, key)}, the recipe asks for {getattr(recipe, key)}")
    ids, where = set(frames.ids), str(frames.path)
    official = dataset.official or {}

    def checked_split(name: str) -> Split:
        split = dataset.split(name)
        if checked.captions.get(name, split.digest()) != split.digest():
            raise PetvrError(
                f"{dataset.root}: the {name} split of {dataset.name} is not the one that was checked; "
                f"`petvr data check {dataset.name}` says what changed"
            )
        return split

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

    def of_official(name: str) -> int:
        return official.get(name, (0, 0))[0]

    train = checked_split("train")
    validation, held_out = None, frozenset[str]()
    if recipe.selection == "best_on_val":
        validation = dataset.validation()
        held_out = validation.left_out
        train = train.keep(set(train.videos) - held_out) if held_out else train
    splits = Splits(
        available_split(
            train, allowed("train") - held_out, frames.problems, policy if spec.train else "record", where,
            max(0, of_official("train") - len(held_out)), spec.train,
        ),
        SealedSplit() if tuning else available_split(
            checked_split("test"), allowed("test"), frames.problems, policy, where, of_official("test")
        ),
        validation and _validation_split(validation, allowed("train" if held_out else "val"), frames, policy),
        validation.kind if validation else "",
        spec.train,
        checked,
    )  # fmt: skip
    if checked.lock and not tuning and splits.identity() != checked.lock:
        raise PetvrError(
            f"{dataset.root}: {dataset.name} is not as it was frozen ({splits.identity()}, frozen {checked.lock}); "
            f"`petvr data check {dataset.name}` says what differs"
        )
    return splits


def _validation_split(
    validation: Validation, ids: set[str], frames: FrameStore, policy: MissingPolicy
) -> AvailableSplit:
    split = validation.split
    if not ids.intersection(split.videos):
        raise PetvrError(
            f"{frames.path}: holds no {split.name} video, and the recipe selects by them (best_on_val); its frames are "
            "made where the configuration says so: rule: best_on_val, or recipe: {default: {selection: best_on_val}}"
        )
    part = available_split(split, ids, frames.problems, policy, str(frames.path), len(split.videos))
    return replace(part, own=not validation.left_out)
