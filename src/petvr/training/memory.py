"""The most memory that a training step of a run holds at once, counted without any: the step itself on the meta device.

Every tensor that a step makes is followed from the operation that gives it to its end: parameters, both moments, the
batch, activations, gradients, casts and what operations hand to one another. Attention is torch's fused kernel. What a
kernel takes for itself and gives back, and what the process or the GPU's driver holds beside, is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from petvr.clip import weights
from petvr.clip.config import ClipConfig
from petvr.clip.weights import SkipMetaInit
from petvr.costs.compute import uncast
from petvr.spec import RunSpec
from petvr.training import run
from petvr.training.checkpoint import TrainState
from petvr.training.model import BatchTensors, Model, model_on
from petvr.training.optimizer import build_optimizer, parameter_groups

META = torch.device("meta")


def peak_bytes(
    spec: RunSpec, clip: ClipConfig, *, micro_batch: int | None = None, activation_checkpointing: bool = False
) -> int:
    """Of a step of `spec` in fp32 whose batch is full: all frames real, all texts as long as they may be.

    Where nothing trains, of a batch's evaluation. Under bf16 autocast a step takes between half of it and all of it.
    """
    batch = spec.recipe.batch
    if micro_batch is None or batch <= 4 * micro_batch or not spec.train:
        return _peak(spec, clip, batch, micro_batch, activation_checkpointing)
    # what lives through all micro-batches grows with B and B x B: three small batches tell how
    two, three, four = (_peak(spec, clip, n * micro_batch, micro_batch, activation_checkpointing) for n in (2, 3, 4))
    more = batch / micro_batch - 2
    return round(two + more * (three - two) + more * (more - 1) / 2 * (four - 2 * three + two))


def _peak(spec: RunSpec, clip: ClipConfig, batch: int, micro_batch: int | None, activation_checkpointing: bool) -> int:
    recipe = spec.recipe.model_copy(update={"precision": "fp32", "batch": batch})
    spec = spec.model_copy(update={"recipe": recipe})
    with torch.random.fork_rng(devices=[]), LiveBytes() as live, uncast(), FusedAttention():
        with META, SkipMetaInit():
            model = model_on(weights.on_meta(clip), spec, META)
        for tower in (model.adapted.clip.vision_model, model.adapted.clip.text_model):
            tower.encoder.recompute = activation_checkpointing
        for tensor in held_by(model):
            live.follow(tensor)  # CLIP's were made before
        data = full_batch(spec, clip)
        if spec.train and model.trained:
            groups = parameter_groups(model.trained, recipe, model.layer_norm_weights())
            state = TrainState(model, build_optimizer(groups, recipe, 2), step=1)
            live.start()
            run.train_step(spec, state, SimpleNamespace(at=lambda step, device: data), micro_batch)
        else:
            model.set_training(False)
            model.similarity.PADDED = ()  # laid out by the host, which reads numbers for it
            live.start()
            with torch.inference_mode():
                texts = model.encode_texts(data.ids)
                model.scores(texts, model.encode_videos(data.pixels, data.mask, texts["text"]))
    return live.peak


def held_by(model: Model) -> list[Tensor]:
    return [part for module in (model.adapted, model.similarity) for part in (*module.parameters(), *module.buffers())]


def measured_peak(state: TrainState, batch: BatchTensors, step: Callable[[], object]) -> int:
    """Bytes on the CPU: what lies there before the step, and the most that torch's allocator gives out during it."""
    moments = [*state.optimizer.m.values(), *state.optimizer.v.values()] if state.optimizer else []
    storages = [part.untyped_storage() for part in (*held_by(state.model), *moments, batch.ids, batch.pixels)]
    held = sum({storage._cdata: storage.nbytes() for storage in storages}.values())
    if state.optimizer:
        state.optimizer.zero_grad()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    now, peak = 0, 0
    for _, size in sorted(_allocations(profile.profiler.kineto_results.experimental_event_tree())):
        now += size
        peak = max(peak, now)
    return held + peak


def _allocations(events: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """(time, bytes given out or, below 0, given back) of all events below these."""
    for event in events:
        if event.tag == torch._C._profiler._EventType.Allocation:
            yield event.start_time_ns, event.typed[1].alloc_size
        yield from _allocations(event.children)


def full_batch(spec: RunSpec, clip: ClipConfig) -> BatchTensors:
    recipe = spec.recipe
    cropped = recipe.augment == "crop_flip"  # and normalised before the step
    shape = (recipe.batch, recipe.frames, 3, clip.image, clip.image)
    pixels = torch.empty(shape, dtype=torch.float32 if cropped else torch.uint8, device=META)
    ids = torch.empty((recipe.batch, recipe.words), dtype=torch.int64, device=META)
    return BatchTensors(ids, pixels, torch.ones(recipe.batch, recipe.frames, dtype=torch.bool), None)


class LiveBytes(TorchDispatchMode):
    """Within it: `now`, the bytes of all storages on the meta device that are alive, and `peak`, the most since
    `start`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.alive: dict[int, weakref.ref] = {}

    def start(self) -> None:
        self.peak = self.now

    def follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if tensor.device != META or key in self.alive:
            return

        def gone(_: weakref.ref) -> None:
            self.now -= size
            del self.alive[key]

        self.alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor):
                self.follow(tensor)
        return out


class FusedAttention(TorchFunctionMode):
    """Attention as a fused kernel, which meta itself does not choose: no matrix of queries and keys."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function is functional.scaled_dot_product_attention:
            mask = kwargs.get("attn_mask")
            causal = kwargs.get("is_causal", False)
            if mask is not None:
                mask = torch.where(mask, 0.0, -torch.inf).to(args[0].dtype)
            attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            return attend(*args[:3], 0.0, causal, attn_mask=mask)[0]
        return function(*args, **kwargs)
