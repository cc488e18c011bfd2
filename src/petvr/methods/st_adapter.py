"""ST-Adapter [Pan et al. 2022, equation 4], a baseline of RAP and of MV-Adapter: a convolution along time.

    A(x) = x + DWConv(x W_down + b_down) W_up + b_up          x [B, F, P, D], W_down [D, r]

on the patches of the vision tower; CLS and prompts stay as they are. DWConv is a depthwise convolution, kernel 3 in
time and 1 x 1 in space, bordered by zeros; there is no activation. Frames whose mask is False count as border, so that
they change nothing (the public code knows no masks).

`per_block` 2 (RAP, printed 14.22 M = 24 x 592,512): at the beginning of every block and again before its LN2 and MLP.
1 (MV-Adapter): at the beginning alone. `text` frozen; trained: the whole text encoder with its projection
(63,428,096 numbers; with the adapters 77.65 M, RAP prints 77.45 M); adaptformer: a sequential AdaptMLP of `text_width`
with a LayerNorm of its own (petvr.methods.adaptformer), as in MV-Adapter's tables, where with `biases` (all of CLIP's)
it makes the printed 5.93 %. The second adapter of the last block changes patches that nothing reads any more: in RAP's
form 592,512 of the numbers never get a gradient. `width` r = 384 is Pan's and fits both. Guess: AdaptMLP's scale
of 0.1 (`text_scale`).

Initialisation [Pan's code]: the convolution and all biases zero, W_down and W_up as torch draws them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from petvr.clip.insert import ForwardState
from petvr.methods._bottleneck import Bottleneck, behind
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, Hook, Insert, per_block, setting

VERSION = 1
IDENTITY = "exact"
SEES_ORDER = "a convolution along time, which starts at zero"
OPEN = (
    "The printed 77.45 M of RAP's row with a trained text encoder; adapters and encoder make 77.65 M.",
    "Width, one or two per block, and AdaptMLP's scale (here 0.1) in MV-Adapter's row: they follow its printed share.",
    "In RAP's form the second adapter of the last block changes patches that nothing reads: 592,512 of its numbers "
    "never get a gradient.",
    "The rate in either paper.",
)

PLACES = ("block_in", "mid")
TEXT = ("text_model.", "text_projection.")


class StAdapterSettings(DeclaredSettings):
    per_block: int = setting(2, "count", "RAP's printed 14.22 M = 24 x 592,512", choices=(1, 2))
    width: int = setting(384, "code", "Pan's; it fits RAP's and MV-Adapter's printed sizes", at_least=1)
    text: str = setting("frozen", "paper", "RAP table 1, first row", choices=("frozen", "trained", "adaptformer"))
    text_width: int = setting(128, "count", "with biases MV-Adapter's printed 5.93 %", at_least=1)
    text_scale: float = setting(0.1, "guess", "AdaptFormer's")
    biases: bool = setting(False, "count", "RAP's printed 14.22 M has none")


class StAdapter(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.taps = nn.Parameter(torch.zeros(3, hidden))  # of the frame before, the frame itself, the frame after
        self.taps_bias = nn.Parameter(torch.zeros(hidden))
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor, state: ForwardState) -> Tensor:
        """x [R, S, D] -> [R, S, D]; rows may be frames, or videos with all their frames' patches in order."""
        alone, patches = x[:, : state.num_leading_tokens], x[:, state.num_leading_tokens :]
        z = self.down(patches)
        z = z.reshape(state.videos, state.frames, -1, z.shape[-1])
        if state.mask is not None:
            z = z.masked_fill(~state.mask[:, :, None, None], 0)
        z = self.along_time(z).reshape(*patches.shape[:2], -1)
        return torch.cat([alone, patches + self.up(z)], dim=1)

    def along_time(self, z: Tensor) -> Tensor:
        """z [B, F, P, r]: three shifted products."""
        wide, taps = functional.pad(z, (0, 0, 0, 0, 1, 1)), self.taps.to(z.dtype)
        out = self.taps_bias.to(z.dtype)
        for shift, tap in enumerate(taps):
            out = torch.addcmul(out, wide[:, shift : shift + z.shape[1]], tap)
        return out


def along(adapters: nn.ModuleList) -> Hook:
    return lambda x, context: adapters[context.layer](x, context.state)


def declare(settings: StAdapterSettings, build: BuildContext) -> Declaration:
    module, insert = nn.ModuleDict(), []
    for place in PLACES[: settings.per_block]:
        adapters = per_block(build.config, lambda tower: StAdapter(tower.width, settings.width), ["vision"])["vision"]
        module[f"vision_{place}"] = adapters
        insert.append(Insert("vision", place, along(adapters)))
    if settings.text == "adaptformer":
        arguments = (settings.text_width, settings.text_scale, build.generator, True)
        of_text = per_block(build.config, lambda tower: Bottleneck(tower.width, *arguments), ["text"])
        module.update(of_text)
        insert.append(Insert("text", "mlp_out", behind(of_text)))

    def trains(name: str) -> bool:
        return (settings.biases and name.endswith(".bias")) or (settings.text == "trained" and name.startswith(TEXT))

    return Declaration(trains, module, insert, temporal=True)
