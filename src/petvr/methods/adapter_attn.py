"""Adapter^ATTN, a baseline of VoP after the parallel adapter of He et al. [2022, section 4]: beside every attention.

    x = x + MHA(LN1 x) + s * ReLU(h W_down) W_up,   both towers, all blocks, width r = 64

`reads` normed (default): h = LN1 x, which is what the attention itself reads; stream: h = x. W_up starts at zero.
"""

from __future__ import annotations

from petvr.methods._bottleneck import Bottleneck, beside
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, Insert, per_block, setting

VERSION = 1
IDENTITY = "exact"
OPEN = (
    "All but the width: what the branch reads, s, the activation (here ReLU), the start (here W_up at zero).",
    "VoP searched a learning rate per method and publishes none.",
)


class AdapterAttnSettings(DeclaredSettings):
    width: int = setting(64, "main_paper", "VoP, the adapters' width", at_least=1)
    scale: float = setting(1.0, "guess", "VoP gives none; He et al. use a scalar")
    reads: str = setting(
        "normed", "guess", "VoP does not say; what the attention itself reads", choices=("normed", "stream")
    )


def declare(settings: AdapterAttnSettings, build: BuildContext) -> Declaration:
    adapters = per_block(
        build.config, lambda tower: Bottleneck(tower.width, settings.width, settings.scale, build.generator)
    )
    return Declaration(module=adapters, insert=[Insert("both", "attn_out", beside(adapters, settings.reads))])
