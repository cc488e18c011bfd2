"""CLIP's transformer blocks over a sequence of frames or words, with learned positions, started from CLIP's text tower.

CLIP4Clip's "sequential type" [Luo et al. 2021, section 3.3]; its LayerNorms have epsilon 1e-12 [released code].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.clip.config import Tower, geometry
from petvr.clip.insert import ForwardState, Inserts
from petvr.clip.towers import Block
from petvr.similarity._head import HeadContext

EPS = 1e-12
STD = 0.02
ROWS = 77  # positions of CLIP's text tower, all of which are taken over
NOTHING = Inserts(geometry("vit-b-32"))  # these blocks have places, but nothing acts there


class SequenceBlocks(nn.ModuleList):
    """Pre-LN blocks in which every token sees all valid ones."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, S, E], mask [B, S] -> [B, S, E]; where nothing is valid, everything is seen."""
        state = ForwardState("vision", NOTHING, key_mask=mask | ~mask.any(dim=1, keepdim=True))
        for number, block in enumerate(self):
            x = block(x, state, number)
        return x


def clip_blocks(build: HeadContext, count: int) -> SequenceBlocks:
    """`count` blocks of width E that begin as CLIP's first text blocks.

    Where CLIP's text tower does not fit (its width is not E, it is too shallow, or no CLIP is given) they are drawn
    at random: weights N(0, 0.02), biases 0.
    """
    text = None if build.clip is None else build.clip.config.text
    heads = text.heads if text and text.width == build.embed else max(1, build.embed // 64)
    width = text.mlp if text and text.width == build.embed else 4 * build.embed
    blocks = SequenceBlocks(Block(Tower(build.embed, count, heads, width, eps=EPS)) for _ in range(count))
    if text and text.width == build.embed and text.layers >= count:
        for block, source in zip(blocks, build.clip.text_model.encoder.layers, strict=False):
            block.load_state_dict(source.state_dict())
    else:
        draw_weights(blocks)
    return blocks


def clip_positions(build: HeadContext, rows: int = 0) -> nn.Parameter:
    """[rows or more, E], begin as CLIP's text positions; rows beyond those are N(0, 0.02)."""
    table = torch.empty(max(rows, ROWS), build.embed).normal_(std=STD)
    source = None if build.clip is None else build.clip.text_model.embeddings.position_embedding.weight
    if source is not None and source.shape[1] == build.embed:
        common = min(len(table), len(source))
        table[:common] = source.detach()[:common].to(table.device)
    return nn.Parameter(table)


@torch.no_grad()
def draw_weights(module: nn.Module) -> None:
    """Weights N(0, STD), biases 0; LayerNorms as torch makes them."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.weight.normal_(std=STD)
            if part.bias is not None:
                part.bias.zero_()
