"""Partial tuning [Jia et al. 2022], a baseline of VoP: the last block(s) of both towers train.

Only the blocks: the LayerNorm and the projection behind them stay frozen (the count VoP prints says so).
"""

from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {"blocks": 1}
IDENTITY = "exact"


def build(clip, setting, made):
    depth = {"vision_model": clip.config.vision.layers, "text_model": clip.config.text.layers}
    if not 1 <= setting.blocks <= min(depth.values()):
        allowed = f"1 to {min(depth.values())}"
        raise PetvrError(f"method 'partial': setting 'blocks': {setting.blocks} given, allowed: {allowed}")
    last = tuple(
        f"{tower}.encoder.layers.{number}."
        for tower, layers in depth.items()
        for number in range(layers - setting.blocks, layers)
    )
    return Declaration(train=lambda name: name.startswith(last))
