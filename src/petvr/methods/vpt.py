"""VPT, visual prompt tuning [Jia et al. 2022, section 3.2], as RAP and Cross-Modal Adapter run it on CLIP.

    deep (default):  [CLS, P_i, patches] enters block i + 1, what it makes of P_i is thrown away        (equation 7)
    shallow:         [CLS, P_0, patches] enters block 1, the others read what became of P_0             (equation 4)

P_i: n tokens of width D_v for each of the L blocks (deep), for the first alone (shallow). CLIP is frozen; `text`
trained is RAP's second row, in which the whole text tower and its projection (63,428,096 numbers) train along.

`init` uniform: within +-sqrt(6 / (3 patch^2 + D_v)) [released code]; normal: N(0, 0.02) [MaPLe's code for CLIP].
"""

from __future__ import annotations

import torch

from petvr.methods import _prompts
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, setting

VERSION = 1
IDENTITY = {"vision": "none", "text": "exact"}
OPEN = (
    "RAP's n: its printed 0.21M fits no usual one (23 would); its 63.43M are the text encoder without prompts.",
    "On which side of ln_pre the prompts enter (here before it; the ViT of the released code has none), and dropout"
    " on prompts (here none, the released default).",
    "The rate of the prompts in either paper.",
)

TEXT = ("text_model.", "text_projection.")


class VptSettings(DeclaredSettings):
    tokens: int = setting(5, "paper", "Cross-Modal Adapter appendix B: 5, 20, 40 and 80", at_least=1)
    depth: str = setting("deep", "count", "meets Cross-Modal Adapter's printed sizes", choices=("deep", "shallow"))
    text: str = setting("frozen", "paper", "RAP table 1, its first VPT row", choices=("frozen", "trained"))
    init: str = setting("uniform", "code", "VPT's; normal is MaPLe's for CLIP", choices=("uniform", "normal"))


def declare(settings: VptSettings, build: BuildContext) -> Declaration:
    vision, trains = build.config.vision, settings.text == "trained"
    shape = (vision.layers if settings.depth == "deep" else 1, settings.tokens, vision.width)
    if settings.init == "uniform":
        bound = (6 / (3 * build.config.patch**2 + vision.width)) ** 0.5
        start = torch.empty(shape).uniform_(-bound, bound, generator=build.generator)
    else:
        start = _prompts.normal(*shape, generator=build.generator)
    prompts = _prompts.Prompts("vpt", vision=start)
    return Declaration(lambda name: trains and name.startswith(TEXT), prompts, prompts.behind_cls())
