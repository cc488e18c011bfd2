"""What results look like in MLflow: names, parameters, metrics with their times, tags, data sets. No MLflow here.

Metrics are `curve/...` (the course of a run), `score/<selection rule>/...` (single numbers) and `usage/...`, in this
order on MLflow's pages; R@1 is R1, since MLflow allows no @ in a name.
"""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from petvr.result import Directions, Evaluation, Result
from petvr.spec import RunSpec

CURVES = ("R@1", "R@5", "R@10", "MnR")  # by epoch; every metric is among the single numbers


class Metric(NamedTuple):
    name: str
    value: float
    timestamp: int  # milliseconds
    step: int


class DatasetInput(NamedTuple):
    """`digest` is cut to what MLflow takes; the whole one stands in `source`."""

    name: str
    digest: str
    context: str
    source: str


@dataclass
class RunRecord:
    """A finished run of MLflow: of one result, or of all seeds of a cell."""

    name: str
    start: int
    end: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[Metric]
    datasets: list[DatasetInput] = field(default_factory=list)
    folder: Path | None = None  # of the result, whose files become artifacts
    card: str = ""


def record_of_run(result: Result, folder: Path, tables: Sequence[str]) -> RunRecord:
    start, end = moment(result.provenance.started), moment(result.provenance.finished)
    times = _evaluation_times(result, folder / "log.txt", start, end)
    metrics = [*_curves(result, folder, times), *_numbers(summary(result), end)]
    tags = _tags(result, tables) | {"level": "run"}
    datasets = _datasets(result)
    return RunRecord(
        name_of_run(result.spec), start, end, tags, params_of(result.spec), metrics, datasets, folder, _card(result)
    )


def name_of_run(spec: RunSpec) -> str:
    return f"seed {spec.seed}, {_method(spec)}, {spec.dataset}, {spec.backbone}"


def record_of_cell(results: Sequence[Result], tables: Sequence[str]) -> RunRecord:
    """Means over seeds, sample deviations (ddof=1) with `_std` behind; the run's name says R@1, size and seeds."""
    first = results[0]
    end = max(moment(result.provenance.finished) for result in results)
    start = min(moment(result.provenance.started) for result in results)
    numbers = over_seeds(results)
    recall = numbers.get(f"score/{first.spec.recipe.selection}/t2v_R1")
    spread = numbers.get(f"score/{first.spec.recipe.selection}/t2v_R1_std")
    shown = [] if recall is None else [f"R@1 {recall:.1f}" + ("" if spread is None else f"+-{spread:.1f}")]
    size, seeds = f"{first.cost.trainable / 1e6:.3g} M", f"{len(results)} seed{'s' * (len(results) > 1)}"
    # ASCII alone: a PostgreSQL without a locale refuses all else
    name = ", ".join(
        [_method(first.spec), first.spec.dataset, *shown, size, seeds, first.spec.backbone, first.spec.paper]
    )
    tags = _tags(first, tables) | {
        "level": "cell",
        "seed": ",".join(str(result.spec.seed) for result in results),
        "git_revision": ",".join(sorted({_tags(result, tables)["git_revision"] for result in results})),
        "data_digest": ",".join(sorted({result.data.digest for result in results})),
        "data_manifest": ",".join(sorted({result.data.manifest for result in results} - {""})),
        "data_frozen": str(all(result.data.frozen for result in results)).lower(),
    }
    tags.pop("spec_digest")
    params = {key: value for key, value in params_of(first.spec).items() if key != "seed"}
    datasets = list({one.digest + one.name: one for result in results for one in _datasets(result)}.values())
    return RunRecord(name, start, end, tags, params, _numbers(numbers, end), datasets)


def summary(result: Result) -> dict[str, float]:
    """The numbers of a run that its cell averages: `score/best_on_test/t2v_R1`, ..., `usage/params_M`."""
    numbers: dict[str, float] = {}
    for rule in result.selected:
        evaluation = result.at(rule)
        numbers |= dict(_named(evaluation.plain, f"score/{rule}/")) | {f"score/{rule}/epoch": evaluation.epoch}
        if rule == result.spec.recipe.selection:
            numbers |= dict(_named(evaluation.dsl or {}, f"score/{rule}/dsl_"))
    cost = result.cost.model_dump(exclude={"trainable"})
    numbers |= {f"usage/{name}": float(value) for name, value in cost.items() if isinstance(value, int | float)}
    return numbers | {"usage/params_M": result.cost.trainable / 1e6}


def over_seeds(results: Sequence[Result]) -> dict[str, float]:
    """R@1 first, which MLflow's comparison of runs then shows."""
    columns = [summary(result) for result in results]
    numbers: dict[str, float] = {}
    for name in (name for name in columns[0] if all(name in column for column in columns)):
        values = [column[name] for column in columns]
        if not all(map(math.isfinite, values)):
            continue
        mean = numbers[name] = math.fsum(values) / len(values)
        if len(values) > 1 and name.startswith("score/"):
            numbers[f"{name}_std"] = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return numbers | {"score/seeds": float(len(results))}


def moment(iso: str) -> int:
    """ISO 8601 to milliseconds."""
    return int(datetime.fromisoformat(iso).timestamp() * 1000)


def _method(spec: RunSpec) -> str:
    """`r=8 ds=16 cross_modal_adapter`: lists show the beginning of a name, and settings tell neighbours apart."""
    settings = [f"{key}={str(value).lower() if isinstance(value, bool) else value}"
                for key, value in {**spec.setting, **spec.variant}.items()]  # fmt: skip
    return " ".join([*settings, spec.method])


