"""VPT, visual prompt tuning [Jia et al. 2022, section 3.2], as RAP and Cross-Modal Adapter run it on CLIP.

    deep (default):  [CLS, P_i, patches] enters block i + 1, what it makes of P_i is thrown away        (equation 7)
    shallow:         [CLS, P_0, patches] enters block 1, the others read what became of P_0             (equation 4)

P_i: n tokens of width D_v for each of the L blocks (deep), for the first alone (shallow). CLIP is frozen; `text`
trained is RAP's second row, in which the whole text tower and its projection (63,428,096 numbers) train along.

`init` uniform: within +-sqrt(6 / (3 patch^2 + D_v)) [released code]; normal: N(0, 0.02) [MaPLe's code for CLIP].
Guesses: the prompts enter before ln_pre, which the ViT of the released code does not have; no dropout on prompts
(the released default). RAP does not give n, and its printed 0.21M fits no usual one.
"""

import torch

from petvr.methods import _prompts
from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {"tokens": 5, "depth": "deep", "text": "frozen", "init": "uniform"}
CHOICES = {"depth": ["deep", "shallow"], "text": ["frozen", "trained"], "init": ["uniform", "normal"]}
IDENTITY = {"vision": "none", "text": "exact"}

TEXT = ("text_model.", "text_projection.")


def build(clip, setting, made):
    _prompts.check("vpt", setting.tokens)
    vision = clip.config.vision
    shape = (vision.layers if setting.depth == "deep" else 1, setting.tokens, vision.width)
    if setting.init == "uniform":
        bound = (6 / (3 * clip.config.patch**2 + vision.width)) ** 0.5
        drawn = torch.empty(shape).uniform_(-bound, bound, generator=made.generator)
    else:
        drawn = _prompts.normal(*shape, generator=made.generator)
    prompts = _prompts.Prompts("vpt", vision=drawn)
    trains = setting.text == "trained"
    return Declaration(train=lambda name: trains and name.startswith(TEXT), module=prompts, insert=prompts.behind_cls())
