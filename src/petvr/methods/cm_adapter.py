"""CM-Adapter: Cross-Modal Adapter [Jiang et al. 2022] as MV-Adapter's authors rebuilt it (section 5.1, rows CM*).

    A(x) = x + s * ( ReLU(LN(x) W_down + b_down) Concat[W_up, W_up^cm] + b_up )        x: the FFN's output

one in every block of both towers, before the residual sum. W_down [D, r] and W_up [r, D - ds] belong to a tower,
W_up^cm [r, ds], the last ds channels, serves vision and text at the same depth. `cross_modal_adapter` is the paper's
own form: two in a block, r = 8 or 16, no LayerNorm.

`width` r = 128, a LayerNorm of its own, one adapter per block and all of CLIP's biases (`biases`) meet the printed
shares: ds = 16 2.76 %, 8 (DiDeMo) 2.77 %, 512 (ActivityNet; the text tower then has nothing of its own) 2.25 %.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, HookContext, Insert, per_block, setting

VERSION = 1
IDENTITY = "exact"
TUNE = ("lr_new", "lr_clip")
OPEN = (
    "Width, LayerNorm, place (here behind the FFN) and trained biases: together they meet the printed shares, none "
    "stands in the paper.",
    "Scale (here 1, as the formula is printed), activation and start (here AdaptMLP's), and the rate.",
)


class CmAdapterSettings(DeclaredSettings):
    ds: int = setting(16, "count", "MSR-VTT's printed 2.76 %", at_least=1, at_most="narrower_width")
    width: int = setting(128, "count", "with norm and biases the printed 2.76 %", at_least=1)
    scale: float = setting(1.0, "guess", "the formula is printed without one")
    norm: bool = setting(True, "count", "with width and biases the printed 2.76 %")
    biases: bool = setting(True, "count", "with width and norm the printed 2.76 %")


class Up(nn.Module):
    """Some channels of the up projection, [r, channels] and their bias; starts at zero."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, channels))
        self.bias = nn.Parameter(torch.zeros(channels))


class CmAdapter(nn.Module):
    """One tower's part of an adapter. `shared`, the other part, is handed over in every call."""

    def __init__(self, width: int, settings: CmAdapterSettings, generator: torch.Generator):
        super().__init__()
        self.norm = nn.LayerNorm(width) if settings.norm else nn.Identity()
        self.down = nn.Linear(width, settings.width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.down.bias)
        self.scale = settings.scale
        self.up = Up(settings.width, width - settings.ds) if settings.ds < width else None

    def forward(self, x: Tensor, shared: Up) -> Tensor:
        ups = [shared] if self.up is None else [self.up, shared]
        weight, bias = (torch.cat([getattr(up, name) for up in ups], dim=-1) for name in ("weight", "bias"))
        return x + self.scale * (torch.relu(self.down(self.norm(x))) @ weight + bias)


def declare(settings: CmAdapterSettings, build: BuildContext) -> Declaration:
    module = per_block(build.config, lambda tower: CmAdapter(tower.width, settings, build.generator))
    depth = max(tower.layers for tower in build.config.towers.values())
    shared = module["shared"] = nn.ModuleList(Up(settings.width, settings.ds) for _ in range(depth))

    def adapt_mlp(x: Tensor, context: HookContext) -> Tensor:
        return module[context.tower][context.layer](x, shared[context.layer])

    return Declaration(
        lambda name: settings.biases and name.endswith(".bias"), module, [Insert("both", "mlp_out", adapt_mlp)]
    )
