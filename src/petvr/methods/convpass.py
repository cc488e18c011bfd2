"""Convpass [Jie & Deng 2022], a baseline of MV-Adapter (section 5.1): a convolution beside attention and MLP.

    A(x) = MHSA(x) / FFN(x) + s * g(conv3x3(g(LN(x) W_down + b_down))) W_up + b_up       g: QuickGELU

in every block of the vision tower; x is what the sub-layer itself reads, behind CLIP's LN1 or LN2 [Convpass's code].
W_down [D, r]. The patches of a frame are convolved on their grid with a border of zeros; CLS (and prompts) pass as
pictures of one pixel, that is through the kernel's centre. `text` adaptformer: the text tower has a sequential
AdaptMLP (petvr.methods.adaptformer) as in MV-Adapter's tables; frozen: nothing.

The printed 2.80 % is met by r = 64 with a depthwise convolution (`conv`), a LayerNorm of its own in both kinds of
adapter (`norm`), `text_width` 128 and all of CLIP's biases (`biases`): 4,195,328 numbers. Convpass's own code has
r = 8, a full convolution (conv=full) and no LayerNorm, which no r brings to 2.80 %: guess. Guesses too: s = 0.1;
no dropout, as in the formula (Convpass's code sets 0.1); Xavier for W_down and the kernel; W_up starts at zero.
"""

import torch
from torch import nn
from torch.nn import functional

from petvr.clip.towers import quick_gelu
from petvr.methods._adapted import Declaration, Insert
from petvr.methods._bottleneck import behind, stack

VERSION = 1
DEFAULTS = {
    "width": 64,
    "conv": "depthwise",
    "scale": 0.1,
    "norm": True,
    "text": "adaptformer",
    "text_width": 128,
    "biases": True,
}
CHOICES = {"conv": ["depthwise", "full"], "text": ["adaptformer", "frozen"]}
IDENTITY = "exact"

PLACES = ("attn_out", "mlp_out")


class Bypass(nn.Module):
    """One bypass; `side` is how many patches a frame is wide and high."""

    def __init__(self, width, side, setting, generator):
        super().__init__()
        hidden = setting.width
        self.side, self.scale = side, setting.scale
        self.norm = nn.LayerNorm(width) if setting.norm else nn.Identity()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden if setting.conv == "depthwise" else 1)
        for layer in (self.down, self.conv):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        for zero in (self.down.bias, self.conv.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x, leading):
        """x [R, S, D] -> [R, S, D]; the first `leading` tokens are no patches. Frames joined in a row lie in order."""
        z = quick_gelu(self.down(self.norm(x)))
        alone, patches = z[:, :leading], z[:, leading:]
        grids = patches.reshape(-1, self.side, self.side, z.shape[-1]).permute(0, 3, 1, 2)
        patches = self.conv(grids).permute(0, 2, 3, 1).reshape(patches.shape)
        return self.up(quick_gelu(torch.cat([self.centre(alone), patches], dim=1)))

    def centre(self, z):
        """The convolution of pictures of one pixel, [R, n, r]."""
        kernel = self.conv.weight[:, :, 1, 1]
        if self.conv.groups == 1:
            return functional.linear(z, kernel, self.conv.bias)
        return torch.addcmul(self.conv.bias, z, kernel[:, 0]).to(z.dtype)


def build(clip, setting, made):
    part, side = clip.config.vision, clip.config.image // clip.config.patch
    module, insert = nn.ModuleDict(), []
    for place in PLACES:
        bypasses = [Bypass(part.width, side, setting, made.generator) for _ in range(part.layers)]
        module[f"vision_{place}"] = nn.ModuleList(bypasses)
        insert.append(Insert("vision", place, add(module[f"vision_{place}"])))
    if setting.text == "adaptformer":
        module["text"] = stack(clip.config.text, setting.text_width, setting.scale, made.generator, setting.norm)
        insert.append(Insert("text", "mlp_out", behind(module["text"])))
    return Declaration(lambda name: setting.biases and name.endswith(".bias"), module, insert)


def add(bypasses):
    def act(out, context):
        bypass = bypasses[context.layer]
        return torch.add(out, bypass(context.input, context.state.num_leading_tokens), alpha=bypass.scale)

    return act
