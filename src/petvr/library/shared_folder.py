"""petvr.json and adapter.safetensors: what a folder holds that somebody shares. Nothing of it is ever executed.

The same facts stand, as texts, in the metadata of adapter.safetensors, so that a lone file says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from petvr import atomic
from petvr.errors import PetvrError, first_line
from petvr.library.backbone import Backbone
from petvr.result import StoredFile
from petvr.spec import RunSpec, method_id
from petvr.text_files import read_json, typed

FORMAT = 1
DESCRIPTION, ADAPTER, CARD = "petvr.json", "adapter.safetensors", "README.md"


class SharedModel(BaseModel):
    """petvr.json: all that `petvr.load` needs beside the tensors. backbone None: the folder itself is the CLIP."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    petvr: str
    spec: RunSpec
    backbone: Backbone | None
    image_size: int = Field(gt=0)
    tokenizer: str  # digest of the vocabulary and the merges
    data: str  # digest of the captions and ids behind the run's ranks
    adapter: StoredFile | None
    sentences: list[str] = []  # the candidates of methods that look at a fixed set of them
    looks_at_sentences: bool = False  # while it reads a video
    peft: bool = False  # the tensors are in PEFT's format
    merged_from: str = ""  # the run whose method was folded into the CLIP of this folder
    merged_into: str = ""  # the hub id of that CLIP

    def write(self, folder: Path) -> None:
        atomic.write_json(folder / DESCRIPTION, atomic.sealed(self.model_dump(mode="json")))

    @classmethod
    def read(cls, folder: Path) -> SharedModel:
        """Raises PetvrError naming the file and the first wrong key."""
        path = folder / DESCRIPTION
        values = read_json(path, dict)
        version = values.get("format")
        if version != FORMAT:
            raise PetvrError(f"{path}: format: {version!r:.40} given, this petvr reads {FORMAT}")
        return typed(cls, atomic.unsealed(values, path), path)

    def metadata(self) -> dict[str, str]:
        """For a file of tensors: what it belongs to."""
        backbone = self.backbone
        return {
            "format": "pt",
            "petvr_format": str(self.format),
            "method": method_id(self.spec.method, self.spec.setting),
            "run": self.spec.id,
            "backbone": "" if backbone is None else f"{backbone.hub_id or backbone.name} {backbone.digest}",
        }


def read_adapter(path: Path, stored: StoredFile) -> dict[str, Tensor]:
    """The tensors, if they are those that petvr.json was written with."""
    if not path.is_file():
        raise PetvrError(f"{path}: no such file, {DESCRIPTION} beside it needs it: half a folder was copied")
    if path.stat().st_size != stored.bytes or atomic.file_sha256(path) != stored.sha256:
        raise PetvrError(f"{path}: altered or damaged, or of another model than {DESCRIPTION} beside it")
    return read_tensors(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file on the CPU; PetvrError naming it where it is damaged or holds NaN."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise PetvrError(f"{path}: no such file: the run's trained tensors are gone; train it again") from error
    except (OSError, SafetensorError) as error:
        raise PetvrError(f"{path}: cannot be read ({first_line(error)})") from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise PetvrError(f"{path}: '{name}' holds NaN or infinity: the run diverged or the file is damaged")
    return tensors


def require_fitting(path: Path, stored: Mapping[str, Tensor], expected: Mapping[str, Any], what: str) -> None:
    """Raises PetvrError with the first name or shape that is on one side only."""
    stated = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    wanted = {name: tuple(shape) for name, shape in expected.items()}
    if stated != wanted:
        name = sorted(stated.items() ^ wanted.items())[0][0]
        raise PetvrError(f"{path}: '{name}' does not fit {what}")
