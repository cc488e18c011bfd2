"""Trainable parameters, counted on the meta device: no weights are needed, and no memory.

Every paper counts in its own way (`printed_value`); `rows` puts what a row trains next to what its table prints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation
from functools import cache
from typing import Any

from petvr.errors import unknown
from petvr.spec import Recipe, method_id

COLUMNS = ("paper", "table", "row", "method", "backbone", "dataset", "trainable", "printed", "printed_unit", "verdict")
UNITS = {"params_M": "M", "params_percent": "%"}


@dataclass(frozen=True)
class Counts:
    """Numbers, not bytes. `names`: every trainable parameter with its size; by_part: "clip", "new", "head"."""

    trainable: int
    by_part: dict[str, int]
    total: int  # with everything frozen
    names: dict[str, int]
    everything: bool  # CLIP trains as a whole (or as much of it as CLIP4Clip's rule lets)


def counts(backbone: str, method: str, setting: Mapping[str, Any] | None = None, **choices: Any) -> Counts:
    """What a run with these choices trains; `choices` as petvr.costs.compute.build takes them.

    PetvrError for unknown names and settings.
    """
    return _counts(backbone, method, *(json.dumps(given, sort_keys=True) for given in (dict(setting or {}), choices)))


@cache
def _counts(backbone: str, method: str, setting: str, choices: str) -> Counts:
    from petvr import methods
    from petvr.clip import config, weights
    from petvr.clip.skip_init import SkipMetaInit
    from petvr.costs import compute

    with SkipMetaInit():
        clip = weights.on_meta(config.geometry(backbone))
        model, head = compute.build(clip, method, json.loads(setting), **json.loads(choices))
    names = {name: parameter.numel() for name, parameter in model.trainable().items()}
    names |= {f"head.{name}": part.numel() for name, part in head.named_parameters() if part.requires_grad}
    by_part = {"clip": 0, "new": 0, "head": 0}
    for name, size in names.items():
        by_part["head" if name.startswith("head.") else model.part(name)] += size
    total = sum(part.numel() for module in (model, head) for part in module.parameters())
    complete = methods.settings(method, json.loads(setting)).get("full")
    return Counts(sum(names.values()), by_part, total, names, complete is not None and not complete["freeze"])


@cache
def clip_sizes(backbone: str) -> dict[str, int]:
    """Every parameter of CLIP with its size."""
    from petvr.clip import config, weights

    clip = weights.on_meta(config.geometry(backbone))
    return {f"clip.{name}": parameter.numel() for name, parameter in clip.named_parameters()}


def choices(recipe: Recipe, train: bool) -> dict[str, Any]:
    """A recipe's part of what a model is built with; where nothing trains the logit scale does not either."""
    return {
        "similarity": recipe.similarity,
        "similarity_setting": recipe.similarity_setting,
        "frames": recipe.frames,
        "words": recipe.words,
        "train_logit_scale": train and recipe.logit_scale == "train",
    }


# What OpenAI's CLIP holds outside of leaf modules: the attention's input projections and parameters of their own.
BARE = (".q_proj.", ".k_proj.", ".v_proj.", "vision_model.embeddings.class", "embeddings.position", "logit_scale")
PROJECTIONS = ("clip.visual_projection.", "clip.text_projection.")
UNCOUNTED = "new.vop_f.video.frame_positions"  # VoP^F is printed with as many numbers as VoP


def leaf_modules(names: Mapping[str, int]) -> int:
    """VoP's way of counting: numbers in leaf modules of OpenAI's model, and what a method adds to them (UNCOUNTED)."""
    openai = ("clip.", "head.")  # a similarity's blocks are made as CLIP's are
    bare = {name for name in names if name.startswith(openai) and any(part in name for part in BARE)}
    return sum(size for name, size in names.items() if name not in bare and name != UNCOUNTED)


def printed_value(paper: str, found: Counts, backbone: str) -> dict[str, float]:
    """What the paper would print: {"params_M": millions, "params_percent": share of its whole}.

    vop: leaf modules only, as a share of all leaf modules (119,826,432 with ViT-B/32); the projections are no leaf
    modules and are counted only where they are what trains. rap: millions; tuning all of CLIP counts all of CLIP, and
    X-CLIP's head is left out. mv_adapter: share of all of CLIP, head included. cross_modal_adapter: both, share of
    all of CLIP.
    """
    sizes = clip_sizes(backbone)
    whole = sum(sizes.values())
    if paper == "vop":
        projections = sum(size for name, size in sizes.items() if name.startswith(PROJECTIONS))
        whole = leaf_modules(sizes) - projections
        value = whole if found.everything else leaf_modules(found.names)
    elif paper == "rap":
        value = whole if found.everything else found.trainable - found.by_part["head"]
    elif paper in ("mv_adapter", "cross_modal_adapter"):
        value = found.trainable
    else:
        raise unknown("way of counting", paper, ("vop", "rap", "mv_adapter", "cross_modal_adapter"))
    return {"params_M": value / 1e6, "params_percent": 100 * value / whole}


