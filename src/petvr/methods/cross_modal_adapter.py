"""Cross-Modal Adapter [Jiang et al. 2022, section 3.2]: adapters whose last output channels both towers share.

    Adapter(h) = h + [ g(h W_down + b_down) W_unique + b_unique ,  g(...) W_share + b_share ]        (equation 6)

behind the attention and behind the MLP of every block of both towers, before the residual sum; g is QuickGELU.
W_down [D, r] and W_unique [r, D - ds] belong to one tower, W_share [r, ds] serves vision and text at the same place.
`share=false` is the paper's table 2 without sharing: each tower has all D channels for itself (ds is then unused).

Initialisation [released code]: weights N(0, 0.01), biases 0: near identity, not exact. `dropout` acts behind g; the
paper recommends it without a rate, the code's default is 0.
"""

import torch
from torch import nn

from petvr.clip.towers import quick_gelu
from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration, Insert

VERSION = 1
DEFAULTS = {"r": 8, "ds": 16, "share": True, "dropout": 0.0}
IDENTITY = "near"

STD = 0.01
PLACES = ("attn_out", "mlp_out")


class Shared(nn.Module):
    """The up-projection's part that both towers use: [r, ds] and its bias."""

    def __init__(self, r, ds, generator):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(r, ds).normal_(std=STD, generator=generator))
        self.bias = nn.Parameter(torch.zeros(ds))


class Adapter(nn.Module):
    """One tower's part at one place. `shared` is not its own: it is handed over in every call."""

    def __init__(self, width, r, ds, dropout, generator):
        super().__init__()
        self.down = nn.Parameter(torch.empty(width, r).normal_(std=STD, generator=generator))
        self.down_bias = nn.Parameter(torch.zeros(r))
        if ds < width:  # where all channels are shared (ActivityNet's text tower) nothing is unique
            self.unique = nn.Parameter(torch.empty(r, width - ds).normal_(std=STD, generator=generator))
            self.unique_bias = nn.Parameter(torch.zeros(width - ds))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h, shared=None):
        z = self.dropout(quick_gelu(h @ self.down + self.down_bias))
        up, bias = [], []
        if hasattr(self, "unique"):
            up, bias = [self.unique], [self.unique_bias]
        if shared is not None:  # the shared channels are the last ones
            up, bias = [*up, shared.weight], [*bias, shared.bias]
        return h + z @ torch.cat(up, dim=1) + torch.cat(bias)


class CrossModal(nn.Module):
    def __init__(self, clip, setting, generator):
        super().__init__()
        widths = {"vision": clip.config.vision.width, "text": clip.config.text.width}
        layers = {"vision": clip.config.vision.layers, "text": clip.config.text.layers}
        ds = setting.ds if setting.share else 0
        for tower, width in widths.items():
            for place in PLACES:
                adapters = [Adapter(width, setting.r, ds, setting.dropout, generator) for _ in range(layers[tower])]
                self.add_module(f"{tower}_{place}", nn.ModuleList(adapters))
        if ds:  # a deeper vision tower (ViT-L) shares with text as far as both go
            for place in PLACES:
                shared = [Shared(setting.r, ds, generator) for _ in range(max(layers.values()))]
                self.add_module(f"shared_{place}", nn.ModuleList(shared))

    def at(self, tower, place):
        """The function that acts at `place` of `tower`."""
        adapters = getattr(self, f"{tower}_{place}")
        shared = getattr(self, f"shared_{place}", None)

        def act(h, context):
            return adapters[context.layer](h, None if shared is None else shared[context.layer])

        return act


def build(clip, setting, made):
    narrow = min(clip.config.vision.width, clip.config.text.width)
    if setting.r < 1 or not (1 <= setting.ds <= narrow or not setting.share):
        allowed = f"r >= 1, 1 <= ds <= {narrow} (the narrower tower)"
        raise PetvrError(f"method 'cross_modal_adapter': r={setting.r}, ds={setting.ds} given, allowed: {allowed}")
    module = CrossModal(clip, setting, made.generator)
    insert = [Insert(tower, place, module.at(tower, place)) for tower in ("vision", "text") for place in PLACES]
    return Declaration(module=module, insert=insert)
