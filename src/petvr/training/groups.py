"""Which learning rate and which weight decay each trained tensor gets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from petvr.errors import PetvrError
from petvr.spec import Recipe

# CLIP's LayerNorms as transformers and as OpenAI spell them, and the usual names of new ones
LAYER_NORM = re.compile(r"(^|[._])(pre_layrnorm|post_layernorm|\w*layer_?norm\d*|ln(_\w+)?|norm\d*)\.weight$", re.I)


@dataclass
class Group:
    part: str
    lr: float
    weight_decay: float
    names: list[str]
    parameters: list[nn.Parameter]


def make(trained: dict[str, tuple[nn.Parameter, str]], recipe: Recipe, norms: Iterable[str] = ()) -> list[Group]:
    """Groups of equal learning rate and decay, in the order of names.

    trained: name -> (parameter, part), part one of clip, new, head. `norms`: names known to be LayerNorm weights.
    no_decay `bias` takes every name that contains "bias"; `bias_and_layernorm` also LayerNorm weights; `none` leaves
    everything decaying. Raises PetvrError for an unknown part.
    """
    rates = {"clip": recipe.lr_clip, "new": recipe.lr_new, "head": recipe.lr_head}
    norms, groups = set(norms), {}
    for name, (parameter, part) in trained.items():
        if part not in rates:
            raise PetvrError(f"parameter '{name}': part '{part}'; allowed: {', '.join(rates)}")
        decay = recipe.weight_decay if decays(name, recipe.no_decay, name in norms) else 0.0
        group = groups.setdefault((part, decay), Group(part, rates[part], decay, [], []))
        group.names.append(name)
        group.parameters.append(parameter)
    return list(groups.values())


def decays(name: str, no_decay: str, is_norm: bool = False) -> bool:
    if no_decay == "none":
        return True
    if "bias" in name:
        return False
    return no_decay == "bias" or not (is_norm or LAYER_NORM.search(name))


def layer_norm_weights(module: nn.Module) -> set[str]:
    """Names of the weights of all LayerNorms, whatever they are called."""
    return {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.LayerNorm)}
