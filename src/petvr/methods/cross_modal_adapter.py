"""Cross-Modal Adapter [Jiang et al. 2022, section 3.2]: adapters whose last output channels both towers share.

    Adapter(h) = h + [ g(h W_down + b_down) W_unique + b_unique ,  g(...) W_share + b_share ]        (equation 6)

behind the attention and behind the MLP of every block of both towers, before the residual sum; g is QuickGELU.
W_down [D, r] and W_unique [r, D - ds] belong to one tower, W_share [r, ds] serves vision and text at the same place.
`share=false` is the paper's table 2 without sharing: each tower has all D channels for itself (ds is then unused).

Initialisation [released code]: weights N(0, 0.01), biases 0: near identity, not exact. `dropout` acts behind g; the
paper recommends it without a rate, the code's default is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.clip.config import Tower
from petvr.clip.towers import quick_gelu
from petvr.methods._declare import (
    BuildContext,
    Declaration,
    DeclaredSettings,
    Hook,
    HookContext,
    Insert,
    per_block,
    setting,
)

VERSION = 1
IDENTITY = "near"
OPEN = ("The rate of the dropout behind the non-linearity that the paper recommends; the released command sets none.",)
RULES = (("ds", "not share or ds <= narrower_width", "1 to {narrower_width} (the narrower tower)"),)

STD = 0.01
PLACES = ("attn_out", "mlp_out")


class CrossModalAdapterSettings(DeclaredSettings):
    r: int = setting(8, "code", "LeapLabTHU/Cross-Modal-Adapter, README: --adapter_r 8", at_least=1)
    ds: int = setting(16, "code", "LeapLabTHU/Cross-Modal-Adapter, README: ds=16", at_least=1)
    share: bool = setting(True, "paper", "Cross-Modal Adapter section 3.2, equation 6")
    dropout: float = setting(0.0, "code", "LeapLabTHU/Cross-Modal-Adapter; the paper recommends some, no rate", below=1)


class SharedUp(nn.Module):
    """The up-projection's part that both towers use: [r, ds] and its bias."""

    def __init__(self, r: int, ds: int, generator: torch.Generator):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(r, ds).normal_(std=STD, generator=generator))
        self.bias = nn.Parameter(torch.zeros(ds))


class CrossModalAdapter(nn.Module):
    """One tower's part at one place. `shared` is not its own: it is handed over in every call."""

    def __init__(self, width: int, r: int, ds: int, dropout: float, generator: torch.Generator):
        super().__init__()
        self.down = nn.Parameter(torch.empty(width, r).normal_(std=STD, generator=generator))
        self.down_bias = nn.Parameter(torch.zeros(r))
        if ds < width:  # where all channels are shared (ActivityNet's text tower) nothing is unique
            self.unique = nn.Parameter(torch.empty(r, width - ds).normal_(std=STD, generator=generator))
            self.unique_bias = nn.Parameter(torch.zeros(width - ds))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, shared: SharedUp | None = None) -> Tensor:
        z = self.dropout(quick_gelu(h @ self.down + self.down_bias))
        up, bias = [], []
        if hasattr(self, "unique"):
            up, bias = [self.unique], [self.unique_bias]
        if shared is not None:  # the shared channels are the last ones
            up, bias = [*up, shared.weight], [*bias, shared.bias]
        return h + z @ torch.cat(up, dim=1) + torch.cat(bias)


def adapters_at(place: str, module: nn.ModuleDict) -> Hook:
    """What acts at `place` of both towers; its parts are named `vision_<place>`, `text_<place>`, `shared_<place>`."""

    def adapt(h: Tensor, context: HookContext) -> Tensor:
        shared = module[f"shared_{place}"][context.layer] if f"shared_{place}" in module else None
        return module[f"{context.tower}_{place}"][context.layer](h, shared)

    return adapt


def declare(settings: CrossModalAdapterSettings, build: BuildContext) -> Declaration:
    ds, generator, module = settings.ds if settings.share else 0, build.generator, nn.ModuleDict()

    def make(tower: Tower) -> CrossModalAdapter:
        return CrossModalAdapter(tower.width, settings.r, ds, settings.dropout, generator)

    for tower in build.config.towers:
        for place in PLACES:
            module[f"{tower}_{place}"] = per_block(build.config, make, [tower])[tower]
    if ds:  # a deeper vision tower (ViT-L) shares with text as far as both go
        depth = max(tower.layers for tower in build.config.towers.values())
        for place in PLACES:
            module[f"shared_{place}"] = nn.ModuleList(SharedUp(settings.r, ds, generator) for _ in range(depth))
    return Declaration(module=module, insert=[Insert("both", place, adapters_at(place, module)) for place in PLACES])
