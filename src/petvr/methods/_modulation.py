"""Scale and shift behind a tower's operations: where SSF puts them, and where RAP's LoRM makes them depend on time.

An operation is a LayerNorm, the patch convolution or a Linear of a block [Lian et al. 2022]: per block LN1, q/k/v,
the attention's output, LN2 and both layers of the MLP (widths 1, 3, 1, 1, 4 and 1 times D); outside the blocks the
patch embedding, the vision tower's first LayerNorm and both last LayerNorms, not the projections into the shared
space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from petvr.clip.config import ClipConfig
from petvr.clip.towers import quick_gelu
from petvr.methods._declare import Hook, HookContext, Insert

PART = 1 << 18  # numbers that are worked on at once on a CPU: a megabyte
STD = 0.02  # SSF's code: scale N(1, 0.02), shift N(0, 0.02)


@dataclass(frozen=True)
class Site:
    """One operation: a place of petvr.clip.insert, the width of what stands there, and how many tokens it sees.

    tokens: "all", "patches" (before CLS joins them) or "one" (CLS or EOT alone).
    """

    place: str
    layer: int | None
    width: int
    tokens: str = "all"

    @property
    def name(self) -> str:
        return self.place if self.layer is None else f"{self.layer}_{self.place}"

    def insert(self, tower: str, act: Hook) -> Insert:
        """`act` at the site; a place outside the blocks takes no layer."""
        return Insert(tower, self.place, act, None if self.layer is None else [self.layer])


def sites_of(config: ClipConfig, tower: str, last: int = 0) -> list[Site]:
    """All operations of a tower in their order; with `last` = n only those of the last n blocks and behind them."""
    part = config.towers[tower]
    width, sites = part.width, []
    if tower == "vision" and not last:
        # what block 0 reads is what the first LayerNorm gives
        sites += [Site("embedded", None, width, "patches"), Site("block_in", 0, width)]
    for layer in range(part.layers - last if last else 0, part.layers):
        widths = {"attn_in": 1, "qkv": 3, "attn_out": 1, "mlp_in": 1}
        sites += [Site(place, layer, times * width) for place, times in widths.items()]
        sites += [Site("mlp_hidden", layer, part.mlp), Site("mlp_out", layer, width)]
    return [*sites, Site("pooled", None, width, "one")]


class Modulated(torch.autograd.Function):
    """scale * x + shift or its quick_gelu, all of one type, scale and shift of one shape. Only x is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, activated: bool) -> Tensor:
        ctx.save_for_backward(x, scale, shift)
        ctx.activated = activated
        if not activated:
            return torch.addcmul(shift, x, scale)
        out = x.new_empty(x.shape)
        for a, b, part, of_out in in_cache((scale, shift), (x, out)):
            hidden = torch.addcmul(b, part, a)
            torch.mul(hidden, 1.702, out=of_out).sigmoid_().mul_(hidden)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, scale, shift = ctx.saved_tensors
        of_x, of_scale, of_shift = x.new_empty(x.shape), torch.zeros_like(scale), torch.zeros_like(shift)
        vectors, tensors = (scale, shift, of_scale, of_shift), (x, grad, of_x)
        whole = scale.numel() == x.shape[-1] and x.is_contiguous() and grad.is_contiguous() and not ctx.activated
        parts = [(*vectors, *tensors)] if whole else in_cache(vectors, tensors)  # two passes gain nothing from parts
        for a, b, of_a, of_b, part, of_out, of_part in parts:
            room = of_part
            if ctx.activated:
                room = torch.addcmul(b, part, a)
                of_out = torch.ops.aten.silu_backward.grad_input(of_out, room.mul_(1.702), grad_input=of_part)
            add_sums(part, of_out, of_a, of_b, room)
            if ctx.needs_input_grad[0]:
                torch.mul(of_out, a, out=of_part)
        return of_x if ctx.needs_input_grad[0] else None, of_scale, of_shift, None


