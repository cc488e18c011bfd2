"""VoP^P: VoP with position-specific video prompts [Huang et al. 2023, section 3.3, equation 5].

    [c_j, _, E_j]_i = block_i([c_j, P_i, T_i[j], E_j]_{i-1})       j = 1 ... F: place of the frame in its video

In every block, `specific` = 4 of the n = 8 vision prompts are read from a table T_i [F, 4, D_v] by the number of the
frame; the other 4 (P_i) are VoP's, the same for all frames. Text prompts and everything else as in vop. Beside vop_f
(VoP^F+P) this holds for the first K_s blocks alone. Start: N(0, 0.02). Frames see nothing of each other.
"""

import torch
from torch import nn

from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration
from petvr.methods._prompts import normal
from petvr.methods.vop import Vop, blocks

VERSION = 1
DEFAULTS = {"tokens": 8, "specific": 4, "readout": "formula"}
CHOICES = {"readout": ["formula", "released"]}
IDENTITY = "none"


class VopP(Vop):
    def __init__(self, config, setting, generator, number, frames):
        super().__init__(config, setting, generator, number, setting.tokens - setting.specific)
        shape = (number, frames, setting.specific, config.vision.width)
        self.table = nn.Parameter(normal(*shape, generator=generator)) if number else None

    def prompts(self, x, context):
        if context.state.tower == "text":
            return super().prompts(x, context)
        table = self.table[context.layer or 0]
        if context.state.frames > len(table):
            raise PetvrError(f"method 'vop_p': a video of {context.state.frames} frames, made for {len(table)}")
        own = table[context.state.frame]  # [R, 4, D]
        if self.vision is None:
            return own
        return torch.cat([super().prompts(x, context).expand(len(own), -1, -1), own], dim=1)


def build(clip, setting, made):
    number = blocks("vop_p", clip, setting, made)
    module = VopP(clip.config, setting, made.generator, number, made.frames)
    return Declaration(module=module, insert=module.inserts())
