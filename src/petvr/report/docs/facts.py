"""What the code says of a method: what trains, where it acts, which tables show it with which settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from petvr import methods, papers, similarity
from petvr.costs import params
from petvr.errors import PetvrError
from petvr.papers.plan import named_by
from petvr.spec import Source, method_id

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
class MethodFacts:
    """A method as it is by default, with 12 frames and 32 words. acts: (places, "vision blocks 1 to 3") in order."""

    new: int
    head: int
    of_clip: int
    clip_parts: str
    acts: tuple[tuple[tuple[str, ...], str, str], ...]
    temporal: bool
    needs_texts: bool


@dataclass
class SettingInTables:
    """A setting as tables show it. tables: paper -> its tables; printed: (backbone, "0.52 M") -> verdict."""

    id: str
    trainable: int
    tables: dict[str, list[str]] = field(default_factory=dict)
    printed: dict[tuple[str, str], str] = field(default_factory=dict)


@cache
def method_facts(method: str) -> MethodFacts:
    import torch

    from petvr.clip import config, weights
    from petvr.clip.weights import SkipMetaInit

    needed = methods.similarity_of(method) or "mean_pool"
    counts = params.counts(BACKBONE, method, similarity=needed, frames=FRAMES, words=WORDS)
    with SkipMetaInit():
        clip = weights.on_meta(config.geometry(BACKBONE))
        model = methods.adapt(clip, method, {}, frames=FRAMES, words=WORDS, generator=torch.Generator())
    layers = {"vision": clip.config.vision.layers, "text": clip.config.text.layers}
    names = {name.removeprefix("clip.") for name in counts.names if name.startswith("clip.")}
    parts = of_clip(names, {name for name, _ in clip.named_parameters()}, layers)
    acts = tuple(acting(model.inserts.places(), layers))
    by = counts.by_part
    return MethodFacts(by["new"], by["head"], by["clip"], parts, acts, model.inserts.temporal, bool(model.needs_texts))


def of_clip(names: set[str], whole: set[str], layers: dict[str, int]) -> str:
    """Which of CLIP's parameters these are, in words."""
    if not names:
        return "nothing"
    if names == whole:
        return "everything"
    if names == {name for name in whole if name.endswith(".bias")}:
        return "every bias of both towers"
    trained = {tower: {int(m[2]) for name in names if (m := BLOCK.match(name)) and m[1] == tower} for tower in layers}
    pieces = [f"{blocks(inside, layers[tower])} of the {tower} tower" for tower, inside in trained.items() if inside]
    if trained["vision"] == trained["text"] and pieces:
        pieces = [f"{blocks(trained['vision'], layers['vision'])} of both towers"]
    pieces += [label for prefix, label in PIECES.items() if any(name.startswith(prefix) for name in names)]
    return ", ".join(pieces)


def acting(
    places: Iterable[tuple[str, str, int | None]], layers: dict[str, int]
) -> Iterable[tuple[tuple[str, ...], str, str]]:
    """(places, tower or "both towers", "every block", "blocks 2 to 12" or "" outside the blocks)."""
    where: dict[tuple[str, str], set[int]] = {}
    for tower, place, layer in places:
        where.setdefault((tower, place), set()).update(() if layer is None else {layer})
    together: dict[tuple[str, str], list[str]] = {}
    for (tower, place), inside in where.items():
        together.setdefault((tower, blocks(inside, layers[tower]) if inside else ""), []).append(place)
    for (tower, which), named in together.items():
        other = together.get(("text" if tower == "vision" else "vision", which))
        if other != named:
            yield tuple(named), tower, which
        elif tower == "vision":
            yield tuple(named), "both towers", which


def blocks(numbers: set[int], depth: int) -> str:
    """Counted from 1; one after the other where they are not in one piece."""
    first, last = min(numbers) + 1, max(numbers) + 1
    if len(numbers) == depth:
        return "every block"
    if len(numbers) <= last - first:
        return f"blocks {', '.join(str(number + 1) for number in sorted(numbers))}"
    return f"block {first}" if first == last else f"blocks {first} to {last}"


