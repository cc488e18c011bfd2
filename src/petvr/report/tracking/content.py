"""What a result looks like in MLflow: names of parameters, metrics and tags. No MLflow here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from petvr.result import Directions, Result

Metric = tuple[str, float, int]  # name, value, step


def params(result: Result) -> dict[str, str]:
    """What names the run, and every value in force with its source."""
    spec = result.spec.model_dump(mode="json")
    named = {key: spec[key] for key in ("paper", "dataset", "backbone", "method", "seed", "train")}
    named |= result.spec.values()
    named |= {f"source/{key}": f"{source.origin}: {source.where}" for key, source in result.spec.sources.items()}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in named.items()}


def metrics(result: Result) -> list[Metric]:
    """One point per evaluation (the step is the epoch), then what each selection rule chose, then the cost."""
    points: list[Metric] = []
    for evaluation in result.evaluations:
        points += [(name, value, evaluation.epoch) for name, value in _named(evaluation.plain)]
        points += [(name, value, evaluation.epoch) for name, value in _named(evaluation.dsl or {}, "dsl/")]
        if evaluation.train_loss is not None:
            points.append(("train_loss", evaluation.train_loss, evaluation.epoch))
    points += [(name, value, 0) for name, value in summary(result).items()]
    return [point for point in points if math.isfinite(point[1])]


def summary(result: Result) -> dict[str, float]:
    """The numbers of a run that its cell averages: `best_on_test/t2v/R1`, ..., `cost/train_seconds`."""
    numbers: dict[str, float] = {}
    for rule in result.selected:
        evaluation = result.at(rule)
        numbers |= dict(_named(evaluation.plain, f"{rule}/")) | dict(_named(evaluation.dsl or {}, f"{rule}/dsl/"))
        numbers[f"{rule}/epoch"] = evaluation.epoch
    for name, value in result.cost.model_dump().items():
        if isinstance(value, int | float):
            numbers[f"cost/{name}"] = float(value)
    return numbers


def over_seeds(results: Sequence[Result]) -> list[Metric]:
    """Mean under the name the runs use, sample standard deviation (ddof=1) with `_std` behind it, and `seeds`."""
    columns = [summary(result) for result in results]
    points: list[Metric] = [("seeds", float(len(results)), 0)]
    for name in sorted(set.intersection(*map(set, columns))):
        values = [column[name] for column in columns]
        if not all(map(math.isfinite, values)):
            continue
        mean = math.fsum(values) / len(values)
        points.append((name, mean, 0))
        if len(values) > 1:
            points.append((f"{name}_std", math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)), 0))
    return points


def tags(result: Result, tables: Iterable[str]) -> dict[str, str]:
    """What people filter by: `tags.paper = 'vop' and tags.synthetic = 'true'`."""
    spec, provenance, data = result.spec, result.provenance, result.data
    guesses = sorted(key for key, source in spec.sources.items() if source.origin == "guess")
    return {
        "paper": spec.paper,
        "dataset": spec.dataset,
        "backbone": spec.backbone,
        "method": spec.method,
        "setting": ",".join(f"{key}={value}" for key, value in sorted(spec.setting.items())),
        "seed": str(spec.seed),
        "tables": " ".join(tables),
        "git_revision": (provenance.git_revision or "unknown") + ("-dirty" if provenance.git_dirty else ""),
        "data_digest": data.digest,
        "data_manifest": data.manifest,
        "data_frozen": str(data.frozen).lower(),
        "synthetic": str(data.world == "synthetic").lower(),
        "data_class": data.data_class,
        "selection": spec.recipe.selection,
        "spec_digest": provenance.spec_digest,
        "guesses": " ".join(guesses)[:5000],
    }


def moment(iso: str) -> int:
    """ISO 8601 to milliseconds."""
    return int(datetime.fromisoformat(iso).timestamp() * 1000)


def _named(directions: Mapping[str, Mapping[str, float]] | Directions, prefix: str = "") -> list[tuple[str, float]]:
    """MLflow allows no @ in a name: R@1 becomes R1."""
    return [
        (f"{prefix}{direction}/{metric.replace('@', '')}", value)
        for direction, metrics in directions.items()
        for metric, value in metrics.items()
    ]
