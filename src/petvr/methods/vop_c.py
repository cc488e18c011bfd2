"""VoP^C: VoP with context-specific video prompts [Huang et al. 2023, section 3.3, equations 6 to 8].

    C' = CMM(C_{i-1})            C [F, D_v]: the CLS of all frames of a video as they enter block i; CMM: a BiLSTM
    G_j = FC(c'_j)               FC: 2 D_v -> 4 D_v, cut into `specific` = 4 tokens for frame j
    [c_j, _, E_j]_i = block_i([c_j, P_i, G_j, E_j]_{i-1})

One BiLSTM (one layer, D_v a direction) and one FC serve all blocks. The other 4 of the n = 8 vision prompts (P_i) are
VoP's. C' is used for prompts alone and goes no further. Text prompts and everything else as in vop. Beside vop_f
(VoP^F+C) this holds for the first K_s blocks alone. Padded frames come last and are left out of the BiLSTM.

Guesses: BiLSTM and FC start as torch's; the first block's C is taken where its prompts enter, before ln_pre (there
every frame's CLS is still the same vector, so that G tells no more than the place of the frame).
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from petvr.methods._adapted import Declaration
from petvr.methods.vop import Vop, blocks

VERSION = 1
DEFAULTS = {"tokens": 8, "specific": 4, "readout": "formula"}
CHOICES = {"readout": ["formula", "released"]}
IDENTITY = "none"


class Context(nn.Module):
    """CLS of the frames [B, F, D], lengths [B] or None -> prompts [B, F, n, D]."""

    def __init__(self, width, tokens):
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * width, tokens * width)
        self.tokens = tokens

    def forward(self, cls, lengths=None):
        cls = cls.to(self.lstm.weight_hh_l0.dtype)
        with torch.autocast("cpu", enabled=False):  # torch has no fp16 LSTM there; on a GPU autocast stays as it is
            if lengths is None:
                context, _ = self.lstm(cls)
            else:
                packed = pack_padded_sequence(cls, lengths, batch_first=True, enforce_sorted=False)
                context, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=cls.shape[1])
        return self.fc(context).unflatten(-1, (self.tokens, -1))


class VopC(Vop):
    def __init__(self, config, setting, generator, number):
        super().__init__(config, setting, generator, number, setting.tokens - setting.specific)
        self.context = Context(config.vision.width, setting.specific) if number else None

    def prompts(self, x, context):
        if context.state.tower == "text":
            return super().prompts(x, context)
        state = context.state
        cls = x[:, 0].unflatten(0, (state.videos, state.frames))
        own = self.context(cls, self.lengths(state)).flatten(0, 1).to(x.dtype)  # [R, 4, D]
        if self.vision is None:
            return own
        return torch.cat([super().prompts(x, context).to(x.dtype).expand(len(own), -1, -1), own], dim=1)

    @staticmethod
    def lengths(state):
        """Real frames of every video, on the CPU as torch wants them: one wait for the device in a pass."""
        if state.mask is None:
            return None
        if "vop_c" not in state.memory:
            state.memory["vop_c"] = state.mask.sum(dim=1).clamp(min=1).cpu()
        return state.memory["vop_c"]


def build(clip, setting, made):
    number = blocks("vop_c", clip, setting, made)
    module = VopC(clip.config, setting, made.generator, number)
    return Declaration(module=module, insert=module.inserts(), temporal=True)
