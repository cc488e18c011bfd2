"""CM-Adapter: Cross-Modal Adapter [Jiang et al. 2022] as MV-Adapter's authors rebuilt it (section 5.1, rows CM*).

    A(x) = x + s * ( ReLU(LN(x) W_down + b_down) Concat[W_up, W_up^cm] + b_up )        x: the FFN's output

one in every block of both towers, before the residual sum. W_down [D, r] and W_up [r, D - ds] belong to a tower,
W_up^cm [r, ds], the last ds channels, serves vision and text at the same depth. `cross_modal_adapter` is the paper's
own form: two in a block, r = 8 or 16, no LayerNorm.

`width` r = 128, a LayerNorm of its own, one adapter per block and all of CLIP's biases (`biases`) meet the printed
shares: ds = 16 2.76 %, 8 (DiDeMo) 2.77 %, 512 (ActivityNet; the text tower then has nothing of its own) 2.25 %.
Guesses: s = 1, as the formula is printed; ReLU and the start values (W_up at zero) from AdaptMLP, on which it is said
to be based; the adapter stands behind the FFN.
"""

import math

import torch
from torch import nn

from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration, Insert

VERSION = 1
DEFAULTS = {"ds": 16, "width": 128, "scale": 1.0, "norm": True, "biases": True}
IDENTITY = "exact"


class Up(nn.Module):
    """Some channels of the up projection, [r, channels] and their bias; starts at zero."""

    def __init__(self, width, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, channels))
        self.bias = nn.Parameter(torch.zeros(channels))


class Adapter(nn.Module):
    def __init__(self, width, setting, generator):
        super().__init__()
        self.norm = nn.LayerNorm(width) if setting.norm else nn.Identity()
        self.down = nn.Linear(width, setting.width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.down.bias)
        self.scale = setting.scale
        self.up = Up(setting.width, width - setting.ds) if setting.ds < width else None

    def forward(self, x, shared):
        ups = [shared] if self.up is None else [self.up, shared]
        weight, bias = (torch.cat([getattr(up, name) for up in ups], dim=-1) for name in ("weight", "bias"))
        return x + self.scale * (torch.relu(self.down(self.norm(x))) @ weight + bias)


class CmAdapter(nn.Module):
    def __init__(self, config, setting, generator):
        super().__init__()
        for tower, part in (("vision", config.vision), ("text", config.text)):
            self.add_module(tower, nn.ModuleList(Adapter(part.width, setting, generator) for _ in range(part.layers)))
        depth = max(config.vision.layers, config.text.layers)
        self.shared = nn.ModuleList(Up(setting.width, setting.ds) for _ in range(depth))

    def at(self, tower):
        adapters = getattr(self, tower)
        return lambda x, context: adapters[context.layer](x, self.shared[context.layer])


def build(clip, setting, made):
    narrow = min(clip.config.vision.width, clip.config.text.width)
    if setting.width < 1 or not 1 <= setting.ds <= narrow:
        allowed = f"width >= 1, 1 <= ds <= {narrow} (the narrower tower)"
        raise PetvrError(f"method 'cm_adapter': width={setting.width}, ds={setting.ds} given, allowed: {allowed}")
    module = CmAdapter(clip.config, setting, made.generator)
    insert = [Insert(tower, "mlp_out", module.at(tower)) for tower in ("vision", "text")]
    return Declaration(lambda name: setting.biases and name.endswith(".bias"), module, insert)
