"""Methods that fold into CLIP: the same features from a plain CLIPModel. What does not fold is refused, and why."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.clip.towers import Clip
from petvr.errors import PetvrError
from petvr.library.text_video import TextVideoModel

FOLDS = ("lora", "ssf")  # beside the methods that insert nothing


@torch.no_grad()
def merged_clip(model: TextVideoModel) -> Clip:
    """The model's own CLIP with the method folded into its weights; the model is used up by that.

    Raises PetvrError for methods that act where CLIP has no weight, and for similarities that have trained tensors.
    """
    adapted, spec = model.model.adapted, model.spec
    inserted = [part for part in spec.method.split("+") if part in adapted.new]
    acting = [part for part in inserted if part not in FOLDS]
    if acting or len(inserted) > 1 or (adapted.inserts.places() and not inserted):
        reason = "acts where CLIP has no weight to fold it into" if acting else "two of its parts act at one place"
        raise PetvrError(
            f"{model.name}: method '{spec.method}' {reason}; only {', '.join(FOLDS)} and methods that train CLIP's own "
            "parameters merge"
        )
    if any(True for _ in model.model.similarity.parameters()):
        raise PetvrError(f"{model.name}: similarity '{spec.recipe.similarity}' has tensors that a CLIPModel lacks")
    clip = adapted.clip
    for part in inserted:
        (_fold_lora if part == "lora" else _fold_ssf)(clip, adapted.new[part], model)
    return clip


def _fold_lora(clip: Clip, module: nn.Module, model: TextVideoModel) -> None:
    """W + s B A."""
    for tower, layer, name, down, up in lora_updates(module, model):
        projection = getattr(getattr(clip, f"{tower}_model").encoder.layers[layer].self_attn, name)
        projection.weight += (up @ down).to(projection.weight.dtype)


def lora_updates(module: nn.Module, model: TextVideoModel) -> list[tuple[str, int, str, Tensor, Tensor]]:
    """(tower, block, projection, A [r, D], s B [D, r]) of every projection; of the joint form three with one A."""
    settings = model.settings_of("lora")
    names = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}
    updates = []
    for tower, blocks in module.items():
        for layer, block in enumerate(blocks):
            for letters, low_rank in block.items():
                for letter, up in zip(letters, low_rank.b.chunk(len(letters)), strict=True):
                    updates.append((tower, layer, names[letter], low_rank.a, settings["scale"] * up))
    return updates


def _fold_ssf(clip: Clip, module: nn.Module, model: TextVideoModel) -> None:
    """scale * (W x + b) + shift. Patches have no bias: their shift goes into the positions behind it."""
    for tower, vectors in module.items():
        part = getattr(clip, f"{tower}_model")
        for name, scale in vectors.scale.items():
            shift = vectors.shift[name]
            if name == "embedded":
                part.embeddings.patch_embedding.weight *= scale[:, None, None, None]
                part.embeddings.position_embedding.weight[1:] += shift
            else:
                layers = _layers_at(part, name)
                for layer, gamma, beta in zip(layers, scale.chunk(len(layers)), shift.chunk(len(layers)), strict=True):
                    layer.weight *= gamma.view(-1, *(1,) * (layer.weight.dim() - 1))
                    layer.bias.mul_(gamma).add_(beta)


def _layers_at(tower: nn.Module, site: str) -> list[nn.Module]:
    """The layers whose output a site of petvr.methods._modulation modulates."""
    if site == "pooled":
        return [tower.post_layernorm if hasattr(tower, "post_layernorm") else tower.final_layer_norm]
    number, _, place = site.partition("_")
    if place == "block_in":
        return [tower.pre_layrnorm]
    block = tower.encoder.layers[int(number)]
    attention = block.self_attn
    return {
        "attn_in": [block.layer_norm1],
        "qkv": [attention.q_proj, attention.k_proj, attention.v_proj],
        "attn_out": [attention.out_proj],
        "mlp_in": [block.layer_norm2],
        "mlp_hidden": [block.mlp.fc1],
        "mlp_out": [block.mlp.fc2],
    }[place]
