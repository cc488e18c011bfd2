"""Reads the result of every run a table asks for, and single numbers out of it.

What cannot be used becomes a state with a reason, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from petvr.layout import Layout
from petvr.papers.table import Column
from petvr.result import Directions, Evaluation, Result
from petvr.spec import RunSpec
from petvr.status import RunState, status_of

STATES: dict[RunState, Literal["ok", "failed", "missing", "stale"]] = {  # as tables say it
    RunState.DONE: "ok",
    RunState.STALE: "stale",
    RunState.FAILED: "failed",
    RunState.RUNNING: "missing",
    RunState.STARTED: "missing",
    RunState.MISSING: "missing",
}
GIB = 2.0**30


@dataclass(frozen=True)
class SeedResult:
    """One run of a cell: its result, or why there is none."""

    seed: int
    run: str
    state: Literal["ok", "failed", "missing", "stale"]
    reason: str = ""
    result: Result | None = None


Reader = Callable[[RunSpec], SeedResult]


def result_reader(results: str | Path) -> Reader:
    """What is below `results`, each file read once: tables share many runs. Never raises for a broken file."""
    layout, cache = Layout(Path(results)), dict[str, SeedResult]()

    def read_run(run: RunSpec) -> SeedResult:
        if run.id not in cache:
            status = status_of(layout, run)
            cache[run.id] = SeedResult(run.seed, run.id, STATES[status.state], status.reason, status.result)
        return cache[run.id]

    return read_run


def rule_of(result: Result, rule: str | None) -> str:
    """The selection rule that applies: the one asked for, else the one the run's recipe names."""
    return rule or result.spec.recipe.selection


def problem(result: Result, rule: str | None, scores: str) -> str:
    """Why this result cannot fill a row; empty if it can. NaN or infinity anywhere makes it unusable."""
    name = rule_of(result, rule)
    if name not in result.selected:
        return f"no selection rule '{name}'; the result has: {', '.join(sorted(result.selected)) or 'none'}"
    if not 0 <= result.selected[name] < len(result.evaluations):
        return f"selection rule '{name}' points at evaluation {result.selected[name]} of {len(result.evaluations)}"
    evaluation = result.at(name)
    if scores == "dsl" and evaluation.dsl is None:
        return "no scores with dual-softmax"
    for direction, metrics in scores_of(evaluation, scores).items():
        for metric, value in metrics.items():
            if not math.isfinite(value):
                return f"{direction}/{metric} is not a number"
    return ""


def scores_of(evaluation: Evaluation, scores: str, ties: str = "expected") -> Directions:
    """ties: "expected", or "released" as CLIP4Clip's code counts them."""
    if ties == "released":
        return evaluation.released.get("dsl" if scores == "dsl" else "plain", {})
    return (evaluation.dsl or {}) if scores == "dsl" else evaluation.plain


def value_of(result: Result, column: Column, rule: str | None, scores: str, ties: str = "expected") -> float | None:
    """The number of this column; None where a run does not measure it (sizes), or this one did not (memory, no GPU).

    Units: millions of every number that trains; 1e6 bytes of the adapter file; peak memory in GiB; pairs a second;
    milliseconds; a rate only where something trains with it.
    """
    cost = result.cost
    if column.metric in ("video_ms", "text_ms"):
        return getattr(cost, column.metric)
    if column.metric.startswith("lr_"):
        trains = cost.trainable_by_part.get(column.metric.removeprefix("lr_"), 0)
        return getattr(result.spec.recipe, column.metric) if trains else None
    if column.metric == "forward_gflops":
        return None if cost.forward_flops is None else cost.forward_flops / 1e9
    if column.metric == "pairs_s":
        return cost.pairs_per_second
    if column.metric == "adapter_MB":
        stored = result.files.get("adapter.safetensors")
        return stored.bytes / 1e6 if stored and result.spec.train else None
    if column.metric == "trains_M":
        return cost.trainable / 1e6
    if column.metric == "memory_G":
        return None if cost.peak_memory_bytes is None else cost.peak_memory_bytes / GIB
    if column.direction is None:
        return None
    metrics = scores_of(result.at(rule_of(result, rule)), scores, ties).get(column.direction, {})
    if column.metric == "RSum" and "RSum" not in metrics and {"R@1", "R@5", "R@10"} <= metrics.keys():
        return metrics["R@1"] + metrics["R@5"] + metrics["R@10"]
    return metrics.get(column.metric)
