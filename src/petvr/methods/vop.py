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

import torch
from torch.nn import functional

from petvr.clip.text import first_eot, fit
from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration, Insert
from petvr.methods._prompts import Prompts, check, entering, normal

VERSION = 1
DEFAULTS = {"tokens": 8, "readout": "formula"}
CHOICES = {"readout": ["formula", "released"]}
IDENTITY = "none"

FAMILY = ("vop", "vop_p", "vop_c", "vop_f")


class Vop(Prompts):
    """Text prompts of all blocks, and `generic` vision prompts for each of the first `blocks` blocks."""

    def __init__(self, config, setting, generator, blocks, generic):
        vision = normal(blocks, generic, config.vision.width, generator=generator) if blocks and generic else None
        text = normal(config.text.layers, setting.tokens, config.text.width, generator=generator)
        super().__init__("vop", vision=vision, text=text)
        self.config, self.tokens, self.blocks, self.readout = config, setting.tokens, blocks, setting.readout

    def inserts(self):
        vision = entering("vision", "tokens_in", self.put, self.blocks) if self.blocks else []
        if self.readout == "formula":
            return [*vision, *self.behind_sot(self.config, "used")]
        text = entering("text", "embedded", self.put_on_both_sides, len(self.text))
        return [*vision, *text, Insert("text", "ids", self.pad)]

    # readout=released

    def pad(self, ids, context):
        """Cut or pad to 77 - n with zeros behind EOT, as the released tokenizer does."""
        length = self.config.positions - self.tokens
        ids = fit(ids, length, self.config.eot)
        ids = functional.pad(ids, (0, length - ids.shape[1]))
        behind = torch.arange(length, device=ids.device) > first_eot(ids, self.config.eot)[:, None]
        return ids.masked_fill(behind, 0)

    def put_on_both_sides(self, x, context):
        half = self.tokens // 2
        prompts = self.text[context.layer or 0].to(x.dtype).expand(x.shape[0], -1, -1)
        held = 0 if context.layer is None else half  # prompts of the block before, on either side
        if context.layer is None:
            context.state.eot = context.state.eot + self.tokens
            context.state.prompts = {"vop": half, **context.state.prompts}
        words = x[:, 1 + held : x.shape[1] - 1 - held]
        return torch.cat([x[:, :1], prompts[:, :half], words, prompts[:, half:], x[:, -1:]], dim=1)


def blocks(name, clip, setting, made):
    """How many vision blocks read frame by frame. PetvrError for settings and compositions that do not fit."""
    room = clip.config.positions - 2
    if setting.readout == "released" and setting.tokens % 2:
        allowed = f"1 to {room}, even for readout=released"
        raise PetvrError(f"method '{name}': setting 'tokens': {setting.tokens} given, allowed: {allowed}")
    check(name, setting.tokens, room)
    if not 1 <= getattr(setting, "specific", 1) <= setting.tokens:
        allowed = f"1 to tokens={setting.tokens}"
        raise PetvrError(f"method '{name}': setting 'specific': {setting.specific} given, allowed: {allowed}")
    family = sorted(set(FAMILY) & set(made.parts))
    if len(family) > 1 and family not in (["vop_c", "vop_f"], ["vop_f", "vop_p"]):
        both = " and ".join(family)
        allowed = "vop_f with vop_p, vop_f with vop_c"
        raise PetvrError(f"method '{'+'.join(made.parts)}': {both} exclude each other; allowed: {allowed}")
    layers = clip.config.vision.layers
    shallow = made.parts["vop_f"].shallow if "vop_f" in made.parts else layers
    if shallow > layers:
        raise PetvrError(f"method 'vop_f': setting 'shallow': {shallow} given, allowed: 0 to {layers}")
    return shallow


def build(clip, setting, made):
    number = blocks("vop", clip, setting, made)
    module = Vop(clip.config, setting, made.generator, number, setting.tokens)
    return Declaration(module=module, insert=module.inserts())
