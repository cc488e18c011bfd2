"""Prompted text for a frozen CLIP [Ju et al. 2022, section 3.2], with a transformer over the frames' features.

    text   [SOT, a_1 .. a_16, words, b_1 .. b_16, EOT] + CLIP's positions, read at EOT
    video  mean of Blocks(f + p) over the frames f of a frozen vision tower: the similarity of the same name

Released is only their action recognition; captions are its transfer [guess]. There one table [77, 512] fills all 77
places, and SOT, words and EOT are written over it: the vector before EOT is that of its place, which depends on the
length of the text. Rows that end up behind EOT are never heard of. Table and temporal positions start as N(0, 0.01).
77 - 2 * 16 places remain for SOT, words and EOT; longer texts are cut and keep EOT.

`temperature`: scores are divided by 0.07 in place of CLIP's own scale, which stays frozen [released code].
"""

from __future__ import annotations

import math

import torch
from torch import nn

from petvr.clip.text import fit
from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration, Insert

VERSION = 1
DEFAULTS = {"prefix": 16, "postfix": 16, "temperature": 0.07}
IDENTITY = {"vision": "exact", "text": "none"}
SIMILARITY = "ju"

STD = 0.01


class Prompts(nn.Module):
    def __init__(self, config, setting, generator):
        super().__init__()
        self.config, self.prefix, self.postfix = config, setting.prefix, setting.postfix
        table = torch.empty(config.positions, config.text.width).normal_(std=STD, generator=generator)
        self.table = nn.Parameter(table)

    def cut(self, ids, context):
        return fit(ids, self.config.positions - self.prefix - self.postfix, self.config.eot)

    def place(self, x, context):
        """x [B, W, D] -> [B, prefix + W + postfix, D]; EOT moves behind the later prompts."""
        state, (batch, words, _) = context.state, x.shape
        start, last = 1 + self.prefix, state.eot + self.prefix + self.postfix
        total = self.prefix + words + self.postfix
        place = torch.arange(total, device=x.device).expand(batch, -1)
        is_word = (place == 0) | ((place >= start) & (place < (state.eot + self.prefix)[:, None]))
        is_word = is_word | (place >= last[:, None])  # EOT, and padding behind it
        source = (place - self.prefix * (place >= start) - self.postfix * (place >= last[:, None])).clamp(0, words - 1)
        text = x.gather(1, source[..., None].expand(-1, -1, x.shape[2]))
        state.eot, state.prompts = last, {"ju": self.prefix, **state.prompts}
        return torch.where(is_word[..., None], text, self.table[:total].to(x.dtype))


def build(clip, setting, made):
    room = clip.config.positions - setting.prefix - setting.postfix
    if setting.prefix + setting.postfix < 1 or room < 3:
        allowed = f"at least one, and {clip.config.positions - 3} at most together"
        raise PetvrError(
            f"method 'ju': prefix={setting.prefix}, postfix={setting.postfix} given, allowed: {allowed} with this CLIP"
        )
    if setting.temperature <= 0:
        raise PetvrError(f"method 'ju': setting 'temperature': {setting.temperature:g} given, allowed: more than 0")
    with torch.no_grad():
        clip.logit_scale.fill_(-math.log(setting.temperature))
    module = Prompts(clip.config, setting, made.generator)
    insert = [Insert("text", "ids", module.cut), Insert("text", "embedded", module.place)]
    return Declaration(module=module, insert=insert)
