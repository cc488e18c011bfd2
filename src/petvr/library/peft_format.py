"""LoRA in the adapter format of PEFT: adapter_config.json and adapter_model.safetensors, to and from petvr's tensors.

PEFT keeps an A and a B for every projection. petvr's joint form is written as three of them with the same A and a third
of B each, which is exact; any adapter of CLIP's attention is read, parts that it leaves out as zeros.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from petvr import atomic
from petvr.clip.config import ClipConfig
from petvr.errors import PetvrError
from petvr.library.merge import lora_updates
from petvr.library.shared_folder import SharedModel, read_tensors
from petvr.library.text_video import TextVideoModel
from petvr.text_files import read_json

TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
KEY = re.compile(
    r"base_model\.model\.(text|vision)_model\.encoder\.layers\.(\d+)\.self_attn\.([qkv]_proj|out_proj)\.lora_([AB])"
    r"(?:\.default)?\.weight"
)
LETTERS = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "out_proj": "o"}


def write_peft(out: Path, model: TextVideoModel, shared: SharedModel) -> None:
    """Raises PetvrError for a model that is more, or something else, than LoRA on CLIP's attention."""
    from safetensors.torch import save_file

    adapted, spec = model.model.adapted, model.spec
    others = sorted(
        name for name in model.model.trained if not name.startswith("new.lora.") and name != "clip.logit_scale"
    )
    if spec.method != "lora" or others:
        what = f"method '{spec.method}'" if spec.method != "lora" else f"'{others[0]}' that trained beside LoRA"
        raise PetvrError(f"{model.name}: {what} cannot be written in PEFT's format; allowed: lora alone")
    tensors: dict[str, Tensor] = {}
    rank, targets = model.settings_of("lora")["rank"], []
    for tower, layer, name, down, up in lora_updates(adapted.new["lora"], model):
        key = f"base_model.model.{tower}_model.encoder.layers.{layer}.self_attn.{name}.lora_"
        tensors[f"{key}A.weight"] = down.detach().float().cpu().clone()
        tensors[f"{key}B.weight"] = up.detach().float().cpu().clone()
        targets.append(name)
    save_file(tensors, out / TENSORS, metadata=shared.metadata())
    config: dict[str, Any] = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": shared.backbone and shared.backbone.hub_id,
        "auto_mapping": {"base_model_class": "CLIPModel", "parent_library": "transformers.models.clip.modeling_clip"},
        "r": rank, "lora_alpha": rank,  # the scale stands in B
        "target_modules": list(dict.fromkeys(targets)), "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False,
        "use_rslora": False, "use_dora": False, "inference_mode": True,
    }  # fmt: skip
    atomic.write_json(out / CONFIG, config)


def read_peft(folder: Path, clip: ClipConfig) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An adapter of PEFT's as (settings of petvr's lora, its trained tensors); every scale stands in B.

    Raises PetvrError for what is no LoRA of CLIP's attention, or of a CLIP of another size.
    """
    config = read_json(folder / CONFIG, dict)
    where = folder / CONFIG
    for key, allowed in {"peft_type": ("LORA",), "bias": ("none", None), "use_dora": (False, None)}.items():
        if config.get(key, allowed[-1]) not in allowed:
            raise PetvrError(f"{where}: {key}: {config[key]!r:.40} given, allowed: {allowed[0]}")
    if config.get("modules_to_save"):
        raise PetvrError(f"{where}: modules_to_save: {config['modules_to_save']} given, allowed: none")
    tensors = read_tensors(folder / TENSORS)
    pairs: dict[tuple[str, int, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = KEY.fullmatch(name)
        if match is None:
            raise PetvrError(f"{folder / TENSORS}: '{name}' is no LoRA of the attention of a transformers CLIPModel")
        tower, layer, projection, side = match.groups()
        pairs.setdefault((tower, int(layer), LETTERS[projection]), {})[side] = tensor.float()
    if not pairs:
        raise PetvrError(f"{folder / TENSORS}: holds no tensor")
    for (tower, layer, letter), pair in pairs.items():
        width, depth = clip.towers[tower].width, clip.towers[tower].layers
        fits = pair.keys() == {"A", "B"} and layer < depth and pair["A"].dim() == pair["B"].dim() == 2
        if not fits or (pair["A"].shape[1], pair["B"].shape[0], len(pair["A"])) != (width, width, pair["B"].shape[1]):
            raise PetvrError(
                f"{folder / TENSORS}: block {layer} of the {tower} tower, {letter}: does not fit this CLIP"
            )
        pair["B"] = pair["B"] * _scale(config, where, tower, layer, letter, len(pair["A"]))
    return _as_lora(pairs, clip)


def _scale(config: dict[str, Any], where: Path, tower: str, layer: int, letter: str, rank: int) -> float:
    """alpha / r, which patterns may set for single modules."""
    projection = next(name for name, one in LETTERS.items() if one == letter)
    module = f"{tower}_model.encoder.layers.{layer}.self_attn.{projection}"
    patterns = config.get("alpha_pattern") or {}
    alphas = [alpha for pattern, alpha in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", module)]
    alpha = (alphas or [config.get("lora_alpha", 8)])[0]
    if type(alpha) not in (int, float):
        raise PetvrError(f"{where}: lora_alpha: {alpha!r:.40} given, allowed: a number")
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _as_lora(
    pairs: dict[tuple[str, int, str], dict[str, Tensor]], clip: ClipConfig
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The narrowest of petvr's forms: q_v, the joint one where q, k and v share their A, else q_k_v_o."""
    letters = {letter for _, _, letter in pairs}
    rank = max(len(pair["A"]) for pair in pairs.values())
    joint = letters == {"q", "k", "v"} and all(
        (tower, layer, letter) in pairs and torch.equal(pairs[tower, layer, letter]["A"], pair["A"])
        for (tower, layer, _), pair in pairs.items()
        for letter in letters
    )
    targets = "joint" if joint else "q_v" if letters <= {"q", "v"} else "q_k_v_o"
    state: dict[str, Tensor] = {}
    for tower, part in clip.towers.items():
        for layer in range(part.layers):
            for name in ["qkv"] if joint else targets.split("_"):
                own = [pairs.get((tower, layer, letter)) for letter in name]
                down, up = torch.zeros(rank, part.width), torch.zeros(len(name) * part.width, rank)
                for number, pair in enumerate(own):
                    if pair is not None:
                        down[: len(pair["A"])] = pair["A"]
                        up[number * part.width : (number + 1) * part.width, : len(pair["A"])] = pair["B"]
                state[f"new.lora.{tower}.{layer}.{name}.a"] = down
                state[f"new.lora.{tower}.{layer}.{name}.b"] = up
    return {"rank": rank, "targets": targets, "scale": 1.0}, state
