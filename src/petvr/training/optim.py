"""BertAdam and AdamW as the papers' code bases have them (METHODS A.0, A.1): not torch's AdamW.

Both skip parameters whose gradient is None; BertAdam's counter of such a parameter stands still.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from petvr.errors import unknown
from petvr.spec import Recipe
from petvr.training import bert_adam_fp16, schedule
from petvr.training.groups import Group


class Optimizer:
    """First and second moments `m`, `v` and the number of updates per name; `factor(k)` scales the learning rates."""

    def __init__(
        self,
        groups: list[Group],
        *,
        betas: tuple[float, float],
        eps: float,
        factor: Callable[[int], float],
        clip_tensor: float | None = None,
    ) -> None:
        self.groups, self.betas, self.eps, self.factor, self.clip_tensor = groups, betas, eps, factor, clip_tensor
        named = [pair for group in groups for pair in zip(group.names, group.parameters, strict=True)]
        self.m = {name: torch.zeros_like(parameter) for name, parameter in named}
        self.v = {name: torch.zeros_like(parameter) for name, parameter in named}
        self.updates = dict.fromkeys(self.m, 0)
        self.taken = 0

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self.groups for parameter in group.parameters]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for group in self.groups:
            for updates, names, parameters, grads in self._by_updates(group):
                if self.clip_tensor is not None:
                    clip_each(grads, self.clip_tensor)
                m, v = [self.m[name] for name in names], [self.v[name] for name in names]
                self._moments(m, v, grads)
                self._update(group, updates, parameters, m, v)
                for name in names:
                    self.updates[name] += 1
        self.taken += 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Tensors `m/<name>`, `v/<name>`; counters by name and `taken` under the empty name."""
        tensors = {f"m/{name}": value for name, value in self.m.items()}
        tensors |= {f"v/{name}": value for name, value in self.v.items()}
        return tensors, {**self.updates, "": self.taken}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, int]) -> None:
        for name in self.m:
            self.m[name].copy_(tensors[f"m/{name}"])
            self.v[name].copy_(tensors[f"v/{name}"])
            self.updates[name] = counters[name]
        self.taken = counters[""]

    def _by_updates(self, group: Group) -> Iterator[tuple[int, list[str], list[Tensor], list[Tensor]]]:
        """Parameters that have a gradient, together with those of their type that were updated as often."""
        found = defaultdict(list)
        for name, parameter in zip(group.names, group.parameters, strict=True):
            if parameter.grad is not None:
                found[self.updates[name], parameter.dtype].append((name, parameter))
        for (updates, _), pairs in found.items():
            names, parameters = [name for name, _ in pairs], [parameter for _, parameter in pairs]
            yield updates, names, parameters, [parameter.grad for parameter in parameters]

    def _moments(self, m: list[Tensor], v: list[Tensor], grads: list[Tensor]) -> None:
        first, second = self.betas
        torch._foreach_mul_(m, first)
        torch._foreach_add_(m, grads, alpha=1 - first)
        torch._foreach_mul_(v, second)
        torch._foreach_addcmul_(v, grads, grads, value=1 - second)

    def _update(self, group: Group, updates: int, parameters: list, m: list[Tensor], v: list[Tensor]) -> None:
        raise TypeError("use BertAdam or AdamW")


class BertAdam(Optimizer):
    """u = m / (sqrt v + eps) + wd theta; theta -= lr factor(k) u; k: the parameter's own updates, from 0.

    No bias correction; the decay is multiplied by the scheduled rate; with `clip_tensor` each gradient tensor is first
    clipped to that norm on its own, after the loop clipped the norm of all.
    """

    def _update(self, group: Group, updates: int, parameters: list, m: list[Tensor], v: list[Tensor]) -> None:
        lr = group.lr * self.factor(updates)
        if parameters[0].dtype == torch.float16:
            bert_adam_fp16.update(parameters, m, v, lr, self.eps, group.weight_decay)
            return
        update = torch._foreach_sqrt(v)
        torch._foreach_add_(update, self.eps)
        update = torch._foreach_div(m, update)
        if group.weight_decay > 0:
            torch._foreach_add_(update, parameters, alpha=group.weight_decay)
        torch._foreach_add_(parameters, update, alpha=-lr)

    def _moments(self, m: list[Tensor], v: list[Tensor], grads: list[Tensor]) -> None:
        if m[0].dtype == torch.float16:
            bert_adam_fp16.moments(m, v, grads, self.betas)
        else:
            super()._moments(m, v, grads)


class AdamW(Optimizer):
    """With bias correction, eps added to the uncorrected sqrt v, decay lr wd theta after the update.

    This is the AdamW of older transformers, which X-Pool uses; that eps is not corrected follows that class.
    The schedule counts steps of the run, as a scheduler outside the optimiser does.
    """

    def _update(self, group: Group, updates: int, parameters: list, m: list[Tensor], v: list[Tensor]) -> None:
        first, second = self.betas
        lr = group.lr * self.factor(self.taken)
        size = lr * math.sqrt(1 - second ** (updates + 1)) / (1 - first ** (updates + 1))
        update = torch._foreach_sqrt(v)
        torch._foreach_add_(update, self.eps)
        update = torch._foreach_div(m, update)
        torch._foreach_add_(parameters, update, alpha=-size)
        if group.weight_decay > 0:
            torch._foreach_mul_(parameters, 1 - lr * group.weight_decay)


OPTIMIZERS = {"bert_adam": BertAdam, "adamw": AdamW}


def build(groups: list[Group], recipe: Recipe, total_steps: int) -> Optimizer:
    """The optimiser a recipe names, over `total_steps` steps. Raises PetvrError for an unknown name."""
    if recipe.optimizer not in OPTIMIZERS:
        raise unknown("optimizer", recipe.optimizer, OPTIMIZERS, "recipe.optimizer")
    factor = schedule.named(recipe.schedule, total=max(1, total_steps), warmup=recipe.warmup)
    return OPTIMIZERS[recipe.optimizer](
        groups, betas=recipe.betas, eps=recipe.eps, factor=factor, clip_tensor=recipe.clip_tensor
    )


def clip_each(grads: list[Tensor], largest: float) -> None:
    """Each tensor's norm to at most `largest`, in place."""
    norms = torch.stack(torch._foreach_norm(grads))
    torch._foreach_mul_(grads, list((largest / (norms + 1e-6)).clamp(max=1.0).unbind()))


def clip_all(grads: list[Tensor], largest: float) -> Tensor:
    """The norm of all tensors together to at most `largest`, in place; returns the norm before."""
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    torch._foreach_mul_(grads, (largest / (norm + 1e-6)).clamp(max=1.0))
    return norm
