"""Floating point operations and activations of one training step, counted on the meta device: no weights, no memory.

Counted are matrix products, convolutions and attention (torch's FlopCounterMode), a multiply-add as 2; element-wise
work is not. A step is the forward pass of one (video, caption) with all F frames and W words and, where something
trains, its backward pass; scores are formed in a batch of two unless more are asked for.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from petvr import methods
from petvr import similarity as similarities
from petvr.atomic import at_least, kept_count
from petvr.clip import weights
from petvr.clip.config import ClipConfig
from petvr.clip.towers import Clip
from petvr.clip.weights import SkipMetaInit
from petvr.methods._adapted import Adapted
from petvr.similarity._head import Features, Similarity
from petvr.spec import method_id

BATCH = 2


@dataclass(frozen=True)
class Compute:
    """Per (video, caption). saved: bytes of fp32 activations kept for the backward pass, with fused attention;
    bf16 autocast keeps between half of it and all of it. 0 where nothing trains. trainable: numbers."""

    trainable: int
    forward: float
    step: float
    saved: float


def compute(
    config: ClipConfig,
    method: str,
    setting: Mapping[str, Any] | None = None,
    *,
    memory: bool = True,
    backward: bool = True,
    batch: int = BATCH,
    **choices: Any,
) -> Compute:
    """What a step of these choices costs; `choices` as `build_model` takes them. PetvrError for unknown names.

    memory: False leaves `saved` at 0, in half the time. backward: False takes the forward pass for the step. batch: B,
    where scores among B x B pairs are to count.
    """
    frames, words = choices.get("frames", 12), choices.get("words", 32)
    with SkipMetaInit():
        adapted, head = build_model(weights.on_meta(config), method, setting, **choices)
    pixels, ids = inputs(config, frames, words, batch, device="meta")
    mapping = {torch.ops.aten.convolution_backward: convolution_backward}
    with uncast(), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        with Products(), torch.set_grad_enabled(backward):
            score = scores(adapted, head, pixels, ids).sum()
        forward = counter.get_total_flops()
        if score.requires_grad:
            score.backward()
        step = counter.get_total_flops()
    with uncast():
        kept = saved_bytes(adapted, head, pixels, ids) if memory else 0
    parts = [part for module in (adapted, head) for part in module.parameters()]
    trained = sum(part.numel() for part in parts if part.requires_grad)
    return Compute(trained, forward / batch, step / batch, kept / batch)


def counted_flops(
    kept: Path | None,
    versions: Mapping[str, int],
    config: ClipConfig,
    method: str,
    setting: Mapping[str, Any],
    **choices: Any,
) -> tuple[float, float]:
    """`forward` and `step` of `compute`, counted once for all runs of these choices and versions of the code.

    kept: a folder.
    """
    key = [dict(versions), asdict(config), method, dict(setting), choices]

    def count() -> dict[str, Any]:
        cost = compute(config, method, setting, memory=False, **choices)
        return {"method": method_id(method, dict(setting)), "forward": cost.forward, "step": cost.step}

    forward, step = kept_count(kept, key, {"forward": at_least(1.0), "step": at_least(1.0)}, count)
    return forward, step


def build_model(
    clip: Clip,
    method: str,
    setting: Mapping[str, Any] | None = None,
    similarity: str = "mean_pool",
    similarity_setting: Mapping[str, Any] | None = None,
    frames: int = 12,
    words: int = 32,
    train: bool = True,
    train_logit_scale: bool | None = None,
) -> tuple[Adapted, Similarity]:
    """CLIP under the method, and the similarity; in training, or with nothing trained."""
    generator = torch.Generator().manual_seed(0)
    clip.crop_texts = False  # the texts of the count are as long as they may be
    adapted = methods.adapt(
        clip,
        method,
        setting or {},
        frames=frames,
        words=words,
        generator=generator,
        train_logit_scale=train_logit_scale,
    )
    with clip.logit_scale.device:
        head = similarities.build_similarity(
            similarity, similarity_setting or {}, clip.embed_dim, generator, clip=clip, frames=frames, words=words
        )
    if not train:
        for part in (adapted, head):
            part.eval().requires_grad_(False)
    return adapted, head


def convolution_backward(grad: Any, x: Any, weight: Any, *args: Any, **kwargs: Any) -> int:
    """From shapes: as many operations as forward for each of x and weight that has a gradient.

    torch's own formula forgets that groups (depthwise convolutions) read few channels.
    """
    wanted = args[-1]  # of x, of the weight, of the bias
    forward = 2 * math.prod(grad) // grad[1] * math.prod(weight)
    return forward * sum(wanted[:2])


@contextlib.contextmanager
def uncast() -> Iterator[None]:
    """torch.autocast knows no meta device: while it counts, nothing is cast."""
    replaced, names = torch.autocast, vars(torch)
    names["autocast"] = lambda *args, **kwargs: contextlib.nullcontext()
    try:
        yield
    finally:
        names["autocast"] = replaced


def inputs(
    config: ClipConfig, frames: int, words: int, batch: int = BATCH, device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Pixels [B, F, 3, H, W] and ids [B, W]."""
    pixels = torch.zeros(batch, frames, 3, config.image, config.image, device=device)
    return pixels, torch.full((batch, words), config.eot, dtype=torch.int64, device=device)


def scores(adapted: Adapted, head: Similarity, pixels: Tensor, ids: Tensor) -> Tensor:
    """Both towers and the similarity: [B, B] times the logit scale."""
    return head.score(*sides(adapted, head, pixels, ids)) * adapted.logit_scale.exp()


def sides(adapted: Adapted, head: Similarity, pixels: Tensor, ids: Tensor) -> tuple[Features, Features]:
    """Both towers and the similarity's text side and video side, B rows each."""
    if "words" in head.NEEDS:
        texts = dict(zip(("text", "words", "word_mask"), adapted.encode_all_words(ids), strict=True))
    else:
        texts = {"text": adapted.encode_texts(ids)}
    sentences = texts["text"].detach() if adapted.needs_texts else None
    if "patches" in head.NEEDS:
        videos = dict(zip(("frames", "patches"), adapted.encode_patches(pixels, None, sentences), strict=True))
    else:
        videos = {"frames": adapted.encode_frames(pixels, None, sentences)}
    return head.texts(texts), head.videos(videos)


def saved_bytes(adapted: Adapted, head: Similarity, pixels: Tensor, ids: Tensor) -> int:
    """Bytes of distinct storages kept for the backward pass, without parameters and inputs."""
    own = [*adapted.parameters(), *head.parameters(), pixels, ids]
    known = {tensor.untyped_storage()._cdata for tensor in own}
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps their identities apart

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), Fused():
        out = scores(adapted, head, pixels, ids)
    del out
    return sum(storage.nbytes() for storage in kept.values())


class Products(TorchFunctionMode):
    """Attention as the two products it is, for the counter; kernels that form one of them twice do not cost more."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function is functional.scaled_dot_product_attention:
            q, k, v = args[:3]
            return (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        return function(*args, **(kwargs or {}))


class Fused(TorchFunctionMode):
    """Attention as fused kernels have it: q, k, v, the output and one number per query are kept, no S x S matrix."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function is functional.scaled_dot_product_attention:
            attend = torch.ops.aten._scaled_dot_product_efficient_attention
            return attend(*args[:3], None, True, 0.0, kwargs.get("is_causal", False))[0]
        return function(*args, **kwargs)
