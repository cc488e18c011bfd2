"""Which captions and videos meet in which batch: a pure function of seed, epoch and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from petvr.errors import PetvrError, unknown
from petvr.training import seeds

POLICIES = ("all_pairs", "one_per_video")
ORDERS = ("by_seed", "fixed")


@dataclass(frozen=True)
class Batch:
    """Sample b is caption `captions[b]` with its video; `videos` are the distinct ones, `place[b]` the sample's."""

    captions: np.ndarray
    videos: np.ndarray
    place: np.ndarray


class Batches:
    """The batches of a whole run by number, so that a resumed run sees exactly the ones that are left.

    all_pairs: an epoch visits every (video, caption). one_per_video: every video once, with a caption drawn per
    epoch from the run's seed. data_order `fixed` shuffles every run alike (CLIP4Clip's sampler never looks at the
    seed); the drawn captions follow the seed in both (a guess: CLIP4Clip's generators of captions are seeded).
    """

    def __init__(
        self, owner: Sequence[int], *, policy: str, order: str, batch: int, drop_last: bool, seed: int
    ) -> None:
        if policy not in POLICIES:
            raise unknown("caption policy", policy, POLICIES, "recipe.captions")
        if order not in ORDERS:
            raise unknown("data order", order, ORDERS, "recipe.data_order")
        self.owner = np.asarray(owner, dtype=np.int64)
        self.policy, self.order, self.batch, self.seed = policy, order, batch, seed
        self.by_video = np.split(
            np.argsort(self.owner, kind="stable"), np.cumsum(np.bincount(self.owner))[:-1] if len(self.owner) else []
        )
        self.by_video = [captions for captions in self.by_video if len(captions)]
        samples = len(self.owner) if policy == "all_pairs" else len(self.by_video)
        self.per_epoch = samples // batch if drop_last else -(-samples // batch)
        if self.per_epoch == 0:
            raise PetvrError(f"recipe.batch {batch} is larger than the {samples} training samples of an epoch")
        self._epoch = (-1, np.empty(0, np.int64))

    def at(self, step: int) -> Batch:
        """The batch of step `step`, counted from 0 over the whole run."""
        epoch, number = divmod(step, self.per_epoch)
        captions = self._captions(epoch)[number * self.batch : (number + 1) * self.batch]
        videos, place = np.unique(self.owner[captions], return_inverse=True)
        return Batch(captions, videos, place)

    def _captions(self, epoch: int) -> np.ndarray:
        """The epoch's captions in their order."""
        made = self._epoch
        if made[0] != epoch:
            if self.policy == "all_pairs":
                samples = np.arange(len(self.owner))
            else:
                sizes = np.array([len(captions) for captions in self.by_video])
                drawn = seeds.arrays(self.seed, "captions", epoch).integers(0, sizes)
                samples = np.array([captions[i] for captions, i in zip(self.by_video, drawn, strict=True)])
            shuffle = seeds.arrays(self.seed, "order", epoch)
            if self.order == "fixed":
                shuffle = seeds.arrays(0, "fixed order", epoch)
            self._epoch = made = (epoch, samples[shuffle.permutation(len(samples))])
        return made[1]


def evaluation_steps(per_epoch: int, epochs: int, evaluations: int) -> dict[int, int]:
    """Steps taken -> epoch (from 1), where the test split is ranked: evenly spread, each epoch's end included.

    `evaluations` 0 ranks only at the end of the training. An epoch of fewer steps than evaluations is ranked after
    each step.
    """
    if evaluations == 0:
        return {per_epoch * epochs: epochs} if epochs else {}
    found = {}
    for epoch in range(epochs):
        for part in range(1, evaluations + 1):
            taken = -(-per_epoch * part // evaluations)
            found[epoch * per_epoch + taken] = epoch + 1
    return found
