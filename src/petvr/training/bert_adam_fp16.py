"""BertAdam's arithmetic on fp16 tensors as CLIP4Clip's code does it on a GPU: scalars in fp32, every result in fp16.

torch's own kernels differ in where they round (on the CPU a scalar like the rate 1e-7 becomes fp16 first: 1.19e-7), so
each operation is computed in fp32 and rounded by hand. The same on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

Tensors = list[Tensor]


def wide(tensors: Tensors) -> Tensors:
    return [tensor.float() for tensor in tensors]


def rounded(tensors: Tensors) -> Tensors:
    """fp32 tensors that hold fp16 numbers."""
    return [tensor.half().float() for tensor in tensors]


def moments(m: Tensors, v: Tensors, grads: Tensors, betas: tuple[float, float]) -> None:
    """In place: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, each as a product and a sum."""
    (first, second), grads = betas, wide(grads)
    new = rounded(torch._foreach_mul(wide(m), first))
    torch._foreach_copy_(m, torch._foreach_add(new, grads, alpha=1 - first))
    new = rounded(torch._foreach_mul(wide(v), second))
    torch._foreach_copy_(v, torch._foreach_addcmul(new, grads, grads, value=1 - second))


def update(parameters: Tensors, m: Tensors, v: Tensors, lr: float, eps: float, weight_decay: float) -> None:
    """In place: u = m / (sqrt v + eps) + wd theta; theta -= lr u."""
    values = wide(parameters)
    below = rounded(torch._foreach_add(rounded(torch._foreach_sqrt(wide(v))), eps))
    step = rounded(torch._foreach_div(wide(m), below))
    if weight_decay > 0:
        step = rounded(torch._foreach_add(step, rounded(torch._foreach_mul(values, weight_decay))))
    step = rounded(torch._foreach_mul(step, lr))
    torch._foreach_copy_(parameters, torch._foreach_sub(values, step))
