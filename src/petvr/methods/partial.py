"""Partial tuning [Jia et al. 2022], a baseline of VoP: the last block(s) of both towers train.

Only the blocks: the LayerNorm and the projection behind them stay frozen (the count VoP prints says so).
"""

from __future__ import annotations

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, setting

VERSION = 1
IDENTITY = "exact"
TUNE = ("lr_clip",)
OPEN = (
    "VoP searched a learning rate per method and publishes none.",
    "How many blocks: the printed size is that of one in both towers, without the LayerNorm and projection behind it.",
)


class PartialSettings(DeclaredSettings):
    blocks: int = setting(1, "count", "VoP's printed size is that of one block", at_least=1, at_most="layers")


def declare(settings: PartialSettings, build: BuildContext) -> Declaration:
    last = tuple(
        f"{tower}_model.encoder.layers.{number}."
        for tower, part in build.config.towers.items()
        for number in range(part.layers - settings.blocks, part.layers)
    )
    return Declaration(train=lambda name: name.startswith(last))
