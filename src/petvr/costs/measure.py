"""Time and peak memory of training steps on this machine, on random weights and frames of noise.

Every method is measured in a process of its own, so that one's peak is not another's. A step is what a run does: both
towers, all B x B scores, the symmetric loss, its gradients, and AdamW on what trains.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

from petvr.clip.config import ClipConfig
from petvr.errors import PetvrError, first_line

if TYPE_CHECKING:
    from torch import Tensor

    from petvr.methods._adapted import Adapted
    from petvr.similarity._head import Similarity

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """seconds: median of the steps after the first; peak: bytes, allocated on a GPU, resident on a CPU."""

    seconds: float
    peak: int


def measure(
    config: ClipConfig,
    method: str,
    setting: Mapping[str, Any] | None = None,
    *,
    batch: int,
    steps: int = 3,
    device: str = "cpu",
    bf16: bool = False,
    threads: int | None = None,
    **choices: Any,
) -> Measured:
    """`choices` as petvr.costs.compute.build_model takes them. PetvrError where a step does not fit or cannot run."""
    job = (config, method, dict(setting or {}), batch, steps, device, bf16, threads, choices)
    return in_own_process(method, _measure, *job)


def in_own_process(what: str, work: Callable[..., T], *job: Any) -> T:
    """`work(*job)` where nothing else has run, so that one's peak is not another's. PetvrError, naming `what`, where
    it does not come back.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(work, *job).result()
        except PetvrError:
            raise
        except Exception as error:  # out of memory, a killed process, an unusable device
            raise PetvrError(f"{what}: not measured: {first_line(error)}") from error


def _measure(
    config: ClipConfig,
    method: str,
    setting: dict[str, Any],
    batch: int,
    steps: int,
    device: str,
    bf16: bool,
    threads: int | None,
    choices: dict[str, Any],
) -> Measured:
    import torch

    from petvr.clip import weights
    from petvr.costs import compute

    if threads:
        torch.set_num_threads(threads)
    adapted, head = compute.build_model(weights.random(config, 0), method, setting, **choices)
    sizes = (choices.get("frames", 12), choices.get("words", 32), batch, device)
    pixels, ids = compute.inputs(config, *sizes)
    step = Step(adapted.to(device), head.to(device), pixels, ids, bf16)
    times = []
    for _ in range(1 + steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(sorted(times[1:])[steps // 2], peak if device == "cpu" else torch.cuda.max_memory_allocated())


class Step:
    """One training step of a model on the same frames of noise [B, F, 3, H, W] and texts [B, W] in every call.

    Returns when the device has finished. Where nothing trains it is the forward pass alone.
    """

    def __init__(self, adapted: Adapted, head: Similarity, pixels: Tensor, ids: Tensor, bf16: bool = False):
        import torch

        self.adapted, self.head, self.pixels, self.ids, self.bf16 = adapted, head, pixels.normal_(), ids, bf16
        trained = [part for module in (adapted, head) for part in module.parameters() if part.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-6) if trained else None
        self.target = torch.arange(len(pixels), device=pixels.device)

    def __call__(self) -> None:
        import torch
        from torch.nn import functional

        from petvr.costs import compute

        device = self.pixels.device
        with torch.set_grad_enabled(self.optimizer is not None):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16):
                scores = compute.scores(self.adapted, self.head, self.pixels, self.ids).float()
            loss = functional.cross_entropy(scores, self.target) + functional.cross_entropy(scores.T, self.target)
        if self.optimizer is not None:
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
