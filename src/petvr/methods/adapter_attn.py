"""Adapter^ATTN, a baseline of VoP after the parallel adapter of He et al. [2022, section 4]: beside every attention.

    x = x + MHA(LN1 x) + s * ReLU(h W_down) W_up,   both towers, all blocks, width r = 64

Guesses (VoP gives the width and nothing else): `reads` normed, the branch reads h = LN1 x, which is what the
attention itself reads (stream: h = x); `scale` s = 1; ReLU; W_up starts at zero.
"""

from petvr.methods._adapted import Declaration, Insert
from petvr.methods._bottleneck import beside, towers

VERSION = 1
DEFAULTS = {"width": 64, "scale": 1.0, "reads": "normed"}
CHOICES = {"reads": ["normed", "stream"]}
IDENTITY = "exact"


def build(clip, setting, made):
    adapters = towers(clip, setting.width, setting.scale, made.generator)
    insert = [Insert(tower, "attn_out", beside(part, setting.reads)) for tower, part in adapters.items()]
    return Declaration(module=adapters, insert=insert)
