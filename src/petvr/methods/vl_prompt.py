"""VL-Prompt, a baseline of Cross-Modal Adapter [Jiang et al. 2022, section 4; VT-Prompt in its table 4].

VPT-deep in both towers, independently: n learned tokens of width D_v behind CLS and n of width D_t behind SOT enter
every block, and what a block makes of them is thrown away. CLIP is frozen.

The text prompts get no positions and no word is cut (positions=free): the paper runs 80 of them, and CLIP has 77
positions. `used` gives the first block's prompts positions as CoOp does. Guesses: start N(0, 0.02) in both towers
(VPT's uniform start has nearly the same spread); vision prompts enter before ln_pre.
"""

from petvr.methods import _prompts
from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {"tokens": 5, "positions": "free"}
CHOICES = {"positions": ["free", "used"]}
IDENTITY = "none"


def build(clip, setting, made):
    room = clip.config.positions - 2 if setting.positions == "used" else None
    _prompts.check("vl_prompt", setting.tokens, room)
    towers = {
        tower: _prompts.normal(part.layers, setting.tokens, part.width, generator=made.generator)
        for tower, part in (("vision", clip.config.vision), ("text", clip.config.text))
    }
    prompts = _prompts.Prompts("vl_prompt", **towers)
    insert = [*prompts.behind_cls(), *prompts.behind_sot(clip.config, setting.positions)]
    return Declaration(module=prompts, insert=insert)
