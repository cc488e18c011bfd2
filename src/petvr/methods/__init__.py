"""How CLIP is adapted: one file per method. Nothing here imports torch until a model is asked for.

A method's file holds VERSION (raised when its results change), IDENTITY (what it does to CLIP's features before any
training: "exact", "near" or "none"; {"vision": ..., "text": ...} where the towers differ), SIMILARITY where it cannot
do without one, OPEN (what no paper and no code says of it), its settings and their rules (petvr.registry says how), and
`declare(settings, build)`, which returns a Declaration (petvr.methods._declare); a method that only trains its
similarity needs none. A method that is made of others names them in PARTS: it takes their settings over, and its
version goes up with theirs. Files whose name begins with an underscore are no methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from petvr.errors import PetvrError, unknown
from petvr.methods._registry import REGISTRY
from petvr.registry import DeclaredFile, typed_word

MOST_AXES = 2  # that one method is tuned along

if TYPE_CHECKING:
    import torch

    from petvr.clip.towers import Clip
    from petvr.methods._adapted import Adapted


def available() -> list[str]:
    """The names of all methods."""
    return REGISTRY.available()


def split(method: str) -> list[str]:
    """`vop_f+vop_p` -> its parts, each a known name and none twice."""
    parts = method.split("+")
    for part in parts:
        declared(part)  # PetvrError for a name that no file has
    if len(set(parts)) != len(parts):
        raise PetvrError(f"method '{method}': a part stands there twice")
    return parts


def declared(name: str) -> DeclaredFile:
    """What a method's file says of itself: version, settings with bounds and sources, similarity, parts."""
    return REGISTRY.declared(name)


def version(name: str) -> int:
    return declared(name).version


def similarity_of(method: str) -> str | None:
    """The similarity that a method, or a part of a composition, cannot do without; None: any will do."""
    return next((needed for part in split(method) if (needed := declared(part).similarity)), None)


def defaults(name: str) -> dict[str, Any]:
    """Every setting of a method with its default."""
    return declared(name).defaults


def settings(
    method: str, setting: Mapping[str, Any], limits: Mapping[str, int] | None = None
) -> dict[str, dict[str, Any]]:
    """Part of a composition -> its complete settings.

    A key goes to every part that has it; `part.key` reaches one part alone. Raises PetvrError for a key that no part
    has (with the nearest one), and for a value that its declaration does not allow. limits: the sizes of a CLIP, as far
    as they are known (petvr.clip.config.settings_limits); then the whole is checked too: defaults, what may not be
    together.
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
            complete[name][bare] = REGISTRY.checked(name, bare, value, limits)
    if limits is not None:
        for name in parts:
            for other, why in declared(name).not_with.items():
                if other in parts:
                    both = " and ".join(sorted((name, other)))
                    raise PetvrError(f"method '{method}': {both} exclude each other; {why}")
        complete = {name: {key: REGISTRY.checked(name, key, value, limits) for key, value in values.items()}
                    for name, values in complete.items()}  # fmt: skip
        for name, values in complete.items():
            REGISTRY.require_rules(name, values, limits)
    return complete


def typed_setting(method: str, written: Mapping[str, str]) -> dict[str, Any]:
    """The words of a run's id in the types of the settings; `settings` refuses what is none."""
    typed: dict[str, Any] = {}
    for key, word in written.items():
        part, _, bare = key.rpartition(".")
        declarations = [declared(name).settings for name in split(method) if part in ("", name)]
        default = next((its[bare].default for its in declarations if bare in its), word)
        typed[key] = typed_word(default, word)
    return typed


def shortest_setting(method: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    """The one way to write a setting: no defaults, and a part's name only where the parts differ."""
    complete, shortest = settings(method, setting), {}
    for key in sorted({key for values in complete.values() for key in values}):
        values = {part: its[key] for part, its in complete.items() if key in its}
        others = {part: value for part, value in values.items() if value != defaults(part)[key]}
        if others and len(set(values.values())) == 1:
            shortest[key] = next(iter(values.values()))
        else:
            shortest |= {f"{part}.{key}": value for part, value in others.items()}
    return shortest


def tuned_axes(method: str) -> dict[str, tuple[Any, ...]]:
    """What is tuned of a method or a composition: a rate -> (), `setting.<key>` -> its values; rates first.

    Raises PetvrError for more than two: all methods are tuned by the same number of trials.
    """
    axes = {key: values for part in split(method) for key, values in declared(part).tune.items()}
    if len(axes) > MOST_AXES:
        raise PetvrError(f"method '{method}': TUNE names {', '.join(axes)}, allowed: {MOST_AXES} together")
    return dict(sorted(axes.items(), key=lambda axis: bool(axis[1])))


def adapt(
    clip: Clip,
    method: str,
    setting: Mapping[str, Any],
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
    from petvr.clip.config import settings_limits
    from petvr.methods import _adapted

    complete = settings(method, setting, settings_limits(clip.config))
    return _adapted.build_adapted(clip, complete, frames, words, generator, train_logit_scale)
