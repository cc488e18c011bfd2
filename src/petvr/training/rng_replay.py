"""Random numbers of a part of a batch as they are drawn for the whole of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

FILLED = (torch.rand, torch.randn)


class PartOfWhole:
    """One dictionary per leading dimension: size of the part -> (size of the whole, where the part begins)."""

    def __init__(self, *dimensions: dict[int, tuple[int, int]]) -> None:
        self.dimensions = dimensions

    def locate(self, shape: tuple[int, ...]) -> tuple[list[int], tuple[slice, ...]]:
        """The whole's shape, and this part of it; a tensor that belongs to no row is its own whole."""
        whole, part = list(shape), [slice(None)] * len(shape)
        for number, known in enumerate(self.dimensions[: len(shape)]):
            if shape[number] in known:
                whole[number], start = known[shape[number]]
                part[number] = slice(start, start + shape[number])
        return whole, tuple(part)


class DrawAsWhole(TorchFunctionMode):
    """Within it dropout, torch.rand and torch.randn draw for the whole and return this part's share."""

    def __init__(self, part: PartOfWhole) -> None:
        super().__init__()
        self.part = part

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if function is functional.dropout:
            return self._dropout(*args, **kwargs)
        if function in FILLED:
            shape = kwargs.pop("size", None) or (args if isinstance(args[0], int) else args[0])
            whole, part = self.part.locate(tuple(shape))
            return function(*whole, **kwargs)[part]
        return function(*args, **kwargs)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return x
        whole, part = self.part.locate(tuple(x.shape))
        return x * functional.dropout(x.detach().new_ones(whole), p, True)[part]


class RngState:
    """The states of the generators that dropout draws from."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def save(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        return states + ([torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else [])

    def restore(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self.device)
