"""VoP: text-video co-operative prompts [Huang et al. 2023, section 3.2].

    text:    [_, W_i]    = block_i([P_t, W_{i-1}])             P_t: n = 8 learned tokens, new ones for every block   (3)
    vision:  [c, _, E]_i = block_i([c_{i-1}, P_v, E_{i-1}])    P_v: 8 likewise; c is CLS, E the patches              (4)

What a block makes of its prompts is thrown away. CLIP is frozen, the logit scale too. Start: N(0, 0.02).

Vision: [CLS, prompts, patches]; the first block's enter behind the positions and before ln_pre [released code].
Text: [SOT, prompts, words, EOT]; the first block's enter before the positions are added, so that prompts use up
positions and at most 77 - n words (SOT and EOT included) fit; longer texts are cut and keep EOT [released code].

`readout` formula (default): as the paper's formula has it, all n prompts precede the words and the feature is read at
EOT. `released`: what the public code does: n / 2 prompts behind SOT, n / 2 before the last position of the padded
text, and the feature is read n positions behind where EOT stood, though only n / 2 of the prompts precede it: for all
but full-length texts that is a padding position, and the later prompts get no gradient. Which of the two the paper's
numbers come from is unknown; the default is a guess.

vop_p, vop_c and vop_f replace vision prompts by others; their text side is this one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from petvr.clip.tokenizer import fit
from petvr.clip.towers import first_eot
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, HookContext, Insert, setting
from petvr.methods._prompts import Prompts, entering, normal

VERSION = 1
IDENTITY = "none"
OPEN = (
    "Which `readout` the paper's numbers come from; text features of the two differ by 0.4 to 1.3 of their norm.",
    "VoP searched a learning rate per method and publishes none.",
)

RULES = (("tokens", "readout == 'formula' or tokens % 2 == 0", "an even number for readout=released"),)
NOT_WITH = {
    "vop_p": "allowed: vop_f with vop_p, vop_f with vop_c",
    "vop_c": "allowed: vop_f with vop_p, vop_f with vop_c",
    "vop_f": "allowed: vop_f with vop_p, vop_f with vop_c",
}


class VopSettings(DeclaredSettings):
    tokens: int = setting(8, "code", "the released prompts, [12, 1, 8, D]", at_least=1, at_most="free_positions")
    readout: str = setting("formula", "guess", "paper and code differ, see above", choices=("formula", "released"))


class Vop(Prompts):
    """Text prompts of all blocks, and `generic` vision prompts for each of the first `blocks` blocks."""

    def __init__(self, settings: VopSettings, build: BuildContext, blocks: int, generic: int):
        config, generator, vision = build.config, build.generator, None
        if blocks and generic:
            vision = normal(blocks, generic, config.vision.width, generator=generator)
        text = normal(config.text.layers, settings.tokens, config.text.width, generator=generator)
        super().__init__("vop", vision=vision, text=text)
        self.config, self.tokens, self.blocks, self.readout = config, settings.tokens, blocks, settings.readout

    def inserts(self) -> list[Insert]:
        vision = entering("vision", "tokens_in", self.put, self.blocks) if self.blocks else []
        if self.readout == "formula":
            return [*vision, *self.behind_sot(self.config, "used")]
        text = entering("text", "embedded", self.put_on_both_sides, len(self.text))
        return [*vision, *text, Insert("text", "ids", self.pad)]

    # readout=released

    def pad(self, ids: Tensor, context: HookContext) -> Tensor:
        """Cut or pad to 77 - n with zeros behind EOT, as the released tokenizer does."""
        length = self.config.positions - self.tokens
        ids = fit(ids, length, self.config.eot)
        ids = functional.pad(ids, (0, length - ids.shape[1]))
        behind = torch.arange(length, device=ids.device) > first_eot(ids, self.config.eot)[:, None]
        return ids.masked_fill(behind, 0)

    def put_on_both_sides(self, x: Tensor, context: HookContext) -> Tensor:
        half = self.tokens // 2
        prompts = self.text[context.layer or 0].to(x.dtype).expand(x.shape[0], -1, -1)
        held = 0 if context.layer is None else half  # prompts of the block before, on either side
        if context.layer is None:
            context.state.eot = context.state.eot + self.tokens
            context.state.prompts = {"vop": half, **context.state.prompts}
        words = x[:, 1 + held : x.shape[1] - 1 - held]
        return torch.cat([x[:, :1], prompts[:, :half], words, prompts[:, half:], x[:, -1:]], dim=1)


def frame_blocks(build: BuildContext) -> int:
    """How many vision blocks read frame by frame."""
    return build.parts["vop_f"].shallow if "vop_f" in build.parts else build.config.vision.layers


def declare(settings: VopSettings, build: BuildContext) -> Declaration:
    module = Vop(settings, build, frame_blocks(build), settings.tokens)
    return Declaration(module=module, insert=module.inserts())
