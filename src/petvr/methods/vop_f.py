"""VoP^F: VoP with function-specific video prompts [Huang et al. 2023, section 3.3, equation 9].

    blocks 1 ... K_s:      frame by frame, as vop          K_s = `shallow` = 8
    before block K_s + 1:  + frame position, learned, to all tokens of a frame
    blocks K_s + 1 ... :   [C, _, E_1 ... E_F]_i = block_i([C, P_i, E_1 ... E_F]_{i-1})

In the deeper blocks all CLS (C [F, D_v]) and all patches of a video are one sequence, F (1 + P) tokens and n = 8
prompts, which the frozen attention mixes over space and time. The F CLS that come out are the frames' features. Text
prompts and everything else as in vop. shallow=12 is vop itself.

VoP^F+P and VoP^F+C are the compositions vop_f+vop_p and vop_f+vop_c: text and the first K_s blocks are then theirs.
Prompts of another method that stand in the sequence when frames are joined stay, every frame's.

The paper's counts leave the frame positions out (F D_v numbers).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.errors import PetvrError
from petvr.methods._declare import BuildContext, Declaration, HookContext, Insert, setting
from petvr.methods._prompts import normal
from petvr.methods.vop import Vop, VopSettings, frame_blocks

VERSION = 1
IDENTITY = "none"
SEES_ORDER = "frames are one sequence in the deeper blocks, each with a learned position that starts at zero"
OPEN = (
    "Shape and start of the frame positions (here [F, D_v] at zero); the paper's counts leave them out.",
    "VoP searched a learning rate per method and publishes none.",
)
RULES = (("tokens", "readout == 'formula' or tokens % 2 == 0", "an even number for readout=released"),)


class VopFSettings(VopSettings):
    tokens: int = setting(8, "main_paper", "VoP section 3.3, n = 8", at_least=1, at_most="free_positions")
    shallow: int = setting(8, "main_paper", "VoP section 3.3, K_s = 8", at_most="vision_layers")
    readout: str = setting("formula", "guess", "paper and code differ, see vop", choices=("formula", "released"))


class VideoPrompts(nn.Module):
    """What acts on whole videos: `prompts` [L - K_s, n, D] and `frame_positions` [F, D]."""

    def __init__(self, settings: VopFSettings, build: BuildContext):
        super().__init__()
        tower, self.first = build.config.vision, settings.shallow
        shape = (tower.layers - settings.shallow, settings.tokens, tower.width)
        self.prompts = nn.Parameter(normal(*shape, generator=build.generator))
        self.frame_positions = nn.Parameter(torch.zeros(build.frames, tower.width))

    def join(self, x: Tensor, context: HookContext) -> Tensor:
        state = context.state
        if state.frames > len(self.frame_positions):
            raise PetvrError(f"method 'vop_f': a video of {state.frames} frames, made for {len(self.frame_positions)}")
        return state.join_frames(x + self.frame_positions.to(x.dtype)[state.frame][:, None])

    def put(self, x: Tensor, context: HookContext) -> Tensor:
        return context.state.insert_prompts("vop", x, self.prompts[context.layer - self.first])

    def inserts(self) -> list[Insert]:
        layers = range(self.first, self.first + len(self.prompts))
        return [
            Insert("vision", "block_in", self.join, [self.first]),
            Insert("vision", "block_in", self.put, layers),
        ]


def declare(settings: VopFSettings, build: BuildContext) -> Declaration:
    shallow = frame_blocks(build)
    parts = nn.ModuleDict()
    if not {"vop_p", "vop_c"} & set(build.parts):
        parts["frame"] = Vop(settings, build, shallow, settings.tokens)
    if shallow < build.config.vision.layers:
        parts["video"] = VideoPrompts(settings, build)
    insert = [insert for part in parts.values() for insert in part.inserts()]
    return Declaration(module=parts, insert=insert, temporal=True)
