"""LoRA [Hu et al. 2022, equation 3], a baseline of RAP: low-rank updates of the attention's projections, both towers.

    h = W x + s * B A x,    A [r, D] Kaiming uniform (a = sqrt 5), B at zero

`targets` joint (default): one A [r, D] and one B [3D, r] for the joint q, k, v projection, as OpenAI's CLIP stores it
and as code of RAP's neighbourhood has it (TempMe); q_v: an A and a B each for q and v, LoRA's own choice; q_k_v_o:
each of the four projections. joint and q_v at rank 8 and q_k_v_o at rank 4 all make 491,520 numbers with ViT-B, the
printed 0.49 M: which one RAP ran is a guess. So are s = 1 (no alpha / r) and no dropout.

Own code, not the `peft` package: peft is not among what petvr installs, it wraps and renames CLIP's layers, and its
update of one nn.Linear cannot express the joint form over separate q, k and v.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, HookContext, Insert, per_block, setting

VERSION = 1
IDENTITY = "exact"
OPEN = (
    "Which projections RAP adapts: joint and q_v at rank 8 and q_k_v_o at rank 4 all make 491,520 numbers.",
    "alpha (here alpha = r), dropout (here none) and rate of this row.",
)


class LoraSettings(DeclaredSettings):
    rank: int = setting(8, "count", "with targets it makes RAP's printed 0.49 M", at_least=1)
    targets: str = setting("joint", "guess", "three choices make the printed size", choices=("joint", "q_v", "q_k_v_o"))
    scale: float = setting(1.0, "guess", "RAP gives no alpha")


class LowRank(nn.Module):
    """x [.., D] -> x A^T B^T [.., out]."""

    def __init__(self, width: int, out: int, rank: int, generator: torch.Generator):
        super().__init__()
        self.a = nn.Parameter(torch.empty(rank, width))
        self.b = nn.Parameter(torch.zeros(out, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5), generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.a.T) @ self.b.T


def declare(settings: LoraSettings, build: BuildContext) -> Declaration:
    names = ["qkv"] if settings.targets == "joint" else settings.targets.split("_")
    lora = per_block(
        build.config,
        lambda tower: nn.ModuleDict(
            {name: LowRank(tower.width, len(name) * tower.width, settings.rank, build.generator) for name in names}
        ),
    )

    def add_qkv(projected: tuple[Tensor, ...], context: HookContext) -> tuple[Tensor, ...]:
        block = lora[context.tower][context.layer]
        if "qkv" in block:
            updates = block["qkv"](context.input).chunk(3, dim=-1)
        else:
            updates = [block[name](context.input) if name in block else None for name in "qkv"]
        pairs = zip(projected, updates, strict=True)
        return tuple(p if u is None else torch.add(p, u, alpha=settings.scale) for p, u in pairs)

    # the output projection reads at one place and is changed at the next

    def read_mixed(mixed: Tensor, context: HookContext) -> Tensor:
        context.state.memory["lora"] = lora[context.tower][context.layer]["o"](mixed)
        return mixed

    def add_out(out: Tensor, context: HookContext) -> Tensor:
        return torch.add(out, context.state.memory.pop("lora"), alpha=settings.scale)

    insert = [Insert("both", "qkv", add_qkv)]
    if "o" in names:
        insert += [Insert("both", "attn_mixed", read_mixed), Insert("both", "attn_out", add_out)]
    return Declaration(module=lora, insert=insert)
