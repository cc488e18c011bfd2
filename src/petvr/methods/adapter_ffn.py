"""Adapter^FFN, a baseline of VoP after AdaptFormer [Chen et al. 2022, equation 2]: beside every MLP.

    x = x + MLP(LN2 x) + s * ReLU(h W_down) W_up,   both towers, all blocks, width r = 64

Guesses (VoP gives the width and nothing else): `reads` stream, the branch reads h = x before LN2 as AdaptFormer's
code does (normed: h = LN2 x); `scale` s = 0.1, AdaptFormer's; no LayerNorm of its own, as VoP's count says.
"""

from petvr.methods._adapted import Declaration, Insert
from petvr.methods._bottleneck import beside, towers

VERSION = 1
DEFAULTS = {"width": 64, "scale": 0.1, "reads": "stream"}
CHOICES = {"reads": ["normed", "stream"]}
IDENTITY = "exact"


def build(clip, setting, made):
    adapters = towers(clip, setting.width, setting.scale, made.generator)
    insert = [Insert(tower, "mlp_out", beside(part, setting.reads)) for tower, part in adapters.items()]
    return Declaration(module=adapters, insert=insert)
