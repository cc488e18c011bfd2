"""What turns frame and text features into a score: one file per similarity. Nothing here imports torch until asked.

A file holds VERSION, DEFAULTS, CHOICES as a method's does, and `build(setting, embed_dim, generator)`, which
returns a module with forward(text [N, E], frames [M, F, E], mask [M, F]) -> [N, M], before exp(logit_scale).
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petvr.errors import PetvrError, unknown

if TYPE_CHECKING:
    import torch

HERE = Path(__file__).parent


def NAMES() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def version(name: str) -> int:
    return constants(name)["VERSION"]


def defaults(name: str) -> dict[str, Any]:
    return dict(constants(name)["DEFAULTS"])


@cache
def constants(name: str) -> dict[str, Any]:
    """The literal constants of a similarity's file, read without importing it."""
    if name not in NAMES():
        raise unknown("similarity", name, NAMES())
    found: dict[str, Any] = {}
    for node in ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id in ("VERSION", "DEFAULTS"):
            found[target.id] = ast.literal_eval(node.value)
    return found


def build(name: str, setting: dict[str, Any], embed_dim: int, generator: torch.Generator | None = None) -> Any:
    """The module; its parameters, if it has any, are the part "head". PetvrError for unknown names and settings."""
    from importlib import import_module
    from types import SimpleNamespace

    complete = defaults(name)
    for key, value in setting.items():
        if key not in complete:
            raise unknown("setting", key, complete, f"similarity '{name}'")
        if isinstance(complete[key], float) and type(value) is int:
            value = float(value)
        if type(value) is not type(complete[key]):
            kind = type(complete[key]).__name__
            raise PetvrError(f"similarity '{name}': setting '{key}': {value!r} given, allowed: {kind}")
        complete[key] = value
    return import_module(f"petvr.similarity.{name}").build(SimpleNamespace(**complete), embed_dim, generator)
