"""Full fine-tuning, in the two senses the papers use; nothing is inserted.

rule=clip4clip (CLIP4Clip [Luo et al. 2021]; RAP's and Cross-Modal Adapter's baseline): blocks `freeze` and above in
both towers, both last LayerNorms, both projections and the logit scale train. Patch, token, class and position
embeddings and the first LayerNorm of the vision tower stay frozen even for freeze=0.
rule=everything (VoP's and MV-Adapter's baseline): every parameter trains, embeddings included; freeze must be 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, setting

VERSION = 1
IDENTITY = "exact"
TUNE = ("lr_clip",)
OPEN = (
    "How much of CLIP trains in each paper's row: RAP prints all of CLIP for a row of CLIP4Clip, whose code keeps "
    "the embeddings frozen; Cross-Modal Adapter's 123.52 M are 0.02 M less than that rule trains.",
)

TOP = ("text_model.final_layer_norm.", "vision_model.post_layernorm.", "visual_projection.", "text_projection.")
BLOCK = re.compile(r"^(?:vision|text)_model\.encoder\.layers\.(\d+)\.")
RULES = (("freeze", "rule == 'clip4clip' or freeze == 0", "rule=everything allows only 0"),)


class FullSettings(DeclaredSettings):
    rule: str = setting("clip4clip", "code", "CLIP4Clip, --freeze_layer_num", choices=("clip4clip", "everything"))
    freeze: int = setting(0, "code", "CLIP4Clip's default command, --freeze_layer_num 0", at_most="vision_layers")


def clip4clip_rule(freeze: int = 0) -> Callable[[str], bool]:
    """Whether a parameter of this name trains under rule=clip4clip."""

    def trains(name: str) -> bool:
        block = BLOCK.match(name)
        return int(block.group(1)) >= freeze if block else name.startswith(TOP) or name == "logit_scale"

    return trains


def declare(settings: FullSettings, build: BuildContext) -> Declaration:
    if settings.rule == "clip4clip":
        return Declaration(train=clip4clip_rule(settings.freeze))
    return Declaration(train=lambda name: True)
