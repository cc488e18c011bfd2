"""Every distinct model that the runs of a plan train, and what a step of it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from petvr.clip.config import ClipConfig
from petvr.costs.compute import compute
from petvr.spec import RunSpec, method_id


def distinct(runs: Iterable[RunSpec]) -> dict[tuple, list[RunSpec]]:
    """Runs that train the same model over the same frames and words stand together."""
    groups: dict[tuple, list[RunSpec]] = {}
    for run in runs:
        recipe = run.recipe
        head = method_id(recipe.similarity, recipe.similarity_setting)
        key = (run.backbone, method_id(run.method, run.setting), head, recipe.frames, recipe.words, run.train)
        groups.setdefault((*key, recipe.logit_scale), []).append(run)
    return groups


def choices(run: RunSpec) -> dict[str, Any]:
    """A run's part of what `compute` and `measure` take by name."""
    return run.recipe.model_choices(run.train) | {"train": run.train}


def lines(runs: Iterable[RunSpec], geometry: Callable[[str], ClipConfig]) -> Iterator[tuple[dict[str, Any], RunSpec]]:
    """(one line of the table, a run that trains it) per distinct model; FLOPs in 1e9 and activations in 1e6 bytes of
    fp32, both per (video, caption). `geometry` gives a backbone's."""
    for same in distinct(runs).values():
        run = same[0]
        config, given = geometry(run.backbone), choices(run)
        cost = compute(config, run.method, run.setting, **given)
        yield (
            {
                "method": method_id(run.method, run.setting),
                "papers": " ".join(sorted({each.paper for each in same})),
                "backbone": run.backbone,
                "frames": run.recipe.frames,
                "words": run.recipe.words,
                "similarity": run.recipe.similarity,
                "trainable": cost.trainable,
                "forward_gflops": f"{cost.forward / 1e9:.4g}",
                "step_gflops": f"{cost.step / 1e9:.4g}",
                "step_over_forward": f"{cost.step / cost.forward:.2f}",
                "activations_mb": f"{cost.saved / 1e6:.4g}",
                "batch": run.recipe.batch,
            },
            run,
        )
