"""Every distinct model of the plan once, as it would run: built, two training steps, one block of evaluation, on
pictures of noise. On a GPU at full size, so that memory and hours are known; on a CPU at a reduced one, which shows
that it can be built and stepped."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from petvr import atomic
from petvr.clip import config as geometry
from petvr.clip.config import ClipConfig
from petvr.costs import steps
from petvr.costs.compute import compute
from petvr.errors import PetvrError, first_line
from petvr.rehearsal.parts import Part
from petvr.spec import RunSpec
from petvr.text_files import read_json
from petvr.training import bench, run
from petvr.training.checkpoint import TrainState
from petvr.training.evaluate import FRAMES_PER_BATCH
from petvr.training.model import BatchTensors
from petvr.training.optimizer import build_optimizer, parameter_groups

REDUCED = {"batch": 2, "frames": 2}  # of a CPU
STEPS = 2
FULL = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class Machine:
    device: torch.device
    full: bool  # whole batches and frames
    micro_batch: int | None
    matrix_tflops: dict[str, float]


def rehearse_shapes(
    part: Part, specs: Iterable[RunSpec], geometries: dict[str, ClipConfig], machine: Machine, path: Path
) -> None:
    """Findings by method into `part`. `path` becomes what `petvr plan` reads: a line per shape, as `petvr bench --json`
    writes them, with `shape`, by which the plan knows which runs it is of; a killed call goes on where it stopped."""
    name = torch.cuda.get_device_name() if machine.device.type == "cuda" else "CPU"
    where = {
        "machine": name,
        "device": machine.device.type,
        "torch": torch.__version__,
        "micro_batch": machine.micro_batch,
    }
    known, lines, refused = _known_lines(path, where), [], []
    for shape, spec in {steps.shape_of(spec): spec for spec in specs}.items():
        line = known.get(shape) or measured_line(spec, geometries[spec.backbone], machine)
        lines.append(line)
        if line["error"]:
            refused.append((spec, line))
        if machine.full or not len(lines) % 20:
            atomic.write_json(path, {**where, "lines": lines})
    atomic.write_json(path, {**where, "lines": lines})
    count, size = len(lines), "at full size" if machine.full else "at a reduced size (no GPU here)"
    part.add(
        "can every model be built, stepped and evaluated?", not refused, f"{count - len(refused)} of {count} {size}"
    )
    for spec, line in refused:
        says = f"{line['error']}"
        fits = line["micro_batch"]
        remedy = (
            f"write micro_batch: {fits} into the configuration"
            if fits
            else "read the message; petvr show has the recipe"
        )
        part.add(f"{spec.cell}, batch {spec.recipe.batch}:", False, says, remedy)


def machine_of(device: torch.device, micro_batch: int | None, specs: Iterable[RunSpec]) -> Machine:
    """With the rate of matrix products in each precision of the plan, where steps are measured at full size."""
    if device.type != "cuda":
        return Machine(device, False, micro_batch, {})
    rates: dict[str, float] = {}
    for mode in {spec.recipe.precision for spec in specs}:
        multiply = bench.matrix_product(device, mode)
        bench.timed(multiply, device, 2)
        rates[mode] = 2 * bench.SIDE["cuda"] ** 3 / 1e12 / bench.timed(multiply, device, 8)
    return Machine(device, True, micro_batch, rates)


def _known_lines(path: Path, where: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of an earlier call on the same machine that a shape was no failure in."""
    try:
        before = read_json(path, dict)
        same = all(before[key] == value for key, value in where.items())
        return {line["shape"]: line for line in before["lines"] if same and not line["error"]}
    except (PetvrError, KeyError, TypeError):
        return {}


