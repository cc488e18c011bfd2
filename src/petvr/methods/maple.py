"""MaPLe, multi-modal prompt learning [Khattak et al. 2023, section 3.2], as Cross-Modal Adapter re-implemented it.

    text:    [SOT, P_i, words, EOT]         P_i: n learned tokens of width D_t for each block    (section 3.2.1)
    vision:  [CLS, F_i(P_i), patches]       F_i = Linear(D_t, D_v), one for each block   (3.2.2 and 3.2.3)

The vision prompts are nothing of their own: they are projected from the text's at the same block, so that images train
the text prompts too. What a block makes of its prompts is thrown away. CLIP is frozen. Depth: all blocks, as
Cross-Modal Adapter's counts say (MaPLe's own default is 9); the deeper tower of ViT-L keeps the last ones.

projections: `cloned` F_1 is drawn as torch's Linear and all deeper ones start equal, as copies of one [released code];
`drawn` each is drawn anew.

Start: P_i ~ N(0, 0.02) [released code, which fills up to four first tokens with "a photo of a"].
`positions` used: the first block's text prompts take up positions, words move back and long texts are cut [released
code]; `free`: they do not. Which of them Cross-Modal Adapter took is not said. Vision prompts enter before ln_pre.
"""

from __future__ import annotations

from torch import Tensor, nn

from petvr.methods import _prompts
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, HookContext, setting

VERSION = 2
IDENTITY = "none"
OPEN = (
    "Which `positions` Cross-Modal Adapter took, how its prompts start, and on which side of ln_pre the vision "
    "prompts enter (here before it).",
    "What the star on its MaPLe* means.",
    "The rate of the prompts.",
)
RULES = (("tokens", "positions == 'free' or tokens <= free_positions", "1 to {free_positions}"),)


class MapleSettings(DeclaredSettings):
    tokens: int = setting(5, "paper", "Cross-Modal Adapter appendix B: 5, 20 and 40", at_least=1)
    positions: str = setting("used", "code", "MaPLe's; Cross-Modal Adapter does not say", choices=("used", "free"))
    projections: str = setting("cloned", "code", "MaPLe's", choices=("cloned", "drawn"))


class CoupledPrompts(_prompts.Prompts):
    def __init__(self, text: Tensor, width: int, cloned: bool):
        super().__init__("maple", text=text)
        self.to_vision = nn.ModuleList(nn.Linear(text.shape[-1], width) for _ in text)
        for deeper in self.to_vision[2:] if cloned else ():
            deeper.load_state_dict(self.to_vision[1].state_dict())

    def prompts(self, x: Tensor, context: HookContext) -> Tensor:
        block = context.layer or 0
        return self.to_vision[block](self.text[block]) if context.tower == "vision" else self.text[block]


def declare(settings: MapleSettings, build: BuildContext) -> Declaration:
    vision, text = build.config.vision, build.config.text
    depth = min(vision.layers, text.layers)
    start = _prompts.normal(depth, settings.tokens, text.width, generator=build.generator)
    prompts = CoupledPrompts(start, vision.width, settings.projections == "cloned")
    in_vision = _prompts.entering("vision", "tokens_in", prompts.put, depth)
    return Declaration(module=prompts, insert=[*in_vision, *prompts.behind_sot(build.config, settings.positions)])
