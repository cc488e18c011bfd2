"""Where a patch looks: RAP's figures 1 and 5, vanilla against asynchronous self-attention of one trained run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from petvr.errors import PetvrError
from petvr.search.opened import OpenedRun


class PatchMaps(NamedTuple):
    """Cosines [F, P] of one patch's query with the keys of all frames, in the last block."""

    frame: int
    patch: int
    vanilla: np.ndarray
    asynchronous: np.ndarray


@torch.inference_mode()
def patch_maps(run: OpenedRun, video: str, caption: str, sentences: Tensor | None) -> PatchMaps:
    """The patch of the middle frame whose feature is nearest to the caption. Vanilla: the offsets of ASA set to zero.

    Raises PetvrError for a run without asynchronous attention.
    """
    adapted = run.model.adapted
    offsets = [
        parameter
        for name, parameter in adapted.named_parameters()
        if ("predictors." in name and ".up." in name) or ".asa.shared." in name
    ]
    if not offsets:
        raise PetvrError(f"{run.result.id}: no asynchronous attention; it comes with the methods rap and asa")
    pixels, mask = (torch.from_numpy(part).to(run.device) for part in run.frames.get([video]))
    frames = int(mask.sum())
    recorded: list[tuple[Tensor, Tensor]] = []

    def record(qkv: tuple[Tensor, Tensor, Tensor], _: Any) -> tuple[Tensor, Tensor, Tensor]:
        recorded.append((qkv[0][:frames, 1:].float(), qkv[1][:frames, 1:].float()))
        return qkv

    adapted.inserts.add("vision", "qkv", record, [adapted.clip.config.vision.layers - 1])
    text = run.model.encode_texts(run.texts([caption]).rows(torch.arange(1)).to(run.device))["text"]
    _, patches = adapted.encode_patches(adapted.clip.normalise(pixels), mask, sentences)
    middle = frames // 2
    near = torch.nn.functional.cosine_similarity(patches[0, middle].float(), text.float().flatten()[None], dim=-1)
    patch = int(near.argmax())
    recorded.clear()
    run.model.encode_videos(pixels, mask, sentences)
    with _zeroed(offsets):
        run.model.encode_videos(pixels, mask, sentences)
    asynchronous, vanilla = (
        torch.nn.functional.cosine_similarity(q[middle, patch], k, dim=-1).cpu().numpy() for q, k in recorded
    )
    return PatchMaps(middle, patch, vanilla, asynchronous)


@contextmanager
def _zeroed(parameters: list[torch.nn.Parameter]) -> Iterator[None]:
    kept = [parameter.data.clone() for parameter in parameters]
    for parameter in parameters:
        parameter.data.zero_()
    try:
        yield
    finally:
        for parameter, values in zip(parameters, kept, strict=True):
            parameter.data.copy_(values)
