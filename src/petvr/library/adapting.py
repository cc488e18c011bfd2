"""`petvr.adapt`: CLIP under a method as an nn.Module, for a training loop of one's own."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from petvr import methods
from petvr.clip import weights
from petvr.clip.config import from_hf
from petvr.clip.tokenizer import Tokenizer, load_tokenizer
from petvr.clip.towers import Clip
from petvr.errors import PetvrError
from petvr.library.backbone import HUB_ID, brought_folder
from petvr.library.given import given_path, given_whole
from petvr.methods._adapted import Adapted
from petvr.training.determinism import torch_generator

if TYPE_CHECKING:
    from transformers import CLIPModel


def adapt_clip(
    clip: str | PathLike[str] | CLIPModel | Clip,
    method: str,
    *,
    frames: int = 12,
    words: int = 77,
    seed: int = 0,
    train_logit_scale: bool | None = None,
    **setting: bool | int | float | str,
) -> Adapted:
    """CLIP's two towers with a method in them; what trains has requires_grad, all else is frozen.

    clip: a CLIPModel folder, a hub id, or a model in memory, whose weights are copied. method, setting: a file of
    petvr.methods or several joined by +, and their settings (docs/methods.md). frames, words: the most that will come.
    train_logit_scale: None leaves it to the method. The module has `encode_texts(ids)`, `encode_frames(pixels, mask)`,
    `normalise(pixels)`, `trainable()`, `save`, `load`, and, where the CLIP has a tokenizer beside it, `tokenize`.
    Raises PetvrError for an unknown method or setting, and for what is no CLIP.
    """
    frames, words, seed = given_whole("frames", frames), given_whole("words", words), given_whole("seed", seed, 0)
    if not isinstance(method, str):
        raise PetvrError(f"method: {method!r:.60} given, allowed: a name, or several joined by +")
    if train_logit_scale not in (None, True, False):
        raise PetvrError(f"train_logit_scale: {train_logit_scale!r:.60} given, allowed: True, False or None")
    methods.settings(method, setting)  # a misspelt one is said before weights are read
    own, tokenize = _clip_of(clip)
    generator = torch_generator(seed, "method")
    adapted = methods.adapt(
        own, method, setting, frames=frames, words=words, generator=generator, train_logit_scale=train_logit_scale
    )
    adapted.tokenize = tokenize
    return adapted


def _clip_of(clip: str | PathLike[str] | CLIPModel | Clip) -> tuple[Clip, Tokenizer | None]:
    if isinstance(clip, str | PathLike):
        folder = given_path("clip", clip)
        if not folder.is_dir():
            if not HUB_ID.fullmatch(str(clip)):
                raise PetvrError(f"{clip}: no folder of a CLIPModel, and no hub id")
            folder = brought_folder(str(clip))
        return weights.load_clip(folder), load_tokenizer(folder)
    if isinstance(clip, Clip):
        geometry, state = clip.config, clip.state_dict()
    elif isinstance(clip, torch.nn.Module) and getattr(getattr(clip, "config", None), "model_type", "") == "clip":
        geometry, state = from_hf(clip.config.to_dict()), clip.state_dict()
    else:
        raise PetvrError(f"{type(clip).__name__} is no CLIP; allowed: a folder, a hub id, transformers' CLIPModel")
    return weights.filled_clip(geometry, state, Path(type(clip).__name__)), None
