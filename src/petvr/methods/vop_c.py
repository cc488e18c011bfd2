"""VoP^C: VoP with context-specific video prompts [Huang et al. 2023, section 3.3, equations 6 to 8].

    C' = CMM(C_{i-1})            C [F, D_v]: the CLS of all frames of a video as they enter block i; CMM: a BiLSTM
    G_j = FC(c'_j)               FC: 2 D_v -> 4 D_v, cut into `specific` = 4 tokens for frame j
    [c_j, _, E_j]_i = block_i([c_j, P_i, G_j, E_j]_{i-1})

One BiLSTM (one layer, D_v a direction) and one FC serve all blocks. The other 4 of the n = 8 vision prompts (P_i) are
VoP's. C' is used for prompts alone and goes no further. Text prompts and everything else as in vop. Beside vop_f
(VoP^F+C) this holds for the first K_s blocks alone. Padded frames come last and are left out of the BiLSTM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from petvr.clip.insert import ForwardState
from petvr.methods._declare import BuildContext, Declaration, HookContext, setting
from petvr.methods.vop import Vop, VopSettings, frame_blocks

VERSION = 1
IDENTITY = "none"
SEES_ORDER = "a BiLSTM over the frames' CLS makes each frame's prompts"
OPEN = (
    "How BiLSTM and FC start (here as torch's).",
    "Where the first block's C is taken: here where its prompts enter, before ln_pre, where every frame's CLS is "
    "still the same vector, so that G tells no more than the place of the frame.",
    "What VoP^F+C trains: the parts make 14,269,440 numbers, the printed size is C - P + (F+P).",
    "VoP searched a learning rate per method and publishes none.",
)
RULES = (
    ("tokens", "readout == 'formula' or tokens % 2 == 0", "an even number for readout=released"),
    ("specific", "specific <= tokens", "1 to tokens={tokens}"),
)
NOT_WITH = {"vop_p": "allowed: vop_f with vop_p, vop_f with vop_c"}


class VopCSettings(VopSettings):
    tokens: int = setting(
        8, "main_paper", "VoP section 3.3: 4 generic and 4 specific", at_least=1, at_most="free_positions"
    )
    specific: int = setting(4, "main_paper", "VoP section 3.3: 4 generic and 4 specific", at_least=1, at_most="tokens")
    readout: str = setting("formula", "guess", "paper and code differ, see vop", choices=("formula", "released"))


class PromptsFromFrames(nn.Module):
    """CLS of the frames [B, F, D], lengths [B] or None -> prompts [B, F, n, D]."""

    def __init__(self, width: int, tokens: int):
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * width, tokens * width)
        self.tokens = tokens

    def forward(self, cls: Tensor, lengths: Tensor | None = None) -> Tensor:
        cls = cls.to(self.lstm.weight_hh_l0.dtype)
        with torch.autocast("cpu", enabled=False):  # torch has no fp16 LSTM there; on a GPU autocast stays as it is
            if lengths is None:
                hidden, _ = self.lstm(cls)
            else:
                lengths, order = lengths.sort(descending=True)  # torch's own sorting waits for the device
                order = order.to(cls.device, non_blocking=True)
                packed = pack_padded_sequence(cls[order], lengths, batch_first=True)
                hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=cls.shape[1])
                hidden = hidden[order.argsort()]
        return self.fc(hidden).unflatten(-1, (self.tokens, -1))


class VopC(Vop):
    def __init__(self, settings: VopCSettings, build: BuildContext, blocks: int):
        super().__init__(settings, build, blocks, settings.tokens - settings.specific)
        self.context = PromptsFromFrames(build.config.vision.width, settings.specific) if blocks else None

    def prompts(self, x: Tensor, context: HookContext) -> Tensor:
        if context.tower == "text":
            return super().prompts(x, context)
        state = context.state
        cls = x[:, 0].unflatten(0, (state.videos, state.frames))
        own = self.context(cls, self.lengths(state)).flatten(0, 1).to(x.dtype)  # [R, 4, D]
        if self.vision is None:
            return own
        return torch.cat([super().prompts(x, context).to(x.dtype).expand(len(own), -1, -1), own], dim=1)

    @staticmethod
    def lengths(state: ForwardState) -> Tensor | None:
        """Real frames of every video, on the CPU as torch wants them."""
        return None if state.lengths is None else state.lengths.clamp(min=1).cpu()


def declare(settings: VopCSettings, build: BuildContext) -> Declaration:
    module = VopC(settings, build, frame_blocks(build))
    return Declaration(module=module, insert=module.inserts(), temporal=True)
