"""Models without memory are built faster when nothing is drawn for them: torch's way to draw no numbers imports its
compiler, which takes a second, and is slow."""

from __future__ import annotations

from typing import Any

from torch.overrides import TorchFunctionMode

FILLING = ("normal_", "uniform_", "fill_", "zero_")
INIT = ("zeros_", "ones_", "constant_", "trunc_normal_", "kaiming_uniform_", "xavier_uniform_")


class SkipMetaInit(TorchFunctionMode):
    """Within it, tensors on the meta device are left alone by what would fill them."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in FILLING + INIT:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return function(*args, **kwargs)
