"""Named arithmetic of a run: what is computed in which type. Weights and optimiser moments are fp32 in both modes."""

from __future__ import annotations

import contextlib

import torch

from petvr.errors import unknown

MODES = ("fp32", "bf16")


def check(mode: str) -> None:
    if mode not in MODES:
        raise unknown("precision", mode, MODES, "recipe.precision")


def forward(mode: str, device: torch.device) -> contextlib.AbstractContextManager:
    """Around the towers, in training and evaluation: `bf16` is autocast, `fp32` is plain.

    Similarity, loss and ranks are outside: always fp32.
    """
    check(mode)
    if mode == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
