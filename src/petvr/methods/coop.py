"""CoOp, context optimisation [Zhou et al. 2022, equation 2], as RAP (n = 32) and Cross-Modal Adapter (4/16/64) run it.

    [SOT, v_1 ... v_n, words, EOT]      v_i: learned, D_t wide, the same for every text, at the text tower's input alone

Everything else is frozen, the vision tower is CLIP's. Start: N(0, 0.02) [released code].

`positions` used (default, as the released code has it): the n vectors take up positions, words move n places back, and
at most 77 - n tokens of a text are kept, SOT and EOT among them (64 vectors leave 11 words). `free`: the vectors get no
positions and nothing is cut. Which of the two Cross-Modal Adapter ran is not said; with 64 vectors and 32 words it must
have been one of them.
"""

from petvr.methods import _prompts
from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {"tokens": 16, "positions": "used"}
CHOICES = {"positions": ["used", "free"]}
IDENTITY = {"vision": "exact", "text": "none"}


def build(clip, setting, made):
    room = clip.config.positions - 2 if setting.positions == "used" else None
    _prompts.check("coop", setting.tokens, room)
    context = _prompts.normal(1, setting.tokens, clip.config.text.width, generator=made.generator)
    prompts = _prompts.Prompts("coop", text=context)
    return Declaration(module=prompts, insert=prompts.behind_sot(clip.config, setting.positions))
