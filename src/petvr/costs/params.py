"""Trainable parameters, counted on the meta device: no weights are needed, and no memory.

What is counted is kept in the user's cache: torch is imported for what is new there (petvr.costs.counting_code).

Every paper counts in its own way, which its recipe.yaml declares under `counting`; `table_lines` puts what a row trains
next to what its table prints.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation
from functools import cache
from typing import TYPE_CHECKING, Any

from petvr.atomic import at_least
from petvr.costs.counting_code import count_of_this_code
from petvr.papers.schema import Counting
from petvr.papers.table import Cell, Table
from petvr.spec import Recipe, method_id

if TYPE_CHECKING:
    from petvr.clip.config import ClipConfig
    from petvr.clip.towers import Clip
    from petvr.papers.implemented import Implemented

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


def counts(backbone: str | ClipConfig, method: str, setting: Mapping[str, Any] | None = None, **choices: Any) -> Counts:
    """What a run with these choices trains; `choices` as petvr.costs.compute.build_model takes them.

    backbone: the name of a published CLIP, or the sizes of one. PetvrError for unknown names and settings.
    """
    return _counts(backbone, method, *(json.dumps(given, sort_keys=True) for given in (dict(setting or {}), choices)))


@cache
def _counts(backbone: str | ClipConfig, method: str, setting: str, choices: str) -> Counts:
    def count() -> dict[str, Any]:
        return asdict(_built(backbone, method, json.loads(setting), json.loads(choices)))

    kinds = {"trainable": int, "by_part": dict, "total": int, "names": dict, "everything": bool}
    key = ["parameters", asdict(_config(backbone)), method, setting, choices]
    return Counts(*count_of_this_code(key, kinds, count))


def _built(backbone: str | ClipConfig, method: str, setting: dict[str, Any], choices: dict[str, Any]) -> Counts:
    from petvr import methods
    from petvr.clip.weights import SkipMetaInit
    from petvr.costs import compute

    with SkipMetaInit():  # one CLIP for all: each method says anew what of it trains
        model, head = compute.build_model(_shapes(backbone), method, setting, **choices)
    parameters = dict(model.named_parameters()) | {f"head.{name}": part for name, part in head.named_parameters()}
    names = {name: parameter.numel() for name, parameter in parameters.items() if parameter.requires_grad}
    by_part = {"clip": 0, "new": 0, "head": 0}
    for name, size in names.items():
        by_part["head" if name.startswith("head.") else model.part(name)] += size
    total = sum(parameter.numel() for parameter in parameters.values())
    complete = methods.settings(method, setting).get("full")
    return Counts(sum(names.values()), by_part, total, names, complete is not None and not complete["freeze"])


def _config(backbone: str | ClipConfig) -> ClipConfig:
    from petvr.clip import config

    return config.geometry(backbone) if isinstance(backbone, str) else backbone


@cache
def _shapes(backbone: str | ClipConfig) -> Clip:
    from petvr.clip import weights

    return weights.on_meta(_config(backbone))


@cache
def clip_sizes(backbone: str | ClipConfig) -> dict[str, int]:
    """Every parameter of CLIP with its size."""

    def count() -> dict[str, Any]:
        named = _shapes(backbone).named_parameters()
        return {"sizes": {f"clip.{name}": parameter.numel() for name, parameter in named}}

    key = ["clip", asdict(_config(backbone))]
    (sizes,) = count_of_this_code(key, {"sizes": dict}, count)
    return sizes


# What OpenAI's CLIP holds outside of leaf modules: the attention's input projections and parameters of their own.
BARE = (".q_proj.", ".k_proj.", ".v_proj.", "vision_model.embeddings.class", "embeddings.position", "logit_scale")


def leaf_modules(names: Mapping[str, int]) -> dict[str, int]:
    """Those of `names` that lie in leaf modules of OpenAI's model, and what a method adds."""
    openai = ("clip.", "head.")  # a similarity's blocks are made as CLIP's are
    return {
        name: size
        for name, size in names.items()
        if not (name.startswith(openai) and any(part in name for part in BARE))
    }


def as_printed(counting: Counting, trained: Counts, backbone: str | ClipConfig) -> dict[str, float]:
    """What a paper that counts so would print: {"params_M": millions, "params_percent": share of its whole}."""
    names = leaf_modules(trained.names) if counting.modules == "leaf" else trained.names
    whole = _whole(counting.modules, tuple(counting.whole_without), backbone)
    if trained.everything and counting.full_is_whole:
        value = whole
    else:
        left_out = () if counting.head else ("head.",)
        value = sum(
            size for name, size in names.items() if name not in counting.never and not name.startswith(left_out)
        )
    return {"params_M": value / 1e6, "params_percent": 100 * value / whole}


@cache
def _whole(modules: str, without: tuple[str, ...], backbone: str | ClipConfig) -> int:
    sizes = clip_sizes(backbone)
    sizes = leaf_modules(sizes) if modules == "leaf" else sizes
    return sum(size for name, size in sizes.items() if not name.startswith(without))


def count_check(computed: float, printed: str) -> str:
    """`agrees` at all printed digits, `agrees, cut instead of rounded`, or both numbers."""
    try:
        figure = Decimal(printed.strip().rstrip("%M").strip())
    except InvalidOperation:
        return f"no number is printed ('{printed}'), computed {computed:.4g}"
    exponent = int(figure.as_tuple().exponent)
    digits = Decimal(1).scaleb(exponent)
    exact = Decimal(repr(computed))
    if exact.quantize(digits, ROUND_HALF_UP) == figure:
        return "agrees"
    if exact.quantize(digits, ROUND_DOWN) == figure:
        return f"agrees, cut instead of rounded ({computed:.4f})"
    digits_after_point = max(0, -exponent)
    more = digits_after_point + 1 if math.isclose(computed, float(figure), rel_tol=0.02) else max(digits_after_point, 3)
    return f"computed {computed:.{more}f}, printed {figure}"


