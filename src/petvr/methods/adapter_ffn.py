"""Adapter^FFN, a baseline of VoP after AdaptFormer [Chen et al. 2022, equation 2]: beside every MLP.

    x = x + MLP(LN2 x) + s * ReLU(h W_down) W_up,   both towers, all blocks, width r = 64

`reads` stream (default): h = x before LN2, as in AdaptFormer's code; normed: h = LN2 x. W_up starts at zero.
"""

from __future__ import annotations

from petvr.methods._bottleneck import Bottleneck, beside
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, Insert, per_block, setting

VERSION = 1
IDENTITY = "exact"
OPEN = (
    "All but the width: what the branch reads, s, the activation (here ReLU); a LayerNorm of its own would not meet"
    " the printed size.",
    "VoP searched a learning rate per method and publishes none.",
)


class AdapterFfnSettings(DeclaredSettings):
    width: int = setting(64, "main_paper", "VoP, the adapters' width", at_least=1)
    scale: float = setting(0.1, "guess", "VoP gives none; AdaptFormer's")
    reads: str = setting("stream", "guess", "VoP does not say; as AdaptFormer's code", choices=("normed", "stream"))


def declare(settings: AdapterFfnSettings, build: BuildContext) -> Declaration:
    adapters = per_block(
        build.config, lambda tower: Bottleneck(tower.width, settings.width, settings.scale, build.generator)
    )
    return Declaration(module=adapters, insert=[Insert("both", "mlp_out", beside(adapters, settings.reads))])
