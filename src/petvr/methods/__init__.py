"""How CLIP is adapted: one file per method. Nothing here imports torch until a model is asked for.

A method's file holds VERSION (raised when its results change), DEFAULTS (every setting and its default), CHOICES
(the allowed values of named settings), IDENTITY (what it does to CLIP's features before any training: "exact",
"near" or "none"; {"vision": ..., "text": ...} where the towers differ), SIMILARITY where it cannot do without one,
and `build(clip, setting, made)`, which returns a Declaration. A method that is made of others names them in PARTS: it
takes their settings over, and its version goes up with theirs. Files whose name begins with an underscore are no
methods.
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
    from petvr.methods._adapted import Adapted

HERE = Path(__file__).parent
CONSTANTS = ("VERSION", "DEFAULTS", "CHOICES", "IDENTITY", "SIMILARITY", "PARTS")


def NAMES() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def split(method: str) -> list[str]:
    """`vop_f+vop_p` -> its parts, each a known name and none twice."""
    parts = method.split("+")
    for part in parts:
        if part not in NAMES():
            raise unknown("method", part, NAMES())
    if len(set(parts)) != len(parts):
        raise PetvrError(f"method '{method}': a part stands there twice")
    return parts


def version(name: str) -> int:
    return constants(name)["VERSION"]


def similarity(method: str) -> str | None:
    """The similarity that a method, or a part of a composition, cannot do without; None: any will do."""
    return next((needed for part in split(method) if (needed := constants(part)["SIMILARITY"])), None)


def defaults(name: str) -> dict[str, Any]:
    """Every setting of a method with its default."""
    return dict(constants(name)["DEFAULTS"])


@cache
def constants(name: str) -> dict[str, Any]:
    """The literal constants of a method's file, read without importing it."""
    if name not in NAMES():
        raise unknown("method", name, NAMES())
    path = HERE / f"{name}.py"
    found: dict[str, Any] = {"DEFAULTS": {}, "CHOICES": {}, "SIMILARITY": None, "PARTS": ()}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in CONSTANTS:
            found[node.targets[0].id] = ast.literal_eval(node.value)
    for part in map(constants, reversed(found["PARTS"])):
        for kind in ("DEFAULTS", "CHOICES"):
            found[kind] = part[kind] | found[kind]
        found["VERSION"] += part["VERSION"] - 1
    return found


def settings(method: str, setting: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Part of a composition -> its complete settings.

    A key goes to every part that has it; `part.key` reaches one part alone. Raises PetvrError for a key that no
    part has (with the nearest one), for a wrong type, a negative number or a value that is not among the choices.
    """
    parts = split(method)
    complete = {part: defaults(part) for part in parts}
    known = sorted({key for values in complete.values() for key in values})
    for key, value in setting.items():
        part, _, bare = key.rpartition(".")
        if part and part not in parts:
            raise unknown("part", part, parts, f"method '{method}': setting '{key}'")
        owners = [name for name in ([part] if part else parts) if bare in complete[name]]
        if not owners:
            raise unknown("setting", key, known, f"method '{method}'")
        for name in owners:
            complete[name][bare] = _checked(name, bare, value, defaults(name)[bare])
    return complete


def _checked(method: str, key: str, value: Any, default: Any) -> Any:
    where = f"method '{method}': setting '{key}'"
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise PetvrError(f"{where}: {value!r} given, allowed: {type(default).__name__} (default {default!r})")
    choices = constants(method)["CHOICES"].get(key)
    if choices is not None and value not in choices:
        raise unknown("value", value, choices, where)
    if choices is None and isinstance(value, int | float) and value < 0:
        raise PetvrError(f"{where}: {value} given, allowed: 0 or more")
    return value


def adapt(
    clip: Clip,
    method: str,
    setting: dict[str, Any],
    *,
    frames: int,
    words: int,
    generator: torch.Generator,
    train_logit_scale: bool | None = None,
) -> Adapted:
    """`clip` under a method or a composition: takes the CLIP over, and sets requires_grad of all its parameters.

    frames: the F that temporal methods are built for; words: the longest text that will come, [SOT] and EOT
    included. Everything drawn at random comes from `generator`. `train_logit_scale` None leaves the logit scale to
    the method (CLIP4Clip's `full` trains it, the frozen-CLIP methods do not); True or False decides it.
    Raises PetvrError for an unknown method or setting.
    """
    from petvr.methods import _adapted

    complete = settings(method, setting)
    return _adapted.build(clip, complete, frames, words, generator, train_logit_scale)
