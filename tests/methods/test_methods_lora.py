"""LoRA: adding s B A to CLIP's weights by hand must give the same features."""

import numpy as np
import pytest
import torch
from clip_by_hand import numbers
from places_by_hand import TINY, check, trained

from petvr.errors import PetvrError

torch.set_num_threads(1)
NAMES = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}


@pytest.mark.parametrize("targets", ["joint", "q_v", "q_k_v_o"])
def test_the_update_merges_into_the_weights(targets):
    model = trained("lora", {"rank": 2, "targets": targets, "scale": 0.7})
    merged = numbers(model)
    for tower, part in (("vision", TINY.vision), ("text", TINY.text)):
        for i in range(part.layers):
            new, old = f"new.lora.{tower}.{i}", f"clip.{tower}_model.encoder.layers.{i}.self_attn"
            if targets == "joint":
                update = np.split(merged[f"{new}.qkv.b"] @ merged[f"{new}.qkv.a"], 3)
                updates = dict(zip("qkv", update, strict=True))
            else:
                updates = {t: merged[f"{new}.{t}.b"] @ merged[f"{new}.{t}.a"] for t in targets.split("_")}
            for name, update in updates.items():
                key = f"{old}.{NAMES[name]}.weight"
                merged[key] = merged[key] + 0.7 * update
    check(model, lambda n, tower: {}, merged)


def test_rank_nought_is_refused():
    with pytest.raises(PetvrError, match="'rank': 0 given, allowed: 1 or more"):
        trained("lora", {"rank": 0})