def verdict(computed: float, printed: str) -> str:
    """`agrees` at all printed digits, `agrees, cut instead of rounded`, or both numbers."""
    try:
        given = Decimal(printed.strip().rstrip("%M").strip())
    except InvalidOperation:
        return f"no number is printed ('{printed}'), computed {computed:.4g}"
    digits = Decimal(1).scaleb(given.as_tuple().exponent)
    exact = Decimal(repr(computed))
    if exact.quantize(digits, ROUND_HALF_UP) == given:
        return "agrees"
    if exact.quantize(digits, ROUND_DOWN) == given:
        return f"agrees, cut instead of rounded ({computed:.4f})"
    places = max(0, -given.as_tuple().exponent)
    more = places + 1 if math.isclose(computed, float(given), rel_tol=0.02) else max(places, 3)
    return f"computed {computed:.{more}f}, printed {given}"


# What is known of a figure that is not met by rounding: (paper, composition or a part of it) -> the reason.
REASONS = {
    ("cross_modal_adapter", "clip2video"): "met without its 77 x 512 frame positions",
    ("cross_modal_adapter", "ts2_net"): "met by 600 rows of positions in place of 77 and two modules no pass reaches",
    ("cross_modal_adapter", "x_clip"): "met by 64 words, 64 frames and 600 rows of positions in place of 77",
    ("cross_modal_adapter", "full"): "CLIP4Clip's rule trains 123,540,993, and its other freezing depths agree",
    ("vop", "ju"): "the share is formed with ViT-B/32's total, 4.78 / 119.8, though the row has ViT-B/16",
    ("vop", "bias"): "without one vision LayerNorm's bias, 124,160, it would be met by rounding",
    (
        "vop",
        "vop_f+vop_c",
    ): "the printed figure is C - P + (F+P) = 14,121,984, a slip of bookkeeping; the parts make 14,269,440",
    ("rap", "vop_p"): "copied from VoP, where it is printed as 0.5",
    ("rap", "vop_c"): "copied from VoP, where it is printed as 14.3",
    ("rap", "mv_adapter"): "quoted from an earlier version of that paper; 3.57 are its 2.39 % of today",
    ("rap", "st_adapter"): "adapters of 14.22 and a text encoder of 63.43 make 77.65; the printed figure is 0.2 short",
    ("rap", "vpt"): "0.21 fits no usual number of tokens (23 would); 63.43 is the text encoder without prompts",
    ("rap", "rap"): "the text at hand is damaged there, 1.48M is likely meant (its row also has 01.0 for 81.0)",
}


def rows() -> list[dict[str, str]]:
    """One line (COLUMNS) for every printed parameter figure of every table of every paper."""
    from petvr import methods, papers, similarity
    from petvr.papers.views import Known

    known = Known(methods=methods.NAMES(), similarities=similarity.NAMES())
    lines = []
    for name in papers.NAMES:
        paper = papers.load(name)
        for table in paper.tables.values():
            printed = paper.printed(table.name)
            for row in table.rows:
                for dataset, cell in row.cells.items():
                    for metric, unit in UNITS.items():
                        figure = printed.get((row.key, dataset, "none", metric))
                        if figure is None:
                            continue
                        trainable, said = _judge(paper, name, cell, metric, figure.text, known)
                        method = method_id(cell.method, cell.setting) if cell.method else ""
                        place = (name, table.name, row.key, method, cell.backbone, dataset)
                        values = (*place, trainable, figure.text, unit, said)
                        lines.append(dict(zip(COLUMNS, values, strict=True)))
    return lines


def _judge(paper: Any, counting: str, cell: Any, metric: str, printed: str, known: Any) -> tuple[str, str]:
    """(trainable, verdict) of one row; `counting` is the paper whose table it is."""
    from petvr import papers

    if cell.method is None:
        return "", "reported only"
    own = papers.load(cell.paper)
    recipe, _ = own.recipe(cell.dataset, cell.method, cell.setting, variant=cell.variant)
    missing = known.missing(cell.dataset, cell.method, recipe.similarity)
    if missing:
        return "", missing
    found = counts(cell.backbone, cell.method, cell.setting, **choices(recipe, cell.train))
    values = printed_value(counting, found, cell.backbone)
    said = verdict(values[metric], printed)
    if said != "agrees" and metric == "params_percent" and counting == "cross_modal_adapter":
        millions = round(values["params_M"], 2)
        if verdict(100 * millions / 151.28, printed) == "agrees":
            return str(found.trainable), f"agrees, formed from the rounded figures {millions:.2f} / 151.28"
    parts = (cell.method, *cell.method.split("+"))
    reason = next((REASONS[counting, part] for part in parts if (counting, part) in REASONS), "")
    return str(found.trainable), said if said == "agrees" or not reason else f"{said}: {reason}"
