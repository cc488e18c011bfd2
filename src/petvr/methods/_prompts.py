"""What prompt methods share: learned tokens behind CLS or SOT, and how a text makes room for them."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from petvr.clip.config import ClipConfig
from petvr.clip.tokenizer import fit
from petvr.methods._declare import Hook, HookContext, Insert

STD = 0.02


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """N(0, 0.02), what CoOp's, MaPLe's and VoP's codes start from."""
    return torch.empty(shape).normal_(std=STD, generator=generator)


class Prompts(nn.Module):
    """`vision` and `text`, each [L, n, D] and either None: block i reads the i-th set of its tower.

    From the second set on, a set replaces what the block before has made of the last one. In the vision tower nothing
    tells positions apart behind the first block's input, so where among the tokens prompts stand changes nothing.
    """

    def __init__(self, owner: str, **towers: Tensor | None):
        super().__init__()
        self.owner = owner
        for tower, prompts in towers.items():
            self.register_parameter(tower, None if prompts is None else nn.Parameter(prompts))

    def prompts(self, x: Tensor, context: HookContext) -> Tensor:
        """[n, D], or [R, n, D] where rows differ: what a block reads beside the stream x."""
        return getattr(self, context.tower)[context.layer or 0]

    def put(self, x: Tensor, context: HookContext) -> Tensor:
        return context.state.insert_prompts(self.owner, x, self.prompts(x, context))

    def behind_cls(self) -> list[Insert]:
        """The first set enters with positions already added and passes ln_pre."""
        return entering("vision", "tokens_in", self.put, len(self.vision))

    def behind_sot(self, config: ClipConfig, positions: str) -> list[Insert]:
        """positions used: the first set enters before positions are added, words move back and long texts are cut;
        free: it enters behind them, and words keep the positions they have in CLIP.
        """
        place = {"used": "embedded", "free": "tokens_in"}[positions]
        inserts = entering("text", place, self.put, len(self.text))
        if positions == "used":
            inserts.append(Insert("text", "ids", partial(shorten, config, self.text.shape[1])))
        return inserts


def entering(tower: str, place: str, put: Hook, layers: int) -> list[Insert]:
    """`put` acts at `place` for block 0 and at the entry of the blocks after it, `layers` blocks in all."""
    return [Insert(tower, place, put), Insert(tower, "block_in", put, range(1, layers))]


def shorten(config: ClipConfig, tokens: int, ids: Tensor, context: HookContext) -> Tensor:
    """ids [B, W] -> as many columns as leave `tokens` positions free; EOT stays."""
    return fit(ids, config.positions - tokens, config.eot)
