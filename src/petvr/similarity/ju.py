"""The temporal transformer of Ju et al. [2022, section 3.3]: video = mean over the frames of Blocks(f + p).

f [F, E] are the frozen tower's raw frame features, p learned positions of frames N(0, 0.01), Blocks pre-LN blocks of
width E with QuickGELU and torch's default initialisation; nothing is added around them. The score is the cosine with
the text. Padded frames are neither seen nor averaged (the released code always has all frames).

`layers` 2, and a table of 16 positions however many frames come, are the released defaults [the README runs 1]:
6,352,384 numbers with the method's 77 x 512 prompts; VoP's way of counting prints 4.8 M.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.clip.config import Tower
from petvr.clip.towers import Block
from petvr.registry import DeclaredSettings, setting
from petvr.similarity._blocks import SequenceBlocks
from petvr.similarity._head import Features, HeadContext, Similarity, unit

VERSION = 1
SEES_ORDER = "blocks over the frames, each with a learned position"
OPEN = (
    "How many layers VoP ran: the released default is 2, the README runs 1; VoP's 4.8 M fits 2.",
    "What becomes of more than 16 frames: the released table of positions has no more.",
)

STD = 0.01


class JuHeadSettings(DeclaredSettings):
    layers: int = setting(2, "code", "the released default; the README runs 1", at_least=1)
    positions: int = setting(16, "code", "the released table")


class Ju(Similarity):
    ONE_VECTOR = True

    def __init__(self, build: HeadContext, layers: int, rows: int):
        super().__init__()
        width = build.embed
        self.positions = nn.Parameter(torch.empty(max(rows, build.frames), width).normal_(std=STD))
        self.blocks = SequenceBlocks(Block(Tower(width, layers, max(1, width // 64), 4 * width)) for _ in range(layers))
        for block in self.blocks:
            attention = block.self_attn
            for part in (attention.q_proj, attention.k_proj, attention.v_proj):
                nn.init.uniform_(part.weight, -((6 / (4 * width)) ** 0.5), (6 / (4 * width)) ** 0.5)  # Xavier, joint
                nn.init.zeros_(part.bias)
            nn.init.zeros_(attention.out_proj.bias)

    def text_side(self, features: Features) -> Features:
        return {"text": unit(features["text"])}

    def video_side(self, features: Features) -> Features:
        frames, mask = features["frames"], features["mask"]
        out = self.blocks(frames + self.positions[: frames.shape[1]], mask)
        return {"video": unit(out.masked_fill(~mask[..., None], 0).sum(dim=1))}  # a sum: its direction is the mean's

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        return texts["text"] @ videos["video"].T


def make_head(settings: JuHeadSettings, build: HeadContext) -> Similarity:
    return Ju(build, settings.layers, settings.positions)
