"""Convpass [Jie & Deng 2022], a baseline of MV-Adapter (section 5.1): a convolution beside attention and MLP.

    A(x) = MHSA(x) / FFN(x) + s * g(conv3x3(g(LN(x) W_down + b_down))) W_up + b_up       g: QuickGELU

in every block of the vision tower; x is what the sub-layer itself reads, behind CLIP's LN1 or LN2 [Convpass's code].
W_down [D, r]. The patches of a frame are convolved on their grid with a border of zeros; CLS (and prompts) pass as
pictures of one pixel, that is through the kernel's centre. `text` adaptformer: the text tower has a sequential
AdaptMLP (petvr.methods.adaptformer) as in MV-Adapter's tables; frozen: nothing.

The printed 2.80 % is met by r = 64 with a depthwise convolution (`conv`), a LayerNorm of its own in both kinds of
adapter (`norm`), `text_width` 128 and all of CLIP's biases (`biases`): 4,195,328 numbers.
W_down and the kernel start by Xavier's rule, W_up at zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from petvr.clip.towers import quick_gelu
from petvr.methods._bottleneck import Bottleneck, behind
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
IDENTITY = "exact"
TUNE = ("lr_new", "lr_clip")
OPEN = (
    "Width, form of the convolution, LayerNorm and trained biases: together they meet the printed share; Convpass's"
    " own code has r = 8, a full convolution and no LayerNorm, which no r brings to 2.80 %.",
    "Scale, dropout (here none, as in the formula; Convpass's code sets 0.1), start (Xavier for W_down and the "
    "kernel, W_up at zero) and rate of this row.",
)

PLACES = ("attn_out", "mlp_out")


class ConvpassSettings(DeclaredSettings):
    width: int = setting(64, "count", "with a depthwise conv, norms and biases the printed 2.80 %", at_least=1)
    conv: str = setting("depthwise", "guess", "no width of a full one meets 2.80 %", choices=("depthwise", "full"))
    scale: float = setting(0.1, "guess", "MV-Adapter gives none for this row")
    norm: bool = setting(True, "count", "with width, conv and biases the printed 2.80 %")
    text: str = setting("adaptformer", "paper", "MV-Adapter section 5.1", choices=("adaptformer", "frozen"))
    text_width: int = setting(128, "count", "as the AdaptFormer rows", at_least=1)
    biases: bool = setting(True, "count", "with width, conv and norm the printed 2.80 %")


class Bypass(nn.Module):
    """One bypass; `side` is how many patches a frame is wide and high."""

    def __init__(self, width: int, side: int, settings: ConvpassSettings, generator: torch.Generator):
        super().__init__()
        hidden = settings.width
        self.side, self.scale = side, settings.scale
        self.norm = nn.LayerNorm(width) if settings.norm else nn.Identity()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden if settings.conv == "depthwise" else 1)
        for layer in (self.down, self.conv):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        for zero in (self.down.bias, self.conv.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor, leading: int) -> Tensor:
        """x [R, S, D] -> [R, S, D]; the first `leading` tokens are no patches. Frames joined in a row lie in order."""
        z = quick_gelu(self.down(self.norm(x)))
        alone, patches = z[:, :leading], z[:, leading:]
        grids = patches.reshape(-1, self.side, self.side, z.shape[-1]).permute(0, 3, 1, 2)
        patches = self.conv(grids).permute(0, 2, 3, 1).reshape(patches.shape)
        return self.up(quick_gelu(torch.cat([self.centre(alone), patches], dim=1)))

    def centre(self, z: Tensor) -> Tensor:
        """The convolution of pictures of one pixel, [R, n, r]."""
        kernel = self.conv.weight[:, :, 1, 1]
        if self.conv.groups == 1:
            return functional.linear(z, kernel, self.conv.bias)
        return torch.addcmul(self.conv.bias, z, kernel[:, 0]).to(z.dtype)


def beside_sublayer(bypasses: nn.ModuleList) -> Hook:
    def add(out: Tensor, context: HookContext) -> Tensor:
        bypass = bypasses[context.layer]
        return torch.add(out, bypass(context.input, context.state.num_leading_tokens), alpha=bypass.scale)

    return add


def declare(settings: ConvpassSettings, build: BuildContext) -> Declaration:
    config, side = build.config, build.config.image // build.config.patch
    module, insert = nn.ModuleDict(), []
    for place in PLACES:
        bypasses = per_block(config, lambda tower: Bypass(tower.width, side, settings, build.generator), ["vision"])
        module[f"vision_{place}"] = bypasses["vision"]
        insert.append(Insert("vision", place, beside_sublayer(bypasses["vision"])))
    if settings.text == "adaptformer":
        arguments = (settings.text_width, settings.scale, build.generator, settings.norm)
        adapters = per_block(config, lambda tower: Bottleneck(tower.width, *arguments), ["text"])
        module.update(adapters)
        insert.append(Insert("text", "mlp_out", behind(adapters)))
    return Declaration(lambda name: settings.biases and name.endswith(".bias"), module, insert)
