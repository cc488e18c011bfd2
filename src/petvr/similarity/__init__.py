"""What turns frame and text features into a score: one file per similarity. Nothing here imports torch until asked.

A file holds VERSION and settings as a method's does, and `make_head(settings, build)`, which returns a
`_head.Similarity`: forward(text [N, E], frames [M, F, E], mask [M, F], words=..., ...) -> [N, M], before
exp(logit_scale).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petvr.errors import PetvrError
from petvr.registry import DeclaredFile, Registry

if TYPE_CHECKING:
    import torch

    from petvr.clip.towers import Clip
    from petvr.similarity._head import Similarity

REGISTRY = Registry("similarity", "petvr.similarity", Path(__file__).parent)


def available() -> list[str]:
    """The names of all similarities."""
    return REGISTRY.available()


def declared(name: str) -> DeclaredFile:
    """What a similarity's file says of itself: version, and settings with bounds and sources."""
    return REGISTRY.declared(name)


def version(name: str) -> int:
    return declared(name).version


def defaults(name: str) -> dict[str, Any]:
    return declared(name).defaults


def settings(name: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting. PetvrError for an unknown key (with the nearest one) and for a value that is not allowed."""
    return REGISTRY.complete(name, setting)


def build_similarity(
    name: str,
    setting: Mapping[str, Any],
    embed_dim: int,
    generator: torch.Generator | None = None,
    *,
    clip: Clip | None = None,
    frames: int = 12,
    words: int = 77,
) -> Similarity:
    """The module; its parameters, if it has any, are the part "head".

    `clip` is what heads start from that begin as parts of CLIP (None: they are drawn at random); frames and words are
    the most of each that will come. Everything drawn comes from `generator`; the global one is left alone.
    Raises PetvrError for unknown names and settings.
    """
    import torch

    from petvr.similarity._head import HeadContext

    complete = settings(name, setting)
    module = REGISTRY.module(name)
    if not hasattr(module, "make_head"):
        raise PetvrError(f"{module.__file__}: no `make_head(settings, build)`, which returns a Similarity")
    seed = 0 if generator is None else int(torch.randint(2**62, (), generator=generator, device="cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return module.make_head(REGISTRY.typed(name, complete), HeadContext(embed_dim, frames, words, clip))
