"""What this machine makes of a run: its rates, and the run's own step, reader and evaluation on random weights.

Nothing is decoded or loaded: pictures are noise, texts are as long as they may be. Rates of a machine that others use
too wander; so work and matrix products take turns, and a share is the median of the turns. Seconds are the clock's on a
GPU and the processor's on a CPU.
"""

from __future__ import annotations

import contextlib
import resource
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from petvr.clip import config as geometry
from petvr.clip import weights
from petvr.costs.compute import compute
from petvr.spec import RunSpec
from petvr.training import precision, run
from petvr.training.batches import Batches, BatchReader, FrameReader, TokenizedCaptions, TrainingData
from petvr.training.checkpoint import TrainState
from petvr.training.determinism import keep_freed_memory, prepare_device
from petvr.training.evaluate import timed
from petvr.training.memory import measured_peak, peak_bytes
from petvr.training.model import BatchTensors, Model, model_on
from petvr.training.optimizer import build_optimizer, parameter_groups

STEPS = 10**6  # of the schedule: what is measured is a step somewhere within
SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices that the machine's rate is taken from


@dataclass(frozen=True)
class BenchLine:
    """One method. Seconds a step with the batch on the device, pairs a second, TFLOP/s and its share of the machine's
    matrix products; peak and estimated memory in GiB; the kernels of attention that it took ("math" forms all products
    of queries and keys); pairs a second of the reader alone and of the loop with it; videos a second of an evaluation;
    and the rates of the machine: TFLOP/s, host copies in GB/s."""

    method: str
    backbone: str
    precision: str
    batch: int
    frames: int
    layers: int
    step_seconds: float
    pairs_per_second: float
    tflops_per_second: float
    share: float
    peak_gib: float
    estimate_gib: float
    attention: str
    reader_pairs_per_second: float
    reader_share_of_copy: float
    loop_pairs_per_second: float
    evaluated_videos_per_second: float
    matrix_tflops: float
    copy_gb_per_second: float


class Noise:
    """As many videos of noise as two batches take, in memory: a source of frames (petvr.training.batches)."""

    def __init__(self, videos: int, frames: int, size: int) -> None:
        self.frames, shape = frames, (videos, frames, 3, size, size)
        self.pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def rows(self, ids: list[str]) -> np.ndarray:
        return np.arange(len(ids))

    def counts(self, ids: list[str]) -> np.ndarray:
        return np.full(len(ids), self.frames)

    def buffer(self, videos: int, pinned: bool) -> Tensor:
        return torch.empty((videos, *self.pixels.shape[1:]), dtype=torch.uint8, pin_memory=pinned)

    def fill(self, rows: np.ndarray, buffer: Tensor) -> np.ndarray:
        for target, row in zip(buffer.numpy(), rows, strict=True):
            target[:] = self.pixels[row]
        return np.ones((len(rows), self.frames), bool)


class NoiseTokens:
    """Captions of noise as long as they may be: what a tokenizer gives."""

    def __init__(self, eot: int) -> None:
        self.eot, self.generator = eot, torch.Generator().manual_seed(0)

    def __call__(self, texts: list[str], words: int) -> Tensor:
        ids = torch.randint(1, min(1000, self.eot), (len(texts), words), generator=self.generator)
        ids[:, -1] = self.eot
        return ids


@dataclass
class Resident:
    """The same batch for every step, on the device already: a step without its reader."""

    batch: BatchTensors

    def at(self, step: int, device: torch.device) -> BatchTensors:
        return self.batch


