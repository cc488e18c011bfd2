"""VL-Prompt, a baseline of Cross-Modal Adapter [Jiang et al. 2022, section 4; VT-Prompt in its table 4].

VPT-deep in both towers, independently: n learned tokens of width D_v behind CLS and n of width D_t behind SOT enter
every block, and what a block makes of them is thrown away. CLIP is frozen.

The text prompts get no positions and no word is cut (positions=free): the paper runs 80 of them, and CLIP has 77
positions. `used` gives the first block's prompts positions as CoOp does. Start N(0, 0.02); vision prompts enter
before ln_pre.
"""

from __future__ import annotations

from petvr.methods import _prompts
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, setting

VERSION = 1
IDENTITY = "none"
OPEN = (
    "How the prompts start (here N(0, 0.02) in both towers, nearly VPT's uniform spread) and on which side of "
    "ln_pre the vision prompts enter (here before it).",
    "The rate of the prompts.",
)
RULES = (("tokens", "positions == 'free' or tokens <= free_positions", "1 to {free_positions}"),)


class VlPromptSettings(DeclaredSettings):
    tokens: int = setting(5, "paper", "Cross-Modal Adapter appendix B: 5, 20, 40 and 80", at_least=1)
    positions: str = setting("free", "count", "80 prompts exceed CLIP's 77 positions", choices=("free", "used"))


def declare(settings: VlPromptSettings, build: BuildContext) -> Declaration:
    towers = {
        name: _prompts.normal(tower.layers, settings.tokens, tower.width, generator=build.generator)
        for name, tower in build.config.towers.items()
    }
    prompts = _prompts.Prompts("vl_prompt", **towers)
    insert = [*prompts.behind_cls(), *prompts.behind_sot(build.config, settings.positions)]
    return Declaration(module=prompts, insert=insert)
