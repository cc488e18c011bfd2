"""The CLIP below a shared model: what it is called, where it is looked for, and whether it is the right one."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from petvr import atomic
from petvr.clip import weights
from petvr.clip.towers import Clip
from petvr.errors import PetvrError, first_line
from petvr.library.given import given_path

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
PUBLISHED = {
    "vit-b-32": "openai/clip-vit-base-patch32",
    "vit-b-16": "openai/clip-vit-base-patch16",
    "vit-l-14": "openai/clip-vit-large-patch14",
}


class Backbone(BaseModel):
    """Which CLIP a model was trained on. digest: of its weights folder; tensors: of its numbers alone, the same whoever
    wrote the folder ("" where nobody has read them)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    hub_id: str = ""
    digest: str
    tensors: str = ""


def find_backbone(backbone: Backbone, given: str | os.PathLike[str] | None, beside: Path | None) -> tuple[Clip, Path]:
    """The CLIP and its folder: `given` (a folder or a hub id), else below the results a run lies in, else below those
    of the working folder, else brought from the hub and kept.

    Raises PetvrError where none of them is the CLIP that the model was trained on.
    """
    if given is not None:
        folder = given_path("backbone", given)
        if not folder.is_dir():
            if not HUB_ID.fullmatch(str(given)):
                raise PetvrError(f"backbone {given}: no such folder, and no hub id")
            folder = brought_folder(str(given))
        return _checked(folder, backbone), folder
    near = [root / "weights" / backbone.name for root in (beside, Path("results")) if root is not None]
    folders = [folder for folder in dict.fromkeys(near) if (folder / "config.json").is_file()]
    reasons = []
    for folder in folders:
        try:
            return _checked(folder, backbone), folder
        except PetvrError as error:
            reasons.append(error)
    if reasons:
        raise reasons[0]
    if not backbone.hub_id:
        raise PetvrError(
            f"backbone {backbone.name}: not at {' or '.join(map(str, near))}, and no hub id of it is known; "
            "pass backbone=FOLDER"
        )
    folder = brought_folder(backbone.hub_id)
    return _checked(folder, backbone), folder


def _checked(folder: Path, backbone: Backbone) -> Clip:
    clip = weights.load_clip(folder)
    if (digest := weights.digest(folder)) == backbone.digest:
        return clip
    if not backbone.tensors or tensors_digest(dict(clip.named_parameters())) != backbone.tensors:
        raise PetvrError(f"{folder}: other weights than the run was trained on ({digest}, then {backbone.digest})")
    return clip


def brought_folder(hub_id: str) -> Path:
    """From the hub to a folder of the user's cache, once."""
    cache = atomic.user_cache()
    if cache is None:
        raise PetvrError(f"no home folder is known to keep {hub_id} in; set HOME or XDG_CACHE_HOME")
    folder = cache / "weights" / hub_id.replace("/", "--")
    if not (folder / "config.json").is_file():
        try:
            with atomic.file_lock(folder.with_suffix(".lock"), "is being brought", wait=lambda _: None):
                if not (folder / "config.json").is_file():
                    weights.fetch(hub_id, folder)
        except PetvrError as error:
            raise PetvrError(f"{first_line(error)}; pass the folder where this CLIP's weights lie instead") from error
    return folder


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Changes with any name, shape or number, not with the type they are stored in."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().to("cpu", torch.float32).contiguous()
        total.update(f"\n{name} {tuple(values.shape)}\n".encode())
        total.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]