def params_of(spec: RunSpec) -> dict[str, str]:
    """What names the run, and every value in force with its source."""
    fields = spec.model_dump(mode="json")
    named = {key: fields[key] for key in ("paper", "dataset", "backbone", "method", "seed", "train")}
    named |= spec.values()
    named |= {f"source/{key}": f"{source.origin}: {source.where}" for key, source in spec.sources.items()}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in named.items()}


def _evaluation_times(result: Result, log: Path, start: int, end: int) -> dict[int, int]:
    """Index of an evaluation -> when it was done, by the lines of log.txt (of several attempts the last).

    Without such a line: by its share of all steps.
    """
    try:
        lines = re.findall(r"^(\S+) epoch (\d+), step (\d+)", log.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        lines = []
    logged = {(int(epoch), int(step)): moment(at) for at, epoch, step in lines}
    steps = max((evaluation.step for evaluation in result.evaluations), default=0) or 1
    return {
        index: logged.get((one.epoch, one.step), start + round((end - start) * one.step / steps))
        for index, one in enumerate(result.evaluations)
    }


def _curves(result: Result, folder: Path, times: Mapping[int, int]) -> Iterable[Metric]:
    """Metrics by epoch, the training loss by step, whose times lie between those of the evaluations."""
    for index, evaluation in enumerate(result.evaluations):
        yield from curve_of(evaluation, times[index])
    steps = [evaluation.step for evaluation in result.evaluations]
    for step, loss in result.losses(folder):
        if math.isfinite(loss):
            after = min(bisect.bisect_left(steps, step), len(steps) - 1)
            before = max(after - 1, 0)
            share = (step - steps[before]) / max(steps[after] - steps[before], 1)
            moment_of_step = times[before] + round(share * (times[after] - times[before]))
            yield Metric("curve/train_loss", loss, moment_of_step, step)


def curve_of(evaluation: Evaluation, at: int) -> list[Metric]:
    """One evaluation's point of each curve."""
    shown: Directions = {
        direction: {name: value for name, value in metrics.items() if name in CURVES}
        for direction, metrics in evaluation.plain.items()
    }
    return [Metric(name, value, at, evaluation.epoch) for name, value in _named(shown, "curve/")]


def _numbers(numbers: Mapping[str, float], at: int) -> list[Metric]:
    return [Metric(name, value, at, 0) for name, value in numbers.items() if math.isfinite(value)]


def _named(directions: Directions, prefix: str) -> list[tuple[str, float]]:
    return [
        (f"{prefix}{direction}_{metric.replace('@', '')}", value)
        for direction, metrics in directions.items()
        for metric, value in metrics.items()
        if math.isfinite(value)
    ]


def tags_of(spec: RunSpec, tables: Iterable[str]) -> dict[str, str]:
    """What people filter by: `tags.level = 'cell' AND tags.tables LIKE '%|rap/table_4|%'`."""
    guesses = sorted(key for key, source in spec.sources.items() if source.origin == "guess")
    return {
        "paper": spec.paper,
        "dataset": spec.dataset,
        "backbone": spec.backbone,
        "method": spec.method,
        "setting": ",".join(f"{key}={value}" for key, value in sorted(spec.setting.items())),
        "seed": str(spec.seed),
        "tables": "|".join(["", *tables, ""]),
        "selection": spec.recipe.selection,
        "guesses": " ".join(guesses)[:5000],
    }


def _tags(result: Result, tables: Iterable[str]) -> dict[str, str]:
    provenance, data = result.provenance, result.data
    return tags_of(result.spec, tables) | {
        "git_revision": (provenance.git_revision or "unknown") + ("-dirty" if provenance.git_dirty else ""),
        "data_digest": data.digest,
        "data_manifest": data.manifest,
        "data_frozen": str(data.frozen).lower(),
        "synthetic": str(data.world == "synthetic").lower(),
        "data_class": data.data_class,
        "spec_digest": provenance.spec_digest,
    }


def _datasets(result: Result) -> list[DatasetInput]:
    data, name = result.data, result.spec.dataset
    source = {"manifest": data.manifest, "frames": data.frames_digest, "world": data.world, "digest": data.digest}
    counts = {"train": data.train_videos, "test": data.test_videos}
    return [
        DatasetInput(f"{name} {split}", data.digest[:36], split, json.dumps(source | {"videos": count}))
        for split, count in counts.items()
    ]


def _card(result: Result) -> str:
    """README.md beside the adapter: what it is, what it reached, how to use it."""
    spec, chosen = result.spec, result.at(result.spec.recipe.selection)
    lines = [f"# {result.id}", "", f"Trained parts of `{spec.method}` on CLIP `{spec.backbone}`, not CLIP itself.", ""]
    lines += ["| direction | R@1 | R@5 | R@10 | MnR |", "|:--|--:|--:|--:|--:|"]
    for direction, metrics in chosen.plain.items():
        lines.append(f"| {direction} | " + " | ".join(f"{metrics[name]:.1f}" for name in CURVES) + " |")
    lines += ["", f"Seed {spec.seed}, epoch {chosen.epoch} by `{spec.recipe.selection}`; "
              f"{result.data.test_videos} test videos of `{spec.dataset}` ({result.data.world} data, class "
              f"{result.data.data_class}); {result.cost.trainable:,} trained parameters.", ""]  # fmt: skip
    lines += [f'Ask it: `petvr search --run {result.id} "a dog runs"`. Recipe and provenance: result.json.', ""]
    return "\n".join(lines)
