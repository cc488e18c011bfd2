"""The named places of the two towers where a method may act, and what its functions are given when they do.

A method adds functions `fn(x, context) -> x`; the tower calls them in the order they were added. Shapes (R rows: all
frames of all videos in the vision tower, texts in the text tower; S tokens: CLS + P patches or W words, D width):

    ids        [B, W]     token ids (text only)
    embedded   [R, S, D]  patches before CLS and positions, words before positions
    tokens_in  [R, S, D]  with positions, in the vision tower before ln_pre
    block_in   [R, S, D]  the stream entering block i (i = 0: after ln_pre)
    attn_in    [R, S, D]  LN1 of the stream
    qkv        three of [R, S, D]  queries, keys, values before they are split into heads
    attn_mixed [R, S, D]  what all heads have read, side by side, before the output projection
    attn_out   [R, S, D]  the attention's output before the residual sum
    mid        [R, S, D]  the stream between attention and MLP
    mlp_in     [R, S, D]  LN2 of the stream
    mlp_hidden [R, S, 4D] the MLP's first layer before the activation
    mlp_out    [R, S, D]  the MLP's output before the residual sum
    block_out  [R, S, D]  the stream leaving block i
    pooled     [R, D]     CLS or EOT after the last LayerNorm
    words      [R, W, D]  all words after the last LayerNorm, where a similarity reads them (text only)
    projected  [R, E]     the same after the projection
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from petvr.clip.config import ClipConfig
from petvr.errors import PetvrError, unknown

TOWERS = ("vision", "text")
ONCE = ("ids", "embedded", "tokens_in", "pooled", "projected")
PER_BLOCK = (
    "block_in",
    "attn_in",
    "qkv",
    "attn_mixed",
    "attn_out",
    "mid",
    "mlp_in",
    "mlp_hidden",
    "mlp_out",
    "block_out",
)
PLACES = {"vision": (*ONCE[1:], *PER_BLOCK), "text": (*ONCE, "words", *PER_BLOCK)}


@dataclass(slots=True)
class HookContext:
    """Where a function is called: "vision" or "text", the block's number from 0 (None outside the blocks), what the
    sub-layer read (after LN), the stream before that LN, and the state of the tower's pass.

    activation: at mlp_hidden, what the last function's result passes next; a function that has seen to it sets None.
    """

    tower: str
    layer: int | None
    input: Tensor | None
    residual: Tensor | None
    state: ForwardState
    activation: Callable[[Tensor], Tensor] | None = None


class Inserts:
    """Which functions act where. `temporal`: some function reads across frames, so all frames have to be computed."""

    def __init__(self, config: ClipConfig):
        self.layers = {"vision": config.vision.layers, "text": config.text.layers}
        self.temporal = False
        self._at: dict[tuple[str, str, int | None], list[Callable[..., Any]]] = {}

    def add(self, tower: str, place: str, fn: Callable[..., Any], layers: Iterable[int] | None = None) -> None:
        """tower: "vision", "text" or "both". `layers` are block numbers from 0, all of the tower's when None; places
        outside the blocks take none. PetvrError for what the tower does not have."""
        if tower not in (*TOWERS, "both"):
            raise unknown("tower", tower, (*TOWERS, "both"))
        layers = None if layers is None else tuple(layers)
        for name in TOWERS if tower == "both" else (tower,):
            if place not in PLACES[name]:
                raise unknown("place", place, PLACES[name], f"{name} tower")
            if layers is not None and place not in PER_BLOCK:
                raise PetvrError(f"{name} tower: '{place}' stands outside the blocks and takes no layers")
            wanted: Iterable[int | None] = [None]
            if place in PER_BLOCK:
                wanted = range(self.layers[name]) if layers is None else layers
            for layer in wanted:
                if layer is not None and layer not in range(self.layers[name]):
                    raise PetvrError(f"{name} tower: block {layer} given, allowed: 0 to {self.layers[name] - 1}")
                self._at.setdefault((name, place, layer), []).append(fn)

    def wrap(self, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put `around` every function that was added."""
        self._at = {key: [around(function) for function in functions] for key, functions in self._at.items()}

    def places(self) -> list[tuple[str, str, int | None]]:
        """(tower, place, block) wherever a function acts, in the order they were added."""
        return list(self._at)

    def first(self, tower: str) -> int | None:
        """The lowest block where something acts; -1 before the blocks, one past the last behind them, None nowhere."""
        behind = ("pooled", "words", "projected")
        at = [layer if layer is not None else self.layers[tower] if place in behind else -1
              for where, place, layer in self.places() if where == tower]  # fmt: skip
        return min(at, default=None)

    def get(self, tower: str, place: str, layer: int | None) -> list[Callable[..., Any]]:
        return self._at.get((tower, place, layer), [])


