"""The blocks of the towers through torch.compile: `compile: true` of the configuration, in training alone.

A block is cut behind every place where a method acts; what stands between two cuts is compiled as one piece, the
method's own functions run as they are. A piece knows neither the block's number nor the method: one graph serves all
blocks of a tower that are cut alike, and no graph breaks, whatever the method.

A graph holds for one shape: which kernels a step takes hangs on its shapes alone, not on what came before it, so that a
resumed run takes those of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from petvr.clip.insert import PER_BLOCK, ForwardState
from petvr.clip.towers import Block, Clip
from petvr.errors import PetvrError, first_line

BACKEND = "inductor"
GRAPHS = 256  # at most: more is an error, never a block that silently runs as it is
LAYER_NORMS = ("attn_in", "mlp_in")  # what these places give has the stream beside it, what follows them its input too
STREAM = ("mid", "block_out")


def piece(
    block: Block, places: tuple[str, ...], x: Any, h: Any, v: Any, packed: Any, hidden: Any, causal: bool
) -> tuple[Any, Any, Any]:
    """The operations that give what stands at `places`, one behind the other (petvr.clip.towers.Block).

    x: the stream beside a sub-layer, h: what that reads, v: what stood at the place before the first.
    """
    for place in places:
        if place == "attn_in":
            x, v = v, block.layer_norm1(v)
        elif place == "qkv":
            h, v = v, block.self_attn.project(v, packed)
        elif place == "attn_mixed":
            v = block.self_attn.attend(v, hidden, causal)
        elif place == "attn_out":
            v = block.self_attn.out_proj(v)
        elif place == "mlp_in":
            x, v = v, block.layer_norm2(v)
        elif place == "mlp_hidden":
            h, v = v, block.mlp.fc1(v)
        elif place == "mlp_out":
            v = block.mlp.fc2(block.act(v) if "mlp_hidden" in places else v)  # else the cut has seen to it
        else:
            v = x + v
    return x, h, v


class CompiledBlocks:
    """Calls a block as itself is called."""

    def __init__(self, backend: str) -> None:
        self.piece = torch.compile(piece, fullgraph=True, dynamic=False, backend=backend, recompile_limit=GRAPHS)

    def __call__(self, block: Block, x: Tensor, state: ForwardState, layer: int) -> Tensor:
        v: Any = state.at("block_in", x, layer)
        x, h = v, v
        for places in cut(state, layer):
            packed = block.self_attn.packed() if "qkv" in places else None
            hidden = state.key_mask if "attn_mixed" in places else None
            with torch._C.DisableTorchFunction():  # no piece draws: what replays dropout in micro-batches has no say
                x, h, v = self.piece(block, places, x, h, v, packed, hidden, state.tower == "text")
            place = places[-1]
            if place == "mlp_hidden":
                v = state.activated(block.act, v, layer, input=h, residual=x)
                continue
            read = None if place in (*LAYER_NORMS, *STREAM) else h
            v = state.at(place, v, layer, input=read, residual=None if place in STREAM else x)
        return v


def cut(state: ForwardState, layer: int) -> Iterator[tuple[str, ...]]:
    """The places of a block behind its beginning, cut behind each where something acts."""
    piece: list[str] = []
    for place in PER_BLOCK[1:]:
        piece.append(place)
        if place == PER_BLOCK[-1] or state.inserts.get(state.tower, place, layer):
            yield tuple(piece)
            piece = []


def compile_blocks(clip: Clip) -> None:
    """Once, before the first step. Training then computes padding and masked frames too, so that shapes stay."""
    blocks = CompiledBlocks(BACKEND)
    for tower in (clip.vision_model, clip.text_model):
        tower.encoder.compiled = blocks


def check_compiler(device: torch.device) -> None:
    """PetvrError where there is no compiler for this device."""
    if BACKEND != "inductor":
        return
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise PetvrError("compile: true needs Triton and a GPU that it knows; allowed here: false")
        return
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:  # torch has a type of its own for each version
        raise PetvrError(
            f"compile: true needs a C++ compiler (g++, or what CXX names): {first_line(error)}; allowed here: false"
        ) from error


def compiled_graphs() -> tuple[int, float]:
    """How many graphs this process has compiled, and the seconds that took."""
    from torch._dynamo import utils

    return utils.counters["stats"]["unique_graphs"], utils.calculate_time_spent().get("total_wall_time", 0.0)
