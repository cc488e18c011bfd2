"""LoRA [Hu et al. 2022, equation 3], a baseline of RAP: low-rank updates of the attention's projections, both towers.

    h = W x + s * B A x,    A [r, D] Kaiming uniform (a = sqrt 5), B at zero

`targets` joint (default): one A [r, D] and one B [3D, r] for the joint q, k, v projection, as OpenAI's CLIP stores it
and as code of RAP's neighbourhood has it (TempMe); q_v: an A and a B each for q and v, LoRA's own choice; q_k_v_o:
each of the four projections. joint and q_v at rank 8 and q_k_v_o at rank 4 all make 491,520 numbers with ViT-B, the
printed 0.49 M: which one RAP ran is a guess. So are s = 1 (no alpha / r) and no dropout.

Own code, not the `peft` package: peft is not among what petvr installs, it wraps and renames CLIP's layers, and its
update of one nn.Linear cannot express the joint form over separate q, k and v.
"""

import math

import torch
from torch import nn

from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration, Insert

VERSION = 1
DEFAULTS = {"rank": 8, "targets": "joint", "scale": 1.0}
CHOICES = {"targets": ["joint", "q_v", "q_k_v_o"]}
IDENTITY = "exact"


class LowRank(nn.Module):
    """x [.., D] -> x A^T B^T [.., out]."""

    def __init__(self, width, out, rank, generator):
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, width))
        self.b = nn.Parameter(torch.zeros(out, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5), generator=generator)

    def forward(self, x):
        return (x @ self.a.T) @ self.b.T


class Lora(nn.Module):
    def __init__(self, config, setting, generator):
        super().__init__()
        self.scale, self.targets = setting.scale, setting.targets
        names = ["qkv"] if setting.targets == "joint" else setting.targets.split("_")
        for tower, part in (("vision", config.vision), ("text", config.text)):
            blocks = [
                nn.ModuleDict(
                    {name: LowRank(part.width, len(name) * part.width, setting.rank, generator) for name in names}
                )
                for _ in range(part.layers)
            ]
            self.add_module(tower, nn.ModuleList(blocks))

    def qkv(self, tower):
        def add(projected, context):
            block = getattr(self, tower)[context.layer]
            if self.targets == "joint":
                updates = block["qkv"](context.input).chunk(3, dim=-1)
            else:
                updates = [block[name](context.input) if name in block else None for name in "qkv"]
            pairs = zip(projected, updates, strict=True)
            return tuple(p if u is None else torch.add(p, u, alpha=self.scale) for p, u in pairs)

        return add

    # the output projection reads at one place and is changed at the next

    def read_mixed(self, tower):
        def read(mixed, context):
            context.state.memory["lora"] = getattr(self, tower)[context.layer]["o"](mixed)
            return mixed

        return read

    def add_out(self, out, context):
        return torch.add(out, context.state.memory.pop("lora"), alpha=self.scale)


def build(clip, setting, made):
    if setting.rank < 1:
        raise PetvrError(f"method 'lora': setting 'rank': {setting.rank} given, allowed: 1 or more")
    module = Lora(clip.config, setting, made.generator)
    insert = [Insert(tower, "qkv", module.qkv(tower)) for tower in ("vision", "text")]
    if setting.targets == "q_k_v_o":
        for tower in ("vision", "text"):
            insert.append(Insert(tower, "attn_mixed", module.read_mixed(tower)))
            insert.append(Insert(tower, "attn_out", module.add_out))
    return Declaration(module=module, insert=insert)
