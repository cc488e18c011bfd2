"""Full fine-tuning, in the two senses the papers use; nothing is inserted.

rule=clip4clip (CLIP4Clip [Luo et al. 2021]; RAP's and Cross-Modal Adapter's baseline): blocks `freeze` and above in
both towers, both last LayerNorms, both projections and the logit scale train. Patch, token, class and position
embeddings and the first LayerNorm of the vision tower stay frozen even for freeze=0.
rule=everything (VoP's and MV-Adapter's baseline): every parameter trains, embeddings included; freeze must be 0.
"""

import re

from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {"rule": "clip4clip", "freeze": 0}
CHOICES = {"rule": ["clip4clip", "everything"]}
IDENTITY = "exact"

TOP = ("text_model.final_layer_norm.", "vision_model.post_layernorm.", "visual_projection.", "text_projection.")
BLOCK = re.compile(r"^(?:vision|text)_model\.encoder\.layers\.(\d+)\.")


def build(clip, setting, made):
    if setting.rule == "everything":
        if setting.freeze:
            raise PetvrError(f"method 'full': setting 'freeze': {setting.freeze} given, rule=everything allows only 0")
        return Declaration(train=lambda name: True)

    def trains(name: str) -> bool:
        block = BLOCK.match(name)
        return int(block.group(1)) >= setting.freeze if block else name.startswith(TOP) or name == "logit_scale"

    return Declaration(train=trains)
