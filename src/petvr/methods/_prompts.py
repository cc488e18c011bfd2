"""What prompt methods share: learned tokens behind CLS or SOT, and how a text makes room for them."""

from functools import partial

import torch
from torch import nn

from petvr.clip.text import fit
from petvr.errors import PetvrError
from petvr.methods._adapted import Insert

STD = 0.02


def normal(*shape, generator):
    """N(0, 0.02), what CoOp's, MaPLe's and VoP's codes start from."""
    return torch.empty(shape).normal_(std=STD, generator=generator)


class Prompts(nn.Module):
    """`vision` and `text`, each [L, n, D] and either None: block i reads the i-th set of its tower.

    From the second set on, a set replaces what the block before has made of the last one. In the vision tower nothing
    tells positions apart behind the first block's input, so where among the tokens prompts stand changes nothing.
    """

    def __init__(self, owner, **towers):
        super().__init__()
        self.owner = owner
        for tower, prompts in towers.items():
            self.register_parameter(tower, None if prompts is None else nn.Parameter(prompts))

    def prompts(self, x, context):
        """[n, D], or [R, n, D] where rows differ: what a block reads beside the stream x."""
        return getattr(self, context.state.tower)[context.layer or 0]

    def put(self, x, context):
        return context.state.insert_prompts(self.owner, x, self.prompts(x, context))

    def behind_cls(self):
        """The first set enters with positions already added and passes ln_pre."""
        return entering("vision", "tokens_in", self.put, len(self.vision))

    def behind_sot(self, config, positions):
        """positions used: the first set enters before positions are added, words move back and long texts are cut;
        free: it enters behind them, and words keep the positions they have in CLIP.
        """
        place = {"used": "embedded", "free": "tokens_in"}[positions]
        inserts = entering("text", place, self.put, len(self.text))
        if positions == "used":
            inserts.append(Insert("text", "ids", partial(shorten, config, self.text.shape[1])))
        return inserts


def entering(tower, place, put, layers):
    """`put` acts at `place` for block 0 and at the entry of the blocks after it, `layers` blocks in all."""
    return [Insert(tower, place, put), Insert(tower, "block_in", put, range(1, layers))]


def shorten(config, tokens, ids, context):
    """ids [B, W] -> as many columns as leave `tokens` positions free; EOT stays."""
    return fit(ids, config.positions - tokens, config.eot)


def check(method, tokens, room=None):
    """PetvrError for no tokens at all, or for more than `room`."""
    if tokens < 1 or (room is not None and tokens > room):
        allowed = "1 or more" if room is None else f"1 to {room}"
        raise PetvrError(f"method '{method}': setting 'tokens': {tokens} given, allowed: {allowed}")
