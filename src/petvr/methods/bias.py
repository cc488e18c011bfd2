"""Bias tuning [Cai et al. 2020, TinyTL], a baseline of VoP: every bias term of both towers trains, nothing else.

That is all biases of attention, MLP and LayerNorm: 171,008 numbers in ViT-B. VoP prints 0.1 M (0.104 %), because its
way of counting leaves out the attention's input projections (petvr.costs.params).
"""

from __future__ import annotations

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings

VERSION = 1
IDENTITY = "exact"
TUNE = ("lr_clip",)
OPEN = (
    "VoP searched a learning rate per method and publishes none.",
    "The printed 0.104 % is cut: without one LayerNorm's bias it would be met by rounding.",
)


def declare(settings: DeclaredSettings, build: BuildContext) -> Declaration:
    return Declaration(train=lambda name: name.endswith(".bias"))
