"""MaPLe, multi-modal prompt learning [Khattak et al. 2023, section 3.2], as Cross-Modal Adapter re-implemented it.

    text:    [SOT, P_i, words, EOT]         P_i: n learned tokens of width D_t for each block    (section 3.2.1)
    vision:  [CLS, F_i(P_i), patches]       F_i = Linear(D_t, D_v), one for each block   (3.2.2 and 3.2.3)

The vision prompts are nothing of their own: they are projected from the text's at the same block, so that images train
the text prompts too. What a block makes of its prompts is thrown away. CLIP is frozen. Depth: all blocks, as
Cross-Modal Adapter's counts say (MaPLe's own default is 9); the deeper tower of ViT-L keeps the last ones.

Start: P_i ~ N(0, 0.02), F_i as torch's Linear [released code, which fills up to four first tokens with "a photo of a"].
`positions` used: the first block's text prompts take up positions, words move back and long texts are cut [released
code]; `free`: they do not. Which of them Cross-Modal Adapter took is not said. Vision prompts enter before ln_pre.
"""

from torch import nn

from petvr.methods import _prompts
from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {"tokens": 5, "positions": "used"}
CHOICES = {"positions": ["used", "free"]}
IDENTITY = "none"


class Coupled(_prompts.Prompts):
    def __init__(self, text, width):
        super().__init__("maple", text=text)
        self.to_vision = nn.ModuleList(nn.Linear(text.shape[-1], width) for _ in text)

    def prompts(self, x, context):
        block = context.layer or 0
        return self.to_vision[block](self.text[block]) if context.state.tower == "vision" else self.text[block]


def build(clip, setting, made):
    room = clip.config.positions - 2 if setting.positions == "used" else None
    _prompts.check("maple", setting.tokens, room)
    vision, text = clip.config.vision, clip.config.text
    depth = min(vision.layers, text.layers)
    prompts = Coupled(_prompts.normal(depth, setting.tokens, text.width, generator=made.generator), vision.width)
    return Declaration(
        module=prompts,
        insert=[
            *_prompts.entering("vision", "tokens_in", prompts.put, depth),
            *prompts.behind_sot(clip.config, setting.positions),
        ],
    )
