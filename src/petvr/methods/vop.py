"""VoP: text-video co-operative prompts [Huang et al. 2023, section 3.2].

n = 8 learned tokens stand behind CLS and behind SOT in every block of both towers; what a block makes of them is
thrown away and the next block gets fresh ones. CLIP is frozen, the logit scale too.

Vision: [CLS, prompts, patches]; the first block's enter behind the positions and before ln_pre [released code].
Text: [SOT, prompts, words, EOT]; the first block's enter before the positions are added, so that prompts use up
positions and at most 77 - n words (SOT and EOT included) fit; longer texts are cut and keep EOT [released code].
Prompts start as N(0, 0.02).

`readout` formula (default): as the paper's formula has it, all n prompts precede the words and the feature is read at
EOT. `released`: what the public code does: n / 2 prompts behind SOT, n / 2 before the last position of the padded
text, and the feature is read n positions behind where EOT stood, though only n / 2 of the prompts precede it: for all
but full-length texts that is a padding position, and the later prompts get no gradient. Which of the two the paper's
numbers come from is unknown; the default is a guess.
"""

import torch
from torch import nn
from torch.nn import functional

from petvr.clip.text import first_eot, fit
from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration, Insert

VERSION = 1
DEFAULTS = {"tokens": 8, "readout": "formula"}
CHOICES = {"readout": ["formula", "released"]}
IDENTITY = "none"

STD = 0.02


class Vop(nn.Module):
    def __init__(self, config, setting, generator):
        super().__init__()
        self.config, self.tokens = config, setting.tokens
        for tower, part in (("vision", config.vision), ("text", config.text)):
            prompts = torch.empty(part.layers, setting.tokens, part.width).normal_(std=STD, generator=generator)
            self.register_parameter(tower, nn.Parameter(prompts))

    def vision_prompts(self, x, here):
        return here.flow.put("vop", x, self.vision[here.layer or 0])

    def text_prompts(self, x, here):
        return here.flow.put("vop", x, self.text[here.layer or 0])

    def cut(self, ids, here):
        return fit(ids, self.config.positions - self.tokens, self.config.eot)

    # readout=released

    def pad(self, ids, here):
        """Cut or pad to 77 - n with zeros behind EOT, as the released tokenizer does."""
        length = self.config.positions - self.tokens
        ids = fit(ids, length, self.config.eot)
        ids = functional.pad(ids, (0, length - ids.shape[1]))
        behind = torch.arange(length, device=ids.device) > first_eot(ids, self.config.eot)[:, None]
        return ids.masked_fill(behind, 0)

    def text_prompts_released(self, x, here):
        half = self.tokens // 2
        prompts = self.text[here.layer or 0].to(x.dtype).expand(x.shape[0], -1, -1)
        held = 0 if here.layer is None else half  # prompts of the block before, on either side
        if here.layer is None:
            here.flow.eot = here.flow.eot + self.tokens
            here.flow.prompts = {"vop": half, **here.flow.prompts}
        words = x[:, 1 + held : x.shape[1] - 1 - held]
        return torch.cat([x[:, :1], prompts[:, :half], words, prompts[:, half:], x[:, -1:]], dim=1)


def build(clip, setting, made):
    room = clip.config.positions - 2
    if not 1 <= setting.tokens <= room or (setting.readout == "released" and setting.tokens % 2):
        allowed = f"1 to {room}, even for readout=released"
        raise PetvrError(f"method 'vop': setting 'tokens': {setting.tokens} given, allowed: {allowed}")
    module = Vop(clip.config, setting, made.generator)
    formula = setting.readout == "formula"
    text = module.text_prompts if formula else module.text_prompts_released
    return Declaration(
        module=module,
        insert=[
            Insert("vision", "tokens_in", module.vision_prompts),
            Insert("vision", "block_in", module.vision_prompts, range(1, clip.config.vision.layers)),
            Insert("text", "ids", module.cut if formula else module.pad),
            Insert("text", "embedded", text),
            Insert("text", "block_in", text, range(1, clip.config.text.layers)),
        ],
    )
