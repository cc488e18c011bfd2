"""Frames of a split's videos on the run's device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from petvr.errors import PetvrError


class Reader:
    """Reads videos of one split by number. The store gives uint8 and a mask; normalisation happens on the device."""

    def __init__(self, store, ids: Sequence[str], device: torch.device) -> None:
        self.store, self.ids, self.device = store, list(ids), device

    @property
    def videos(self) -> int:
        return len(self.ids)

    @property
    def frames(self) -> int:
        return self.store.frames

    def read(self, videos: np.ndarray) -> tuple[Tensor, Tensor]:
        """uint8 [B, F, 3, S, S] and bool [B, F] on the device. Raises PetvrError for a video without a valid frame."""
        pixels, mask = self.store.get([self.ids[video] for video in videos])
        empty = np.flatnonzero(~mask.any(axis=1))
        if len(empty):
            raise PetvrError(f"video '{self.ids[videos[empty[0]]]}' has no frame in the store")
        return self._move(torch.from_numpy(pixels)), self._move(torch.from_numpy(mask))

    def _move(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)
