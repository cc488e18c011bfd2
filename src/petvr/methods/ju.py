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
from torch import Tensor, nn

from petvr.clip.tokenizer import fit
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, HookContext, Insert, setting

VERSION = 1
IDENTITY = {"vision": "exact", "text": "none"}
SIMILARITY = "ju"
TUNE = ("lr_new", "lr_head")
OPEN = (
    "How texts are prompted for captions: released is action recognition alone.",
    "How much trains: 4.8M fits two layers, the 77 x 512 prompts and 16 temporal positions, counted without the "
    "attention's input projections; VoP's share is formed with the total of another backbone.",
)
RULES = (
    ("prefix postfix", "prefix + postfix >= 1", "at least one"),
    ("prefix postfix", "prefix + postfix < free_positions", "fewer than {free_positions} together with this CLIP"),
)
NOT_WITH = {"mv_adapter": "it reads texts of a fixed length, which prompts make longer"}

STD = 0.01


class JuSettings(DeclaredSettings):
    prefix: int = setting(16, "paper", "Ju et al. section 3.2")
    postfix: int = setting(16, "paper", "Ju et al. section 3.2")
    temperature: float = setting(0.07, "code", "scores / 0.07", above=0)


class PromptTable(nn.Module):
    def __init__(self, settings: JuSettings, build: BuildContext):
        super().__init__()
        self.config, self.prefix, self.postfix = build.config, settings.prefix, settings.postfix
        table = torch.empty(self.config.positions, self.config.text.width).normal_(std=STD, generator=build.generator)
        self.table = nn.Parameter(table)

    def cut(self, ids: Tensor, context: HookContext) -> Tensor:
        return fit(ids, self.config.positions - self.prefix - self.postfix, self.config.eot)

    def put(self, x: Tensor, context: HookContext) -> Tensor:
        """x [B, W, D] -> [B, prefix + W + postfix, D]; EOT moves behind the later prompts."""
        state, (batch, words, _) = context.state, x.shape
        start, last = 1 + self.prefix, state.eot + self.prefix + self.postfix
        total = self.prefix + words + self.postfix
        position = torch.arange(total, device=x.device).expand(batch, -1)
        is_word = (position == 0) | ((position >= start) & (position < (state.eot + self.prefix)[:, None]))
        is_word = is_word | (position >= last[:, None])  # EOT, and padding behind it
        skipped = self.prefix * (position >= start) + self.postfix * (position >= last[:, None])
        source = (position - skipped).clamp(0, words - 1)
        text = x.gather(1, source[..., None].expand(-1, -1, x.shape[2]))
        state.eot, state.prompts = last, {"ju": self.prefix, **state.prompts}
        return torch.where(is_word[..., None], text, self.table[:total].to(x.dtype))


def declare(settings: JuSettings, build: BuildContext) -> Declaration:
    with torch.no_grad():
        build.clip.logit_scale.fill_(-math.log(settings.temperature))
    module = PromptTable(settings, build)
    return Declaration(
        module=module, insert=[Insert("text", "ids", module.cut), Insert("text", "embedded", module.put)]
    )