def measure(spec: RunSpec, layers: int | None, device: str | None, threads: int | None, repeats: int) -> dict:
    """`spec` as it would run on a CLIP of random weights, cut to `layers`; a dictionary of BenchLine."""
    on, recipe = prepare_device(device, threads), spec.recipe
    keep_freed_memory(on)
    clip = geometry.geometry(spec.backbone)
    clip = geometry.with_layers(clip, layers) if layers else clip
    source = Noise(2 * recipe.batch, recipe.frames, clip.image)
    data, model = prepared(spec, clip, source, on)
    batch = data.at(0, on)
    groups = parameter_groups(model.trained, recipe, model.layer_norm_weights())
    state = TrainState(model, build_optimizer(groups, recipe, STEPS), step=STEPS // 2)

    turns: dict[str, list[float]] = {}
    multiply = matrix_product(on, model.mode)
    work: dict[str, Callable[[], object]] = {
        "matrix": multiply,
        "step": lambda: run.train_step(spec, state, Resident(batch), None),
        "loop": lambda: run.train_step(spec, state, data, None),
        "reader": lambda: data.frames.read(state.step % data.frames.count),
        "copy": host_copy(source, recipe.batch),
        "evaluation": lambda: evaluated(model, batch),
    }
    names = ("matrix", "step", "matrix", "loop", "reader", "copy", "evaluation")
    for number in range(repeats + 1):  # the first turn makes the moments and warms up
        for name in names:
            seconds = timed(work[name], on, 1 if name in ("step", "loop", "evaluation") else 4)
            if number:
                turns.setdefault(name, []).append(seconds)
    peak = memory(on) if on.type == "cuda" else measured_peak(state, batch, work["step"])
    product = 2 * SIDE[on.type] ** 3 / 1e12
    choices = recipe.model_choices(spec.train)
    cost = compute(clip, spec.method, spec.setting, **choices)
    second = {name: statistics.median(seconds) for name, seconds in turns.items()}
    work_tflop = cost.step * recipe.batch / 1e12
    matrix = [statistics.mean(turns["matrix"][2 * n : 2 * n + 2]) for n in range(repeats)]
    share = statistics.median(
        work_tflop / step * each / product for step, each in zip(turns["step"], matrix, strict=True)
    )
    read = [copy / reader for copy, reader in zip(turns["copy"], turns["reader"], strict=True)]
    return asdict(
        BenchLine(
            method=spec.method, backbone=spec.backbone, precision=recipe.precision, batch=recipe.batch,
            frames=recipe.frames, layers=clip.vision.layers, step_seconds=second["step"],
            pairs_per_second=recipe.batch / second["step"], tflops_per_second=work_tflop / second["step"],
            share=share, peak_gib=peak / 2**30, estimate_gib=peak_bytes(spec, clip) / 2**30,
            attention=attention_kernels(work["step"]),
            reader_pairs_per_second=recipe.batch / second["reader"], reader_share_of_copy=statistics.median(read),
            loop_pairs_per_second=recipe.batch / second["loop"],
            evaluated_videos_per_second=recipe.batch / second["evaluation"], matrix_tflops=product / second["matrix"],
            copy_gb_per_second=batch.pixels.nbytes / second["copy"] / 1e9,
        )
    )  # fmt: skip


def prepared(spec: RunSpec, clip: geometry.ClipConfig, source: Noise, on: torch.device) -> tuple[TrainingData, Model]:
    recipe, videos = spec.recipe, len(source.pixels)
    model = model_on(weights.random(clip, 0), spec, on)
    batches = Batches(
        range(videos), policy="all_pairs", order="fixed", batch=recipe.batch, drop_last=True, seed=spec.seed
    )
    captions = TokenizedCaptions([str(video) for video in range(videos)], NoiseTokens(clip.eot), recipe.words)
    reader = FrameReader(source, [str(video) for video in range(videos)], on)
    frames = BatchReader(reader, lambda step: batches.at(step).videos, STEPS, recipe.batch)
    crop = recipe.augment == "crop_flip"
    return TrainingData(batches, captions, frames, spec.seed, not crop, crop, model.adapted.normalise), model


def matrix_product(on: torch.device, mode: str) -> Callable[[], object]:
    kind = precision.AUTOCAST.get(mode, torch.float16 if mode in precision.HALF else torch.float32)
    a, b = (torch.randn(SIDE[on.type], SIDE[on.type], device=on).to(kind) for _ in range(2))
    return lambda: a @ b


def host_copy(source: Noise, videos: int) -> Callable[[], object]:
    kept = np.empty_like(source.pixels[:videos])
    return lambda: np.copyto(kept, source.pixels[videos:])


@torch.inference_mode()
def evaluated(model: Model, batch: BatchTensors) -> None:
    """Both sides of a batch and its scores."""
    model.set_training(False)
    texts = model.encode_texts(batch.ids)
    model.scores(texts, model.encode_videos(batch.pixels, batch.mask, texts["text"]))


def attention_kernels(work: Callable[[], object]) -> str:
    """Names of the kernels that torch's attention has chosen within `work`: flash, efficient, cudnn, math, or none."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work()
    events = profile.profiler.kineto_results.events()  # key_averages() takes twenty times what the work does
    called = {event.name().removeprefix("aten::_scaled_dot_product_") for event in events}
    kinds = {name.partition("_")[0] for name in called if "attention" in name and not name.startswith("aten::")}
    kinds |= {"math" for name in called if name.startswith("attention_math")}
    return " ".join(sorted(kinds - {"attention"})) or "none"


def forget_host_peak() -> None:
    """So that `host_peak` tells of what follows; where Linux does not allow it, of all that was before as well."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")


def host_peak() -> int:
    """Peak bytes that this process held in memory since `forget_host_peak`."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
        return int(status.split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory(on: torch.device) -> int:
    """Peak bytes so far: allocated on a GPU, resident on a CPU."""
    if on.type == "cuda":
        return torch.cuda.max_memory_allocated(on)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
