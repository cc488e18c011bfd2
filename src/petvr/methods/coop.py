"""CoOp, context optimisation [Zhou et al. 2022, equation 2], as RAP (n = 32) and Cross-Modal Adapter (4/16/64) run it.

    [SOT, v_1 ... v_n, words, EOT]      v_i: learned, D_t wide, the same for every text, at the text tower's input alone

Everything else is frozen, the vision tower is CLIP's. Start: N(0, 0.02) [released code].

`positions` used (default, as the released code has it): the n vectors take up positions, words move n places back, and
at most 77 - n tokens of a text are kept, SOT and EOT among them (64 vectors leave 11 words). `free`: the vectors get no
positions and nothing is cut. Which of the two Cross-Modal Adapter ran is not said; with 64 vectors and 32 words it must
have been one of them.
"""

from __future__ import annotations

from petvr.methods import _prompts
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, setting

VERSION = 1
IDENTITY = {"vision": "exact", "text": "none"}
OPEN = (
    "Which `positions` Cross-Modal Adapter ran; with 64 vectors and 32 words it must have been one of the two.",
    "The rate of the prompts in either paper.",
)
RULES = (("tokens", "positions == 'free' or tokens <= free_positions", "1 to {free_positions}"),)


class CoopSettings(DeclaredSettings):
    tokens: int = setting(16, "code", "CoOp's M = 16; RAP runs 32, Cross-Modal Adapter 4, 16 and 64", at_least=1)
    positions: str = setting("used", "code", "CoOp's; Cross-Modal Adapter does not say", choices=("used", "free"))


def declare(settings: CoopSettings, build: BuildContext) -> Declaration:
    context = _prompts.normal(1, settings.tokens, build.config.text.width, generator=build.generator)
    prompts = _prompts.Prompts("coop", text=context)
    return Declaration(module=prompts, insert=prompts.behind_sot(build.config, settings.positions))
