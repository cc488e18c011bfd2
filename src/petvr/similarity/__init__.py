"""What turns frame and text features into a score: one file per similarity. Nothing here imports torch until asked.

A file holds VERSION, DEFAULTS as a method's does, and `build(setting, made)`, which returns a `_head.Similarity`:
forward(text [N, E], frames [M, F, E], mask [M, F], words=..., ...) -> [N, M], before exp(logit_scale).
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petvr.errors import PetvrError, unknown

if TYPE_CHECKING:
    import torch

    from petvr.clip.towers import Clip

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


def build(
    name: str,
    setting: dict[str, Any],
    embed_dim: int,
    generator: torch.Generator | None = None,
    *,
    clip: Clip | None = None,
    frames: int = 12,
    words: int = 77,
) -> Any:
    """The module; its parameters, if it has any, are the part "head".

    `clip` is what heads start from that begin as parts of CLIP (None: they are drawn at random); frames and words are
    the most of each that will come. Everything drawn comes from `generator`; the global one is left alone.
    Raises PetvrError for unknown names and settings.
    """
    from importlib import import_module
    from types import SimpleNamespace

    import torch

    from petvr.similarity._head import Made

    chosen = SimpleNamespace(**_complete(name, setting))
    module = import_module(f"petvr.similarity.{name}")
    seed = 0 if generator is None else int(torch.randint(2**62, (), generator=generator, device="cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return module.build(chosen, Made(embed_dim, frames, words, clip))


def _complete(name: str, setting: dict[str, Any]) -> dict[str, Any]:
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
    return complete
