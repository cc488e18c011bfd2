"""What a run leaves behind.

result.json          petvr.result.Result, written last
ranks.npz            `<n>/plain/t2v`, `<n>/plain/v2t`, `<n>/dsl/...`: ranks from 1 (float32, ties averaged) of every
                     caption (t2v) and every video (v2t), for entry n of `evaluations`; `videos` (ids) and `owner`
adapter.safetensors  the trained tensors at the evaluation that the recipe's selection rule takes (not those of every
                     rule: full tuning would keep CLIP twice); empty where nothing was trained
log.txt              lines with UTC times, of all attempts
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from petvr import atomic
from petvr.costs.compute import compute
from petvr.costs.params import choices
from petvr.result import Cost, Evaluation, Provenance, Result
from petvr.spec import RunSpec
from petvr.training import model, select
from petvr.training.loop import Loop
from petvr.training.splits import Splits


def result(
    spec: RunSpec, loop: Loop, splits: Splits, world: str, frames_digest: str, memory: int, provenance: Provenance
) -> Result:
    return Result(
        id=spec.id,
        spec=spec,
        evaluations=loop.progress.evaluations,
        selected=select.select(loop.progress.evaluations, spec.recipe.select_by),
        cost=cost(loop, memory),
        data=splits.data(world, frames_digest),
        provenance=provenance,
    )


def cost(loop: Loop, memory: int) -> Cost:
    by_part, total = loop.model.counts()
    progress, spec = loop.progress, loop.spec
    flops = compute(
        loop.model.adapted.clip.config,
        spec.method,
        spec.setting,
        memory=False,
        train=spec.train,
        **choices(spec.recipe, spec.train),
    )
    return Cost(
        trainable=sum(by_part.values()),
        total=total,
        trainable_by_part=by_part,
        flops_per_pair=flops.step,
        peak_memory_bytes=memory,
        train_seconds=progress.train_seconds,
        eval_seconds=progress.eval_seconds,
        pairs_per_second=progress.pairs / progress.train_seconds if progress.pairs else None,
        resumed=progress.resumed,
        prefix_blocks=loop.model.prefix,
    )


def write(out: Path, result: Result, loop: Loop, splits: Splits) -> None:
    """All files atomically, result.json last. Raises PetvrError naming the one that cannot be written."""
    ranks = {f"{n}/{name}": values for n, ranked in enumerate(loop.progress.ranks) for name, values in ranked.items()}
    test = splits.test.split
    with atomic.replacing(out / "ranks.npz") as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, videos=np.array(test.videos), owner=np.array(test.caption_video, np.int32), **ranks)
    model.save(selected(loop), out / "adapter.safetensors")
    result.write(out / "result.json")


def selected(loop: Loop) -> dict[str, Tensor]:
    """The trained tensors at the evaluation that the recipe's rule takes."""
    if loop.training is None:
        return {}
    if loop.spec.recipe.selection == "best_on_test" and loop.progress.best is not None:
        return loop.progress.best
    return loop.model.state()


def line(evaluation: Evaluation) -> str:
    """One evaluation as a person reads it."""
    loss = "" if evaluation.train_loss is None else f", loss {evaluation.train_loss:.4f}"
    ways = [
        f"{way} " + " ".join(f"{key} {metrics[key]:.1f}" for key in ("R@1", "R@5", "R@10", "MdR", "MnR"))
        for way, metrics in evaluation.plain.items()
    ]
    return f"epoch {evaluation.epoch}, step {evaluation.step}{loss}: " + "; ".join(ways)
