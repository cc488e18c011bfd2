"""TS2-Net's token shift in the vision tower [Liu et al. 2022, section 3.2], CLIP tuned by CLIP4Clip's rule.

In the last two blocks the attention of frame t reads LN1(x) in which whole patches come from its neighbours: with n
tokens (CLS included) and fold = n // 7, tokens 1, 1 + fold, .. come from frame t - 1, tokens 4, 4 + fold, .. from frame
t + 1; CLS stays. In ViT-B/32 that is columns 0 and 3 of the 7 x 7 grid. The residual stream is not shifted, nothing is
learned. At either end of a video a frame keeps its own tokens, also where the next frame is padding (the released code
takes them from padding there).

What trains of CLIP: `full` with rule=clip4clip [released code]. Token selection and the rest are the similarity of the
same name.
"""

from __future__ import annotations

import torch
from torch import Tensor

from petvr.methods import full
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, HookContext, Insert, setting

VERSION = 1
IDENTITY = {"vision": "none", "text": "exact"}
SIMILARITY = "ts2_net"
TUNE = ("lr_head", "lr_clip")
SEES_ORDER = "patches are shifted to the next frame and to the one before"
OPEN = ("Which modules the printed 139.35 M count: two that no pass reaches would meet it.",)
NOT_WITH = {"vop_f": "it joins the frames of a video into one sequence, tokens are shifted between single frames"}

FOLDS, AHEAD = 7, 4  # the first token from the next frame is the fourth, whatever the fold [released code]


class Ts2NetSettings(DeclaredSettings):
    blocks: int = setting(2, "code", "the released token shift is in the last two blocks", at_most="vision_layers")


def shift(h: Tensor, context: HookContext) -> Tensor:
    """h [B F, n, D] -> the same with tokens from the frames before and behind."""
    state = context.state
    x = h.unflatten(0, (state.videos, state.frames))
    fold = max(1, x.shape[2] // FOLDS)
    real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if state.mask is None else state.mask
    both = (real[:, 1:] & real[:, :-1])[:, :, None, None]
    out = x.clone()
    out[:, 1:, 1::fold] = torch.where(both, x[:, :-1, 1::fold], x[:, 1:, 1::fold])
    out[:, :-1, AHEAD::fold] = torch.where(both, x[:, 1:, AHEAD::fold], out[:, :-1, AHEAD::fold])
    return out.flatten(0, 1)


def declare(settings: Ts2NetSettings, build: BuildContext) -> Declaration:
    layers = build.config.vision.layers
    insert = Insert("vision", "attn_in", shift, range(layers - settings.blocks, layers))
    return Declaration(train=full.clip4clip_rule(), insert=[insert], temporal=True)
