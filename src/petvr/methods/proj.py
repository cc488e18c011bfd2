"""Projection tuning [Jia et al. 2022, "Linear"], a baseline of VoP: the two projections into the joint space train."""

from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {}
IDENTITY = "exact"


def build(clip, setting, made):
    return Declaration(train=lambda name: name.startswith(("visual_projection.", "text_projection.")))
