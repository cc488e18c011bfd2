"""One result on the screen: metrics per evaluation, the recipe with the source of each value, cost, data, origin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from petvr.report.tables.data_notes import left_out
from petvr.result import Evaluation, Result
from petvr.screen import screen

SHOWN = ("R@1", "R@5", "R@10", "RSum", "MdR", "MnR")


def show_run(result: Result, console: Any = None, *, guesses_only: bool = False) -> None:
    """Print with rich; `guesses_only` leaves out values that a paper, its code or a count states."""
    console = console or screen()
    console.print(result.id, style="bold", highlight=False)
    console.print(_evaluations(result))
    console.print(_recipe(result, guesses_only))
    for title, pairs in (("Cost", _cost(result)), ("Data", _data(result)), ("Origin", _origin(result))):
        console.print(_pairs(title, pairs))


def _evaluations(result: Result) -> Any:
    from rich import box
    from rich.table import Table

    grid = Table(title="Evaluations", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("epoch", "step", "loss", "", *SHOWN):
        grid.add_column(name, justify="left" if not name else "right")
    grid.add_column("chosen by")
    rules: dict[int, list[str]] = {}
    for rule, index in sorted(result.selected.items()):
        rules.setdefault(index, []).append(rule)
    for index, evaluation in enumerate(result.evaluations):
        loss = "" if evaluation.train_loss is None else f"{evaluation.train_loss:.4f}"
        style = "bold" if result.spec.recipe.selection in rules.get(index, []) else ""
        for number, (label, metrics) in enumerate(_scores(evaluation)):
            front = [str(evaluation.epoch), str(evaluation.step), loss] if number == 0 else ["", "", ""]
            values = [f"{metrics[name]:.1f}" if name in metrics else "" for name in SHOWN]
            chosen = ", ".join(rules.get(index, [])) if number == 0 else ""
            grid.add_row(*front, label, *values, chosen, style=style)
    return grid


def _scores(evaluation: Evaluation) -> Iterator[tuple[str, dict[str, float]]]:
    for direction, metrics in evaluation.plain.items():
        yield direction, metrics
    for direction, metrics in (evaluation.dsl or {}).items():
        yield f"{direction} dual-softmax", metrics
    for direction, metrics in (evaluation.validation or {}).items():
        yield f"{direction} validation", metrics
    for direction, metrics in evaluation.released.get("plain", {}).items():
        if metrics != evaluation.plain[direction]:
            yield f"{direction} ties as released", metrics


def _recipe(result: Result, guesses_only: bool) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(title="Recipe and setting", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("key", "value", "from", "where"):
        grid.add_column(name, overflow="fold")
    for key, value in result.spec.values().items():
        source = result.spec.sources.get(key)
        origin = source.origin if source else ""
        if guesses_only and origin != "guess":
            continue
        shown = value if isinstance(value, str) else json.dumps(value)
        style = "yellow" if origin == "guess" else "cyan" if origin == "config" else ""
        grid.add_row(key, Text(shown), Text(origin, style=style), Text(source.where if source else "", style="dim"))
    return grid


def _cost(result: Result) -> Iterator[tuple[str, str]]:
    cost = result.cost
    share = 100 * cost.trainable / cost.total if cost.total else 0.0
    parts = ", ".join(f"{part} {count:,}" for part, count in cost.trainable_by_part.items() if count)
    yield "trainable", f"{cost.trainable:,} of {cost.total:,} ({share:.3f} %)" + (f": {parts}" if parts else "")
    if cost.flops_per_pair is not None:
        yield "compute", f"{cost.flops_per_pair / 1e9:.2f} GFLOPs a pair, forward and backward, multiply-add = 2"
    if cost.peak_memory_bytes is not None:
        yield "peak memory", f"{cost.peak_memory_bytes / 2**30:.2f} GiB"
    speed = "" if cost.pairs_per_second is None else f", {cost.pairs_per_second:.1f} pairs/s"
    yield "time", f"{cost.train_seconds:.1f} s training{speed}, {cost.eval_seconds:.1f} s evaluation"
    if cost.resumed:
        yield "resumed", f"{cost.resumed} times from a checkpoint"


def _data(result: Result) -> Iterator[tuple[str, str]]:
    data = result.data
    yield "world", data.world
    yield "test", f"{data.test_videos:,} of {data.test_videos_official:,} videos, {data.test_captions:,} captions"
    yield "training", f"{data.train_videos:,} of {data.train_videos_official:,} videos"
    yield "class", data.data_class
    if data.missing:
        more = f" and {len(data.missing) - 10} more" if len(data.missing) > 10 else ""
        yield "left out", left_out(data)
        yield "missing", ", ".join(data.missing[:10]) + more
    yield "digests", f"split {data.digest}, frames {data.frames_digest}"
    if data.manifest:
        yield "state", f"{data.manifest}, {'frozen in a lock' if data.frozen else 'not frozen'}"


def _origin(result: Result) -> Iterator[tuple[str, str]]:
    provenance = result.provenance
    dirty = " with local changes" if provenance.git_dirty else ""
    yield "made by", f"petvr {provenance.petvr}, git {provenance.git_revision or 'unknown'}{dirty}"
    yield "when", f"{provenance.started} to {provenance.finished}"
    yield "hardware", ", ".join(f"{key} {value}" for key, value in provenance.hardware.items())
    yield "packages", ", ".join(f"{name} {version}" for name, version in provenance.packages.items())
    yield "versions", ", ".join(f"{name} {version}" for name, version in result.spec.versions.items())
    yield "digests", f"spec {provenance.spec_digest}, weights {provenance.weights_digest}"


def _pairs(title: str, pairs: Iterator[tuple[str, str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for key, value in pairs:
        grid.add_row(key, Text(value))
    return grid
