"""CLIP2Video [Fang et al. 2021]: differences between frames, and centres that words and frames share.

Temporal difference block (TDB, section 3.3), frames f_1..f_T with positions p (CLIP's) and two type vectors:

    d_t = 2 sigmoid( LN( block(f_{t+1} - f_t + p) ) ) - 1
    r = f + even slots of 4 blocks over  f_1 d_1 f_2 d_2 .. f_T,  each with its (left) frame's position and its type
    global score = cosine(EOT, meanP(r))

Temporal alignment block (TAB, section 3.4): every second frame passes the TDB's differences, its own block and a
residual, and joins the T raw frames; words (EOT included, SOT not) are its counterpart. K centres describe both:

    a_xk = softmax_k( x . C_k ),  v_k = sum_x a_xk (x - E_k),  v = unit( mean_k unit(v_k) )
    local score = cosine(v_words, v_frames)

Score = (global + local) / 2, each with its own loss. Blocks and positions begin as CLIP's text tower's (TDB's and TAB's
own block: its first), types as its positions 0 and 1, C and E as N(0, 1/8). K = 5, on VATEX 7 [released code].
18,960,896 numbers with E = 512; the printed sizes are met without the 77 x 512 positions.

A difference is valid where both its frames are (the released code looks at the left one).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.registry import DeclaredSettings, setting
from petvr.similarity._blocks import clip_blocks, clip_positions
from petvr.similarity._head import Features, HeadContext, Similarity, mean_of, unit

VERSION = 1
SEES_ORDER = "differences between neighbours, and blocks over the frames with learned positions"
OPEN = (
    "Frame positions: the printed sizes are met without the 77 x 512 of them, and nothing works without.",
    "VATEX: Cross-Modal Adapter says it follows the HGR split, but this row is that of the random split of 1,500.",
)

STD = 0.125


class Clip2VideoSettings(DeclaredSettings):
    layers: int = setting(4, "code", "the released model's", at_least=1)
    centres: int = setting(5, "code", "the released default; 7 on VATEX", at_least=1)


class Clip2Video(Similarity):
    NEEDS = ("words",)
    LEVELS = (0.5, 0.5)

    def __init__(self, build: HeadContext, settings: Clip2VideoSettings):
        super().__init__()
        self.positions = clip_positions(build, build.frames)
        self.types = nn.Parameter(self.positions.detach()[:2].clone())  # difference, frame
        self.sequence, self.difference, self.action = (clip_blocks(build, count) for count in (settings.layers, 1, 1))
        self.norm = nn.LayerNorm(build.embed)
        self.assign, self.centre = (
            nn.Parameter(torch.empty(settings.centres, build.embed).normal_(std=STD)) for _ in range(2)
        )

    def text_side(self, features: Features) -> Features:
        mask = features["word_mask"].clone()
        mask[:, 0] = False  # SOT
        return {"text": unit(features["text"]), "local": self.described(features["words"], mask)}

    def video_side(self, features: Features) -> Features:
        frames, mask = features["frames"], features["mask"]
        video = mean_of(frames + self.mixed(frames, mask, self.sequence), mask)
        some, some_mask = frames[:, ::2], mask[:, ::2]
        some = some + self.mixed(some, some_mask, self.action)
        local = self.described(torch.cat([frames, some], dim=1), torch.cat([mask, some_mask], dim=1))
        return {"video": video, "local": local}

    def mixed(self, frames: Tensor, mask: Tensor, through: nn.Module) -> Tensor:
        """[M, T, E] -> the same after `through` has seen the frames and their differences."""
        count = frames.shape[1]
        where = self.positions[:count]
        tokens, real = frames + where + self.types[1], mask
        if count > 1:
            both = mask[:, 1:] & mask[:, :-1]
            steps = self.difference(frames[:, 1:] - frames[:, :-1] + where[1:], both)
            steps = 2 * torch.sigmoid(self.norm(steps)) - 1 + where[:-1] + self.types[0]
            between = torch.stack([tokens[:, :-1], steps], dim=2).flatten(1, 2)
            tokens = torch.cat([between, tokens[:, -1:]], dim=1)
            real = torch.cat([torch.stack([mask[:, :-1], both], dim=2).flatten(1, 2), mask[:, -1:]], dim=1)
        return through(tokens, real)[:, ::2]

    def described(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, S, E], mask [B, S] -> [B, E]"""
        shares = (x @ self.assign.T).softmax(dim=-1).masked_fill(~mask[..., None], 0)  # [B, S, K]
        residuals = shares.transpose(1, 2) @ x - shares.sum(dim=1)[..., None] * self.centre
        return unit(unit(residuals).mean(dim=1))

    def pair_cost(self, texts: Features, videos: Features) -> int:
        return 2

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        return torch.stack([texts["text"] @ videos["video"].T, texts["local"] @ videos["local"].T])


def make_head(settings: Clip2VideoSettings, build: HeadContext) -> Similarity:
    return Clip2Video(build, settings)
