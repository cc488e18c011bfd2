"""Named arithmetic of a run: what is stored and computed in which type.

fp32             everything
tf32             as fp32, but a GPU from Ampere on rounds what it multiplies to ten bits of mantissa: torch's default
                 from 1.7 to 1.11, similarity and ranks included. On a CPU, and on older GPUs, it is fp32
bf16             autocast over the towers; what trains, its gradients and moments fp32; frozen matrices are kept in bf16
clip4clip_fp16   CLIP4Clip's code: CLIP's Linear and Conv weights are fp16, and so are their gradients and both moments;
                 no fp32 copy, no loss scaling. LayerNorms, embeddings, CLS, positions and the logit scale stay fp32
                 (LayerNorm computes in fp32, the stream between the layers is fp16). What a method inserts stays fp32
                 and is computed in fp32: CLIP4Clip has nothing there, RAP does not say (guess)
cma_fp16         the same with the inserted parameters in fp16 too: Cross-Modal Adapter's adapter_convert2fp16
mv_adapter_fp16  MV-Adapter's code: the same weights in fp16, the inserted Linear and Conv layers as well, all under
                 fp16 autocast, without loss scaling; inserted parameters of other kinds stay fp32

But for tf32, similarity, loss and ranks are always fp32. In the fp16 modes an increment (1 - beta2) g^2 below 3e-8 is
lost, so that |g| < 1.2e-3 leaves the second moment at zero and the step is m / eps: "lr 1e-7" is then another rate.
Attention's softmax is rounded by torch's kernel, not after every one of upstream's operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from petvr.errors import unknown

MODES = ("fp32", "tf32", "bf16", "clip4clip_fp16", "mv_adapter_fp16", "cma_fp16")
HALF = tuple(mode for mode in MODES if mode.endswith("_fp16"))
AUTOCAST = {"bf16": torch.bfloat16, "mv_adapter_fp16": torch.float16}  # around the towers
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def check_precision(mode: str) -> None:
    if mode not in MODES:
        raise unknown("precision", mode, MODES, "recipe.precision")


def prepare(adapted: nn.Module, mode: str) -> None:
    """Give CLIP and what methods inserted the types of `mode`, once, before an optimiser is made."""
    check_precision(mode)
    clip, new = adapted.clip, adapted.new
    if mode == "bf16":  # autocast would cast them in every pass; the outer projections are read without it too
        inside = [clip.vision_model.embeddings.patch_embedding, clip.vision_model.encoder, clip.text_model.encoder]
        for parameter in (p for part in inside for layer in part.modules() if isinstance(layer, LAYERS)
                          for p in layer.parameters() if not p.requires_grad):  # fmt: skip
            parameter.data = parameter.data.bfloat16()
    if mode not in HALF:
        return
    halve(parameter for layer in clip.modules() if isinstance(layer, LAYERS) for parameter in layer.parameters())
    norms = list(layer_norms(clip))
    if mode == "clip4clip_fp16":
        adapted.inserts.wrap(in_fp32)
    else:
        norms += layer_norms(new)
        kept = {id(parameter) for norm in norms for parameter in norm.parameters()}
        owners = new.modules() if mode == "cma_fp16" else [part for part in new.modules() if isinstance(part, LAYERS)]
        halve(part for owner in owners for part in owner.parameters(recurse=False) if id(part) not in kept)
    for norm in norms:  # as OpenAI's LayerNorm: fp32 inside, the stream's type outside
        norm.register_forward_pre_hook(lambda module, given: (given[0].float(),))
        norm.register_forward_hook(lambda module, given, out: out.half())
    embeddings = clip.vision_model.embeddings.patch_embedding, clip.text_model.embeddings.token_embedding
    embeddings[0].register_forward_pre_hook(lambda module, given: (given[0].half(),))
    embeddings[1].register_forward_hook(lambda module, given, out: out.half())


def layer_norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.LayerNorm)]


def halve(parameters: Any) -> None:
    for parameter in parameters:
        parameter.data = parameter.data.half()


def in_fp32(act: Callable) -> Callable:
    """An inserted function that reads and computes fp32, and gives back what the tower goes on with."""

    def island(x: Any, context: Any) -> Any:
        given = {"input": single(context.input), "residual": single(context.residual), "activation": None}
        out = act(single(x), replace(context, **given))
        return like(out, x)

    return island


def single(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(single, x))
    return x.float() if isinstance(x, Tensor) and x.is_floating_point() else x


def like(out: Any, x: Any) -> Any:
    if isinstance(out, tuple):
        return tuple(map(like, out, x))
    return out.to(x.dtype)