def add_sums(x: Tensor, grad: Tensor, of_scale: Tensor, of_shift: Tensor, room: Tensor) -> None:
    """Add to the gradients of a scale and a shift what x and the result's gradient give; `room` is written to.

    Where one scale serves all rows they are those of LayerNorm's weight and bias for rows of mean 0 and deviation 1:
    one pass over memory, and no tensor of products.
    """
    width = x.shape[-1:]
    if of_scale.numel() == width[0] and x.dtype != torch.float16:  # whose moments would be fp32
        means, deviations = x.new_zeros(*x.shape[:-1], 1), x.new_ones(*x.shape[:-1], 1)
        given = (grad, x, width, means, deviations, of_scale.view(width), of_shift.view(width), [False, True, True])
        _, scaled, shifted = torch.ops.aten.native_layer_norm_backward(*given)
        of_scale += scaled
        of_shift += shifted
        return
    of_scale += summed(torch.mul(grad, x, out=room), of_scale.shape)
    of_shift += summed(grad, of_shift.shape)


def summed(x: Tensor, shape: torch.Size) -> Tensor:
    """x summed to a shape it was broadcast from. [B, F, S, D] to [F, 1, D]: dimensions that lie apart one after the
    other, which on a CPU takes an eighth of the time of both at once."""
    if x.dim() == 4 and tuple(shape[:-1]) == (x.shape[1], 1):
        return x.sum(dim=2, keepdim=True).sum(dim=0)
    return x.sum_to_size(shape)


def in_cache(vectors: tuple[Tensor, ...], tensors: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    """On a CPU the tensors in parts of some frames or texts, each with its vectors, so that operations on one part
    find it in the processor's cache; elsewhere, and where all is small, at once."""
    if tensors[0].device.type != "cpu" or tensors[0].dim() < 3 or tensors[0].numel() <= PART:
        yield *vectors, *tensors
        return
    rows = [tensor.flatten(0, -3) for tensor in tensors]
    period = max((len(vector) for vector in vectors if vector.dim() == 3), default=1)  # frames with scales of their own
    size = rows[0][0].numel()
    if period * size <= PART:
        whole = [row.unflatten(0, (-1, period)) for row in rows]
        for parts in zip(*(one.split(PART // (period * size)) for one in whole), strict=True):
            yield *vectors, *parts
        return
    step = max(1, PART // size)
    cut = [vector.dim() == 3 and len(vector) == period for vector in vectors]
    for first in range(0, len(rows[0]), period):
        for start in range(0, period, step):
            stop = min(start + step, period)
            some = (vector[start:stop] if own else vector for vector, own in zip(vectors, cut, strict=True))
            yield *some, *(row[first + start : first + stop] for row in rows)


def modulate(x: Tensor | tuple, scale: Tensor, shift: Tensor, context: HookContext) -> Tensor | tuple:
    """scale * x + shift in the type of x; for q, k, v (three tensors) scale and shift are three times as wide.

    bf16 has no number between 1 and 1.0078: where x has fewer bits than the scale, the product is formed with the
    scale's.
    """
    if isinstance(x, tuple):
        parts = zip(x, scale.chunk(3, dim=-1), shift.chunk(3, dim=-1), strict=True)
        return tuple(modulate(*part, context) for part in parts)
    if x.dtype == scale.dtype:
        activated = context.activation is quick_gelu
        if activated:
            context.activation = None
        return Modulated.apply(x, scale, shift, activated)
    return (x * scale + shift).to(x.dtype)


class Vectors(nn.Module):
    """One scale and one shift per site, [width] each: SSF."""

    def __init__(self, sites: list[Site], generator: torch.Generator):
        super().__init__()
        self.scale, self.shift = nn.ParameterDict(), nn.ParameterDict()
        for site in sites:
            self.scale[site.name] = nn.Parameter(torch.empty(site.width).normal_(1, STD, generator=generator))
            self.shift[site.name] = nn.Parameter(torch.empty(site.width).normal_(0, STD, generator=generator))

    def at(self, site: Site) -> Hook:
        """The function that acts at `site`."""
        return lambda x, context: modulate(x, self.scale[site.name], self.shift[site.name], context)
