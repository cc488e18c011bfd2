"""VoP^P: VoP with position-specific video prompts [Huang et al. 2023, section 3.3, equation 5].

    [c_j, _, E_j]_i = block_i([c_j, P_i, T_i[j], E_j]_{i-1})       j = 1 ... F: place of the frame in its video

In every block, `specific` = 4 of the n = 8 vision prompts are read from a table T_i [F, 4, D_v] by the number of the
frame; the other 4 (P_i) are VoP's, the same for all frames. Text prompts and everything else as in vop. Beside vop_f
(VoP^F+P) this holds for the first K_s blocks alone. Start: N(0, 0.02). Frames see nothing of each other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.errors import PetvrError
from petvr.methods._declare import BuildContext, Declaration, HookContext, setting
from petvr.methods._prompts import normal
from petvr.methods.vop import Vop, VopSettings, frame_blocks

VERSION = 1
IDENTITY = "none"
SEES_ORDER = "a frame's prompts are those of its place; frames do not read one another"
OPEN = (
    "How the table's share of the prompts starts (here N(0, 0.02), as all).",
    "VoP searched a learning rate per method and publishes none.",
)
RULES = (
    ("tokens", "readout == 'formula' or tokens % 2 == 0", "an even number for readout=released"),
    ("specific", "specific <= tokens", "1 to tokens={tokens}"),
)


class VopPSettings(VopSettings):
    tokens: int = setting(
        8, "main_paper", "VoP section 3.3: 4 generic and 4 specific", at_least=1, at_most="free_positions"
    )
    specific: int = setting(4, "main_paper", "VoP section 3.3: 4 generic and 4 specific", at_least=1, at_most="tokens")
    readout: str = setting("formula", "guess", "paper and code differ, see vop", choices=("formula", "released"))


class VopP(Vop):
    def __init__(self, settings: VopPSettings, build: BuildContext, blocks: int):
        super().__init__(settings, build, blocks, settings.tokens - settings.specific)
        shape = (blocks, build.frames, settings.specific, build.config.vision.width)
        self.table = nn.Parameter(normal(*shape, generator=build.generator)) if blocks else None

    def prompts(self, x: Tensor, context: HookContext) -> Tensor:
        if context.tower == "text":
            return super().prompts(x, context)
        table, state = self.table[context.layer or 0], context.state
        if state.frames > len(table):
            raise PetvrError(f"method 'vop_p': a video of {state.frames} frames, made for {len(table)}")
        own = table[state.frame]  # [R, 4, D]
        if self.vision is None:
            return own
        return torch.cat([super().prompts(x, context).expand(len(own), -1, -1), own], dim=1)


def declare(settings: VopPSettings, build: BuildContext) -> Declaration:
    module = VopP(settings, build, frame_blocks(build))
    return Declaration(module=module, insert=module.inserts())
