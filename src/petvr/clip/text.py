"""Token ids: where a text ends, and how it is cut."""

from __future__ import annotations

import torch
from torch import Tensor


def first_eot(ids: Tensor, eot: int) -> Tensor:
    """ids [B, W] -> [B], the first position of `eot` (0 in a row that has none)."""
    return (ids == eot).int().argmax(dim=-1)


def fit(ids: Tensor, length: int, eot: int) -> Tensor:
    """ids [B, W] in at most `length` columns; a text that loses its EOT by that gets it in the last one."""
    if ids.shape[1] <= length:
        return ids
    kept = ids[:, :length]
    last = torch.where((kept == eot).any(dim=1), kept[:, -1], torch.full_like(kept[:, -1], eot))
    return torch.cat([kept[:, :-1], last[:, None]], dim=1)


def crop(ids: Tensor, eot: int) -> Tensor:
    """ids [B, W] without the columns that lie behind every text's EOT: cheaper, and the same features."""
    return ids[:, : int(first_eot(ids, eot).max()) + 1]