@cache
def settings_in_tables() -> dict[str, SettingInTables]:
    """Every setting of every table by its id, in the order of the papers; counts are those of ViT-B/32."""
    settings: dict[str, SettingInTables] = {}
    for name, table, method, cell in cells_with_methods():
        id = method_id(method, cell.setting)
        if id not in settings:
            settings[id] = SettingInTables(id, count_trainable(method, cell))
        numbers = settings[id].tables.setdefault(name, [])
        if table not in numbers:
            numbers.append(table)
    for line in params.table_lines():
        if line["method"] and line["trainable"] and line["printed"]:
            figure = f"{line['printed'].rstrip('M%')} {line['printed_unit']}"
            settings[line["method"]].printed[line["backbone"], figure] = line["verdict"]
    return settings


def cells_with_methods() -> Iterator[tuple[str, str, str, papers.Cell]]:
    """(paper, table, method, cell) for every cell of every paper's tables that names a method."""
    for name, paper in papers.published().items():
        for table in paper.tables.values():
            for cell in (cell for row in table.rows for cell in row.cells.values()):
                if cell.method:
                    yield name, table.name, cell.method, cell


def count_trainable(method: str, cell: papers.Cell) -> int:
    """What the cell trains, with its paper's recipe and ViT-B/32."""
    recipe, _ = papers.load_paper(cell.paper).recipe(cell.dataset, method, cell.setting, variant=cell.variant)
    return params.counts(BACKBONE, method, cell.setting, **recipe.model_choices(cell.train)).trainable


@cache
def values_in_rows() -> dict[str, dict[tuple[str, str, str, Source], None]]:
    """Method -> (paper, key, value, source) of settings that rows name, and of recipe fields that it alone sets."""
    values: dict[str, dict[tuple[str, str, str, Source], None]] = {name: {} for name in methods.available()}
    for name, table, method, cell in cells_with_methods():
        own = {key: Source(**dict(source)) for key, source in cell.sources.items()}
        paper, called = papers.load_paper(cell.paper), named_by(f"{name}/{table}", cell.paper)
        recipe, sources = paper.recipe(
            cell.dataset, method, cell.setting, variant=cell.variant, named_by=called, own_sources=own
        )
        _, usual = paper.recipe(cell.dataset, "")
        fields = {key: value for key, value in recipe if sources[f"recipe.{key}"] != usual[f"recipe.{key}"]}
        named = {f"setting.{key}": value for key, value in cell.setting.items()}
        named |= {f"recipe.{key}": value for key, value in fields.items()}
        parts = methods.split(method)
        for key, value in named.items():
            bare = key.removeprefix("setting.")  # a composition's recipe is that of its first part
            owners = parts[:1] if key.startswith("recipe.") else [p for p in parts if bare in methods.defaults(p)]
            for part in owners:
                values[part][cell.paper, bare, str(value), sources[key]] = None
    return values


@cache
def tables_by_similarity() -> dict[str, dict[str, list[str]]]:
    """Similarity -> paper -> its tables whose rows are scored with it."""
    scored: dict[str, dict[str, list[str]]] = {name: {} for name in similarity.available()}
    for name, table, method, cell in cells_with_methods():
        recipe, _ = papers.load_paper(cell.paper).recipe(cell.dataset, method, cell.setting, variant=cell.variant)
        if recipe.similarity not in scored:
            raise PetvrError(f"{name}/{table}: similarity '{recipe.similarity}' is not there")
        numbers = scored[recipe.similarity].setdefault(name, [])
        if table not in numbers:
            numbers.append(table)
    return scored


@cache
def head(name: str) -> tuple[int, tuple[str, ...]]:
    """Numbers a similarity trains at 12 frames and 32 words with ViT-B/32, and what it needs beside pooled features."""
    import torch

    from petvr.clip import config, weights
    from petvr.clip.weights import SkipMetaInit

    with SkipMetaInit(), torch.device("meta"):
        clip = weights.on_meta(config.geometry(BACKBONE))
        module = similarity.build_similarity(
            name, {}, clip.embed_dim, torch.Generator(), clip=clip, frames=FRAMES, words=WORDS
        )
    return sum(part.numel() for part in module.parameters() if part.requires_grad), module.NEEDS
