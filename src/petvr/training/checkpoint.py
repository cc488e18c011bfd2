"""Where a run stands, as one safetensors file with a checksum and the identity of the run it belongs to.

Every file is complete and atomic; the two newest are kept. A file that is truncated, altered or of another run is
named in a warning and passed over, so that a run continues from the one before or starts again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from petvr import atomic
from petvr.errors import PetvrError

FORMAT = 1
KEPT = 2
PATTERN = "step-*.safetensors"


@dataclass
class State:
    """`tensors` by name; `values` is JSON."""

    step: int
    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


def path_of(folder: Path, step: int, identity: dict[str, str]) -> Path:
    """The name carries the identity, so that a run under a changed recipe does not disturb the other's files."""
    mark = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return folder / f"step-{step:09d}-{mark}.safetensors"


def paths(folder: Path, identity: dict[str, str]) -> list[Path]:
    """This identity's files, the newest first."""
    return sorted(folder.glob(path_of(folder, 0, identity).name.replace(f"{0:09d}", "*")), reverse=True)


def save(folder: Path, state: State, identity: dict[str, str]) -> Path:
    """Write atomically and drop all but the newest KEPT. PetvrError naming the file if that fails: none is lost."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    values = {"format": FORMAT, "identity": identity, "step": state.step, "values": state.values}
    text = json.dumps(values, sort_keys=True)
    path = path_of(folder, state.step, identity)
    with atomic.replacing(path) as temporary:
        _write(temporary, tensors, {"petvr": text, "sha256": checksum(tensors, text)})
    for old in paths(folder, identity)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load(path: Path, identity: dict[str, str]) -> State:
    """Raises PetvrError with what is wrong: unreadable, damaged, or another run's."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own errors
        raise PetvrError(f"{path}: truncated or no checkpoint ({str(error).splitlines()[0]})") from error
    text = metadata.get("petvr", "")
    if checksum(tensors, text) != metadata.get("sha256"):
        raise PetvrError(f"{path}: damaged (its checksum does not match)")
    values = json.loads(text)
    if values["format"] != FORMAT:
        raise PetvrError(f"{path}: format {values['format']}, this version reads {FORMAT}")
    for key, expected in identity.items():
        if values["identity"].get(key) != expected:
            raise PetvrError(f"{path}: of another run ({key} {values['identity'].get(key)}, here {expected})")
    return State(values["step"], tensors, values["values"])


def newest(folder: Path, identity: dict[str, str], warn: Callable[[str], None]) -> State | None:
    """The newest checkpoint that is whole and belongs to this run; `warn` gets one line per file passed over.

    Files that carry this run's name but cannot be used are renamed to `.rejected`.
    """
    _remove_halves(folder)
    mine = paths(folder, identity)
    others = sorted(set(folder.glob(PATTERN)) - set(mine), reverse=True)
    if others:
        warn(
            f"warning: {others[0]}: of another recipe, data or weights ({_difference(others[0], identity)}); left alone"
        )
    for number, path in enumerate(mine):
        try:
            return load(path, identity)
        except PetvrError as error:
            rest = mine[number + 1 :]
            warn(f"warning: {error}; {f'continuing with {rest[0].name}' if rest else 'starting from the beginning'}")
            path.rename(path.with_suffix(".rejected"))
    return None


def checksum(tensors: dict[str, Tensor], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy()))
    return total.hexdigest()


def clear(folder: Path) -> None:
    """Remove the state of a run that has its result."""
    _remove_halves(folder)
    for path in [*folder.glob(PATTERN), *folder.glob("step-*.rejected")]:
        path.unlink(missing_ok=True)


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    from safetensors.torch import save_file

    save_file(tensors, path, metadata=metadata)


def _remove_halves(folder: Path) -> None:
    """Temporary files of a writer that was killed."""
    for path in folder.glob(".step-*.part"):
        path.unlink(missing_ok=True)


def _difference(path: Path, identity: dict[str, str]) -> str:
    try:
        load(path, identity)
    except PetvrError as error:
        return str(error).partition(": ")[2]
    return "under another name"
