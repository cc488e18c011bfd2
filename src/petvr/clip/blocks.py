"""One block of CLIP's towers with its named places, and the encoder that runs them one behind the other.

Legend: B videos or texts, F frames, P patches, W words, D width; a row is one frame or one text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from petvr.clip.config import Tower
from petvr.clip.insert import ForwardState


class QuickGelu(torch.autograd.Function):
    """x sigmoid(1.702 x); for its gradient, silu'(1.702 x), only x is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # with a setup_context torch would read its signature in every call
        ctx.save_for_backward(x)
        return torch.mul(x, 1.702).sigmoid_().mul_(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return torch.ops.aten.silu_backward(grad, 1.702 * ctx.saved_tensors[0])


def quick_gelu(x: Tensor) -> Tensor:
    return QuickGelu.apply(x)


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": functional.gelu}


class AsOne(torch.autograd.Function):
    """Tensors that lie behind one another in memory as one, without a copy; its gradient comes apart again."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.count, first = len(parts), parts[0].detach()
        return first.as_strided((len(parts) * len(first), *first.shape[1:]), first.stride())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return grad.chunk(ctx.count)


def whole(*parts: Tensor) -> Tensor | None:
    """The parts as one tensor; None where they do not lie behind one another."""
    start, size = parts[0].data_ptr(), parts[0].nbytes
    if not start or any(part.data_ptr() != start + number * size for number, part in enumerate(parts)):
        return None
    return AsOne.apply(*parts)


class Attention(nn.Module):
    def __init__(self, config: Tower):
        super().__init__()
        self.heads = config.heads
        self.q_proj = nn.Linear(config.width, config.width)
        self.k_proj = nn.Linear(config.width, config.width)
        self.v_proj = nn.Linear(config.width, config.width)
        self.out_proj = nn.Linear(config.width, config.width)

    def pack(self) -> None:
        """Lay q's, k's and v's weights behind one another: from here on they are one product. Ends with `to`."""
        for name in ("weight", "bias"):
            parts = [getattr(layer, name) for layer in (self.q_proj, self.k_proj, self.v_proj)]
            for part, rows in zip(parts, torch.cat([part.detach() for part in parts]).chunk(3), strict=True):
                part.data = rows

    def packed(self) -> tuple[Tensor, Tensor] | None:
        """Weight and bias of all three as one; None where they lie apart."""
        q, k, v = self.q_proj, self.k_proj, self.v_proj
        weight, bias = whole(q.weight, k.weight, v.weight), whole(q.bias, k.bias, v.bias)
        return None if weight is None or bias is None else (weight, bias)

    def project(self, h: Tensor, packed: tuple[Tensor, Tensor] | None) -> tuple[Tensor, ...]:
        if packed is None:
            return self.q_proj(h), self.k_proj(h), self.v_proj(h)
        return functional.linear(h, *packed).chunk(3, dim=-1)

    def attend(self, qkv: tuple[Tensor, ...], key_mask: Tensor | None, causal: bool) -> Tensor:
        """What all heads have read, side by side."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in qkv)
        hidden = None if key_mask is None else key_mask[:, None, None, :]
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=hidden, is_causal=causal)
        return out.transpose(1, 2).flatten(2)

    def forward(self, h: Tensor, state: ForwardState, layer: int, stream: Tensor) -> Tensor:
        qkv = state.at("qkv", self.project(h, self.packed()), layer, input=h, residual=stream)
        mixed = self.attend(qkv, state.key_mask, state.tower == "text")
        return self.out_proj(state.at("attn_mixed", mixed, layer, input=h, residual=stream))


class Mlp(nn.Module):
    def __init__(self, config: Tower):
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp)
        self.fc2 = nn.Linear(config.mlp, config.width)


class Block(nn.Module):
    """x = x + attention(LN1 x); x = x + MLP(LN2 x), with every place a method may act at."""

    def __init__(self, config: Tower):
        super().__init__()
        self.act = ACTIVATIONS[config.act]
        self.self_attn = Attention(config)
        self.layer_norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.mlp = Mlp(config)
        self.layer_norm2 = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, x: Tensor, state: ForwardState, i: int) -> Tensor:
        x = state.at("block_in", x, i)
        h = state.at("attn_in", self.layer_norm1(x), i, residual=x)
        out = self.self_attn(h, state, i, x)
        x = x + state.at("attn_out", out, i, input=h, residual=x)
        x = state.at("mid", x, i)
        h = state.at("mlp_in", self.layer_norm2(x), i, residual=x)
        hidden = state.activated(self.act, self.mlp.fc1(h), i, input=h, residual=x)
        x = x + state.at("mlp_out", self.mlp.fc2(hidden), i, input=h, residual=x)
        return state.at("block_out", x, i)


class Encoder(nn.Module):
    """recompute: a block keeps only what it reads for its backward pass, and is computed again there. compiled: what
    calls a block in training instead of itself (petvr.clip.compiled)."""

    def __init__(self, config: Tower):
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.recompute = False
        self.compiled: Callable[..., Tensor] | None = None

    def forward(self, x: Tensor, state: ForwardState, start: int = 0, stop: int | None = None) -> Tensor:
        """Blocks start..stop-1, so that a frozen beginning can be computed apart."""
        call = self.compiled if self.compiled is not None and self.training else Block.__call__
        for i in range(start, len(self.layers) if stop is None else stop):
            block = partial(call, self.layers[i])
            x = recomputed(block, x, state, i) if self.recompute else block(x, state, i)
        return x


def recomputed(block: Callable[..., Tensor], x: Tensor, state: ForwardState, layer: int) -> Tensor:
    """The block under activation checkpointing. The second time it finds the state and the modes of the first."""
    entry, modes, states = state.copy(), _get_current_function_mode_stack(), [state]

    def forward(x: Tensor) -> Tensor:
        return block(x, states.pop() if states else entry.copy(), layer)

    @contextlib.contextmanager
    def again() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for mode in modes:
                stack.enter_context(mode)
            yield

    return checkpoint(forward, x, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), again()))
