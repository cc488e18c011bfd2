"""Projection tuning [Jia et al. 2022, "Linear"], a baseline of VoP: the two projections into the joint space train."""

from __future__ import annotations

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings

VERSION = 1
IDENTITY = "exact"
TUNE = ("lr_clip",)
OPEN = ("VoP searched a learning rate per method and publishes none.",)


def declare(settings: DeclaredSettings, build: BuildContext) -> Declaration:
    return Declaration(train=lambda name: name.startswith(("visual_projection.", "text_projection.")))