@dataclass
class ForwardState:
    """One pass of one tower: what every inserted function may read, and the few things it may change.

    `prompts` lists the extra tokens behind CLS or SOT, front first; `eot` is each text's current EOT position;
    `key_mask` [R, S] hides keys (False) from all queries; `joined` says that the frames of a video form one
    sequence whose first F tokens are their CLS; `memory` is free for methods that pass something between places.
    """

    tower: str
    inserts: Inserts
    videos: int = 0
    frames: int = 0
    mask: Tensor | None = None  # [B, F], True where a frame is real; None: all are
    lengths: Tensor | None = None  # [B] real frames of each video, where the caller's mask lies; None: all are real
    frame: Tensor | None = None  # [R] number of each row's frame within its video
    texts: Tensor | None = None  # [C, E] candidate sentences, where the caller has given some
    eot: Tensor | None = None  # [B]
    prompts: dict[str, int] = field(default_factory=dict)
    key_mask: Tensor | None = None
    joined: bool = False
    memory: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> ForwardState:
        return replace(self, prompts=dict(self.prompts), memory=dict(self.memory))

    def at(
        self, place: str, x: Any, layer: int | None = None, input: Tensor | None = None, residual: Tensor | None = None
    ) -> Any:
        """`x` after all functions of this place; unchanged where there are none."""
        functions = self.inserts.get(self.tower, place, layer)
        if functions:
            context = HookContext(self.tower, layer, input, residual, self)
            for function in functions:
                x = function(x, context)
        return x

    def activated(
        self, act: Callable[[Tensor], Tensor], x: Tensor, layer: int, input: Tensor | None, residual: Tensor | None
    ) -> Tensor:
        """The MLP's activation of `x` after all functions of mlp_hidden, the last of which may do both at once."""
        *others, last = self.inserts.get(self.tower, "mlp_hidden", layer) or [None]
        context = HookContext(self.tower, layer, input, residual, self)
        for function in others:
            x = function(x, context)
        context.activation = act
        if last is not None:
            x = last(x, context)
        return x if context.activation is None else act(x)

    @property
    def num_leading_tokens(self) -> int:
        """How many tokens stand before the first patch or word: the CLS (one, or F when joined) or SOT, and prompts."""
        return (self.frames if self.joined else 1) + sum(self.prompts.values())

    def insert_prompts(self, owner: str, x: Tensor, prompts: Tensor) -> Tensor:
        """Place `prompts` [n, D] or [R, n, D] behind the leading token(s), replacing those of the same owner.

        The newest owner stands in front of the others. EOT moves with the words.
        """
        if prompts.dim() == 2:
            prompts = prompts.expand(x.shape[0], -1, -1)
        prompts = prompts.to(x.dtype)
        start = self.frames if self.joined else 1
        skip = 0
        if owner in self.prompts:
            for name, count in self.prompts.items():
                if name == owner:
                    break
                start += count
            skip = self.prompts[owner]
            self.prompts[owner] = prompts.shape[1]
        else:
            self.prompts = {owner: prompts.shape[1], **self.prompts}
        if self.eot is not None:
            self.eot = self.eot + (prompts.shape[1] - skip)
        if self.key_mask is not None:  # every query sees the new ones
            seen = self.key_mask.new_ones(prompts.shape[:2])
            self.key_mask = torch.cat([self.key_mask[:, :start], seen, self.key_mask[:, start + skip :]], dim=1)
        return torch.cat([x[:, :start], prompts, x[:, start + skip :]], dim=1)

    def join_frames(self, x: Tensor) -> Tensor:
        """[B F, 1 + n + P, D] -> [B, F (1 + n + P), D]: the frames of a video become one sequence.

        All CLS come first, then each owner's prompts of all frames, then all patches. From here on nobody sees what
        belongs to a masked frame.
        """
        sizes = [1, *self.prompts.values(), x.shape[1] - self.num_leading_tokens]
        parts = x.unflatten(0, (self.videos, self.frames)).split(sizes, dim=2)
        if self.mask is not None:
            self.key_mask = torch.cat([self.mask.repeat_interleave(size, dim=1) for size in sizes], dim=1)
        self.prompts = {owner: count * self.frames for owner, count in self.prompts.items()}
        self.joined = True
        return torch.cat([part.flatten(1, 2) for part in parts], dim=1)