def measured_line(spec: RunSpec, clip: ClipConfig, machine: Machine) -> dict[str, Any]:
    """One shape, and the largest half of its batch that fits where all of it does not."""
    if not machine.full:
        layers = max(2, *(int(v) + 1 for k, v in spec.setting.items() if k == "layer" and isinstance(v, int)), 2)
        spec, clip = reduced(spec), clip if clip.vision.width <= 64 else geometry.with_layers(clip, layers)
    error, fits = "", None
    figures = {
        "step_seconds": 0.0,
        "peak_gib": 0.0,
        "host_gib": 0.0,
        "evaluated_videos_per_second": 0.0,
        "build_seconds": 0.0,
    }
    try:
        figures = step_figures(spec, clip, machine)
    except Exception as failed:  # whatever building or stepping raises on a device is the answer
        error = (
            first_line(failed) if isinstance(failed, PetvrError) else f"{type(failed).__name__}: {first_line(failed)}"
        )
        full = isinstance(failed, MemoryError) or any(word in str(failed) for word in FULL)
    if error and full:
        error = f"out of memory: {error[:150]}"
        fits = fitting_micro_batch(spec, clip, machine)
    mode = spec.recipe.precision
    rate, cost = machine.matrix_tflops.get(mode, 0.0), 0.0
    if machine.full and not error:
        cost = compute(clip, spec.method, spec.setting, **spec.recipe.model_choices(spec.train)).step
    share = (
        cost * spec.recipe.batch / 1e12 / figures["step_seconds"] / rate if figures["step_seconds"] and rate else 0.0
    )
    return {
        "shape": steps.shape_of(spec), "method": spec.method, "setting": spec.setting, "backbone": spec.backbone,
        "dataset": spec.dataset, "precision": mode, "batch": spec.recipe.batch, "frames": spec.recipe.frames,
        "full": machine.full, "matrix_tflops": rate, "share": share, "error": error, "micro_batch": fits, **figures,
    }  # fmt: skip


def reduced(spec: RunSpec) -> RunSpec:
    batch, frames = REDUCED["batch"], min(REDUCED["frames"], spec.recipe.frames)
    return spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"batch": batch, "frames": frames})})


def fitting_micro_batch(spec: RunSpec, clip: ClipConfig, machine: Machine) -> int | None:
    size = min(machine.micro_batch or spec.recipe.batch, spec.recipe.batch) // 2
    while size >= 1:
        try:
            step_figures(spec, clip, replace(machine, micro_batch=size))
            return size
        except Exception:  # does not fit either
            size //= 2
    return None


def step_figures(spec: RunSpec, clip: ClipConfig, machine: Machine) -> dict[str, float]:
    """Seconds of the second step, peak GiB of both and the evaluation, videos a second of that, seconds to build."""
    device, recipe = machine.device, spec.recipe
    cuda = device.type == "cuda"
    gc.collect()
    bench.forget_host_peak()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    source = bench.Noise(2 * recipe.batch, recipe.frames, clip.image)
    data, model = bench.prepared(spec, clip, source, device)
    batch = data.at(0, device)
    built, seconds = time.perf_counter() - start, [0.0]
    if spec.train:
        groups = parameter_groups(model.trained, recipe, model.layer_norm_weights())
        state = TrainState(model, build_optimizer(groups, recipe, bench.STEPS), step=bench.STEPS // 2)
        work = lambda: run.train_step(spec, state, bench.Resident(batch), machine.micro_batch)  # noqa: E731
        seconds = [bench.timed(work, device, 1) for _ in range(STEPS)]
        loss = state.mean_loss()
        if loss is None or not math.isfinite(loss):
            raise PetvrError(f"the loss is {loss} after {STEPS} steps")
    block = min(len(batch.ids), max(1, FRAMES_PER_BATCH[device.type] // recipe.frames))
    part = BatchTensors(batch.ids[:block], batch.pixels[:block], batch.mask[:block], None)
    evaluation = bench.timed(lambda: bench.evaluated(model, part), device, 1)
    return {
        "step_seconds": seconds[-1],
        "peak_gib": bench.memory(device) / 2**30,
        "host_gib": bench.host_peak() / 2**30,
        "evaluated_videos_per_second": block / max(evaluation, 1e-9),
        "build_seconds": built,
    }
