"""What a method's file is written with: settings, what it is built for, what it declares, and one module per block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from petvr.clip.config import ClipConfig, Tower
from petvr.clip.insert import TOWERS, HookContext
from petvr.clip.towers import Clip
from petvr.registry import DeclaredSettings, setting

__all__ = ["BuildContext", "Declaration", "DeclaredSettings", "Hook", "HookContext", "Insert", "per_block", "setting"]

Hook = Callable[[Any, HookContext], Any]


@dataclass(frozen=True)
class Insert:
    """`fn(x, context)` acts at `place` (petvr.clip.insert) of `tower`: "vision", "text" or "both". `layers` are block
    numbers from 0, None means all blocks."""

    tower: str
    place: str
    fn: Hook
    layers: Iterable[int] | None = None


@dataclass(frozen=True)
class Declaration:
    """train: which of CLIP's parameters train, by name; module: what is new (all of it trains); insert: where it acts.

    temporal: the module reads across frames, so masked frames have to be carried along (and ignored) by it.
    needs_texts: where the sentences come from that the vision tower has to be given as `texts` (a pool of
    `asa`); "" where it needs none. stochastic: in training two passes over one video may differ, though no dropout is
    seen.
    """

    train: Callable[[str], bool] = lambda name: False
    module: nn.Module | None = None
    insert: list[Insert] = field(default_factory=list)
    temporal: bool = False
    needs_texts: str = ""
    stochastic: bool = False


@dataclass(frozen=True)
class BuildContext:
    """What a method is built for: the CLIP it adapts, F, the longest text W, where its random numbers come from, and
    the settings of all parts of the composition by name (its own among them), for parts that divide the layers."""

    clip: Clip
    frames: int
    words: int
    generator: torch.Generator
    parts: Mapping[str, DeclaredSettings]

    @property
    def config(self) -> ClipConfig:
        return self.clip.config


def per_block(
    config: ClipConfig, make: Callable[[Tower], nn.Module | nn.Parameter], towers: Iterable[str] = TOWERS
) -> nn.ModuleDict:
    """Tower -> what `make` gives for each of its blocks, read as `blocks[context.tower][context.layer]`."""

    def stack(tower: Tower) -> nn.ModuleList | nn.ParameterList:
        blocks = [make(tower) for _ in range(tower.layers)]
        kind = nn.ParameterList if blocks and isinstance(blocks[0], nn.Parameter) else nn.ModuleList
        return kind(blocks)

    return nn.ModuleDict({name: stack(config.towers[name]) for name in towers})
