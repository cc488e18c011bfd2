"""What the code says of a method: what trains, where it acts, which tables show it with which settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from petvr import methods, papers, similarity
from petvr.costs import params
from petvr.errors import PetvrError
from petvr.spec import method_id

BACKBONE, FRAMES, WORDS = "vit-b-32", 12, 32
BLOCK = re.compile(r"^(vision|text)_model\.encoder\.layers\.(\d+)\.")
PIECES = {  # what of CLIP lies outside the blocks
    "vision_model.embeddings.": "the patch embedding",
    "vision_model.pre_layrnorm.": "the first LayerNorm",
    "text_model.embeddings.": "the word embedding",
    "vision_model.post_layernorm.": "the vision tower's last LayerNorm",
    "text_model.final_layer_norm.": "the text tower's last LayerNorm",
    "visual_projection.": "the visual projection",
    "text_projection.": "the text projection",
    "logit_scale": "the logit scale",
}


@dataclass(frozen=True)
class Made:
    """A method as it is by default, with 12 frames and 32 words. acts: (places, "vision blocks 1 to 3") in order."""

    new: int
    head: int
    of_clip: int
    clip_parts: str
    acts: tuple[tuple[tuple[str, ...], str, str], ...]
    temporal: bool
    pool: bool


@dataclass
class Shown:
    """A setting as tables show it. tables: paper -> its tables; printed: (backbone, "0.52 M") -> verdict."""

    id: str
    trainable: int
    tables: dict[str, list[str]] = field(default_factory=dict)
    printed: dict[tuple[str, str], str] = field(default_factory=dict)


@cache
def made(method: str) -> Made:
    import torch

    from petvr.clip import config, weights
    from petvr.clip.skip_init import SkipMetaInit

    needed = methods.similarity(method) or "mean_pool"
    counts = params.counts(BACKBONE, method, similarity=needed, frames=FRAMES, words=WORDS)
    with SkipMetaInit():
        clip = weights.on_meta(config.geometry(BACKBONE))
        model = methods.adapt(clip, method, {}, frames=FRAMES, words=WORDS, generator=torch.Generator())
    layers = {"vision": clip.config.vision.layers, "text": clip.config.text.layers}
    names = {name.removeprefix("clip.") for name in counts.names if name.startswith("clip.")}
    parts = of_clip(names, {name for name, _ in clip.named_parameters()}, layers)
    acts = tuple(acting(model.inserts.places(), layers))
    by = counts.by_part
    return Made(by["new"], by["head"], by["clip"], parts, acts, model.inserts.temporal, bool(model.pool))


def of_clip(names: set[str], whole: set[str], layers: dict[str, int]) -> str:
    """Which of CLIP's parameters these are, in words."""
    if not names:
        return "nothing"
    if names == whole:
        return "everything"
    if names == {name for name in whole if name.endswith(".bias")}:
        return "every bias of both towers"
    trained = {tower: {int(m[2]) for name in names if (m := BLOCK.match(name)) and m[1] == tower} for tower in layers}
    found = [f"{blocks(inside, layers[tower])} of the {tower} tower" for tower, inside in trained.items() if inside]
    if trained["vision"] == trained["text"] and found:
        found = [f"{blocks(trained['vision'], layers['vision'])} of both towers"]
    found += [label for prefix, label in PIECES.items() if any(name.startswith(prefix) for name in names)]
    return ", ".join(found)


def acting(places: Iterable[tuple[str, str, int | None]], layers: dict[str, int]) -> Iterable[tuple]:
    """(places, tower or "both towers", "every block", "blocks 2 to 12" or "" outside the blocks)."""
    where: dict[tuple[str, str], set[int]] = {}
    for tower, place, layer in places:
        where.setdefault((tower, place), set()).update(() if layer is None else {layer})
    found: dict[tuple[str, str], list[str]] = {}
    for (tower, place), inside in where.items():
        found.setdefault((tower, blocks(inside, layers[tower]) if inside else ""), []).append(place)
    for (tower, inside), named in found.items():
        other = found.get(("text" if tower == "vision" else "vision", inside))
        if other != named:
            yield tuple(named), tower, inside
        elif tower == "vision":
            yield tuple(named), "both towers", inside


def blocks(numbers: set[int], depth: int) -> str:
    """Counted from 1; they are always in one piece."""
    first, last = min(numbers) + 1, max(numbers) + 1
    if len(numbers) == depth:
        return "every block"
    return f"block {first}" if first == last else f"blocks {first} to {last}"


@cache
def shown() -> dict[str, Shown]:
    """Every setting of every table by its id, in the order of the papers; counts are those of ViT-B/32."""
    found: dict[str, Shown] = {}
    for name, paper in papers.readable().items():
        for table in paper.tables.values():
            for cell in (cell for row in table.rows for cell in row.cells.values() if cell.method):
                id = method_id(cell.method, cell.setting)
                if id not in found:
                    found[id] = Shown(id, count(cell))
                numbers = found[id].tables.setdefault(name, [])
                if table.name not in numbers:
                    numbers.append(table.name)
    for line in params.rows():
        if line["method"] and line["trainable"]:
            figure = f"{line['printed'].rstrip('M%')} {line['printed_unit']}"
            found[line["method"]].printed[line["backbone"], figure] = line["verdict"]
    return found


def count(cell: papers.Cell) -> int:
    """What the cell trains, with its paper's recipe and ViT-B/32."""
    recipe, _ = papers.load(cell.paper).recipe(cell.dataset, cell.method, cell.setting, variant=cell.variant)
    return params.counts(BACKBONE, cell.method, cell.setting, **params.choices(recipe, cell.train)).trainable


@cache
def scored() -> dict[str, dict[str, list[str]]]:
    """Similarity -> paper -> its tables whose rows are scored with it."""
    found: dict[str, dict[str, list[str]]] = {name: {} for name in similarity.NAMES()}
    for name, paper in papers.readable().items():
        for table in paper.tables.values():
            for cell in (cell for row in table.rows for cell in row.cells.values() if cell.method):
                recipe, _ = papers.load(cell.paper).recipe(
                    cell.dataset, cell.method, cell.setting, variant=cell.variant
                )
                if recipe.similarity not in found:
                    raise PetvrError(f"{table.id}: similarity '{recipe.similarity}' is not there")
                numbers = found[recipe.similarity].setdefault(name, [])
                if table.name not in numbers:
                    numbers.append(table.name)
    return found


@cache
def head(name: str) -> tuple[int, tuple[str, ...]]:
    """Numbers a similarity trains at 12 frames and 32 words with ViT-B/32, and what it needs beside pooled features."""
    import torch

    from petvr.clip import config, weights
    from petvr.clip.skip_init import SkipMetaInit

    with SkipMetaInit(), torch.device("meta"):
        clip = weights.on_meta(config.geometry(BACKBONE))
        module = similarity.build(name, {}, clip.embed_dim, torch.Generator(), clip=clip, frames=FRAMES, words=WORDS)
    return sum(part.numel() for part in module.parameters() if part.requires_grad), module.NEEDS