def method_lines(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """One line (COLUMNS) for every method that none of `rows` has counted, as it is by default."""
    from petvr import methods

    counted = {name for row in rows if row["trainable"] for name in row["method"].partition("@")[0].split("+")}
    lines = []
    for name in methods.available():
        if name not in counted:
            trained = counts(
                "vit-b-32", name, similarity=methods.similarity_of(name) or "mean_pool", frames=12, words=32
            )
            values = ("", "", "", name, "vit-b-32", "", str(trained.trainable), "", "", "no table shows it")
            lines.append(dict(zip(COLUMNS, values, strict=True)))
    return lines


def size_in_table(
    table: Table, cell: Cell, recipe: Recipe, metric: str, printed: str, sizes: ClipConfig
) -> tuple[float, str]:
    """(a column's number as the paper of the table counts, the verdict on what it prints) before anything has run.

    metric: one of UNITS, "trains_M" for every number that trains, or "forward_gmacs": 1e9 multiply-adds of a pair.
    """
    method, choices = cell.method or "", recipe.model_choices(cell.train)
    if metric == "forward_gmacs":
        return _forward_flops(sizes, method, cell.setting, cell.train, choices) / 2e9, "counted"
    trained = counts(sizes, method, cell.setting, **choices)
    if metric == "trains_M":
        return trained.trainable / 1e6, ""
    counting = counting_of(table)
    return as_printed(counting, trained, sizes)[metric], _verdict(counting, trained, cell, metric, printed, sizes)


def _forward_flops(
    sizes: ClipConfig, method: str, setting: Mapping[str, Any], train: bool, choices: dict[str, Any]
) -> float:
    def count() -> dict[str, Any]:
        from petvr.costs import compute

        cost = compute.compute(sizes, method, setting, memory=False, backward=False, train=train, **choices)
        return {"forward": cost.forward}

    key = ["forward", asdict(sizes), method, dict(setting), train, choices]
    (forward,) = count_of_this_code(key, {"forward": at_least(1.0)}, count)
    return forward


def counting_of(table: Table) -> Counting:
    """That of the paper whose table it is; in a user's own every number that trains counts."""
    from petvr import papers

    return papers.load_paper(table.paper).counting if table.paper in papers.NAMES else Counting()


def table_lines(own_tables: Iterable[Table] = ()) -> list[dict[str, str]]:
    """One line (COLUMNS) for every parameter figure of every table of every paper, and of a user's own tables."""
    from petvr import methods, papers, similarity
    from petvr.papers.implemented import Implemented

    implemented = Implemented(methods=methods.available(), similarities=similarity.available())
    lines = []
    tables = [table for paper in papers.published().values() for table in paper.tables.values()]
    for table in [*tables, *own_tables]:
        counting = counting_of(table)
        for row in table.rows:
            for dataset, cell in row.cells.items():
                for metric in (column.metric for column in table.columns if column.dataset in (None, dataset)):
                    figure = table.printed.get((row.key, dataset, "none", metric))
                    if metric not in UNITS:
                        continue
                    printed = figure.text if figure else ""
                    trainable, check = _check_cell(counting, cell, metric, printed, implemented)
                    method = method_id(cell.method, cell.setting) if cell.method else ""
                    values = (table.paper, table.name, row.key, method, cell.backbone, dataset, trainable, printed)
                    lines.append(dict(zip(COLUMNS, (*values, UNITS[metric], check), strict=True)))
    return lines


def _check_cell(counting: Counting, cell: Cell, metric: str, printed: str, implemented: Implemented) -> tuple[str, str]:
    """(trainable, check) of one printed figure; `counting` is that of the paper whose table it is."""
    from petvr import papers

    if cell.method is None:
        return "", "reported only"
    if cell.paper in papers.faults():
        return "", f"recipe cannot be read: {cell.paper}"
    recipe, _ = papers.load_paper(cell.paper).recipe(cell.dataset, cell.method, cell.setting, variant=cell.variant)
    unavailable = implemented.unavailable(cell.dataset, cell.method, recipe.similarity)
    if unavailable:
        return "", unavailable
    trained = counts(cell.backbone, cell.method, cell.setting, **recipe.model_choices(cell.train))
    return str(trained.trainable), _verdict(counting, trained, cell, metric, printed, cell.backbone)


def _verdict(
    counting: Counting, trained: Counts, cell: Cell, metric: str, printed: str, backbone: str | ClipConfig
) -> str:
    """`count_check` of a printed figure, with the reason why no count meets it where that is known."""
    if not printed:
        return "nothing is printed"
    check = count_check(as_printed(counting, trained, backbone)[metric], printed)
    if check != "agrees" and metric == "params_percent" and counting.percent_of_rounded:
        complete = _whole(counting.modules, tuple(counting.whole_without), backbone)
        millions, whole = (round(number / 1e6, 2) for number in (trained.trainable, complete))
        if count_check(100 * millions / whole, printed) == "agrees":
            return f"agrees, formed from the rounded figures {millions:.2f} / {whole}"
    parts = (cell.method or "").split("+")
    remark = next((counting.remarks[part] for part in (cell.method, *parts) if part in counting.remarks), "")
    return check if check == "agrees" or not remark else f"{check}: {remark}"
