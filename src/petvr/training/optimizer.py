"""BertAdam and AdamW as the papers' code bases have them (docs/protocols.md): not torch's AdamW.

Both skip parameters whose gradient is None; BertAdam's counter of such a parameter stands still. Here too: which
learning rate and weight decay each trained tensor gets, and the schedules that scale the rates.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from petvr.errors import PetvrError, unknown
from petvr.spec import Recipe
from petvr.training import bert_adam_fp16

# CLIP's LayerNorms as transformers and as OpenAI spell them, and the usual names of new ones
LAYER_NORM = re.compile(r"(^|[._])(pre_layrnorm|post_layernorm|\w*layer_?norm\d*|ln(_\w+)?|norm\d*)\.weight$", re.I)


Tensors = list[Tensor]


@dataclass
class ParameterGroup:
    part: str
    lr: float
    weight_decay: float
    names: list[str]
    parameters: list[nn.Parameter]


def parameter_groups(
    trained: dict[str, tuple[nn.Parameter, str]], recipe: Recipe, norms: Iterable[str] = ()
) -> list[ParameterGroup]:
    """Groups of equal learning rate and decay, in the order of names.

    trained: name -> (parameter, part), part one of clip, new, head. `norms`: names known to be LayerNorm weights.
    no_decay `bias` takes every name that contains "bias"; `bias_and_layernorm` also LayerNorm weights; `none` leaves
    everything decaying. Raises PetvrError for an unknown part.
    """
    rates = {"clip": recipe.lr_clip, "new": recipe.lr_new, "head": recipe.lr_head}
    norms, groups = set(norms), {}
    for name, (parameter, part) in trained.items():
        if part not in rates:
            raise PetvrError(f"parameter '{name}': part '{part}'; allowed: {', '.join(rates)}")
        decay = recipe.weight_decay if decays(name, recipe.no_decay, name in norms) else 0.0
        group = groups.setdefault((part, decay), ParameterGroup(part, rates[part], decay, [], []))
        group.names.append(name)
        group.parameters.append(parameter)
    return list(groups.values())


def decays(name: str, no_decay: str, is_norm: bool = False) -> bool:
    if no_decay == "none":
        return True
    if "bias" in name:
        return False
    return no_decay == "bias" or not (is_norm or LAYER_NORM.search(name))


def warmup_cosine(step: int, total: float, warmup: float) -> float:
    """BertAdam's: x = step / total; x / warmup below `warmup`, then 0.5 (1 + cos pi x), which is NOT restarted.

    It jumps from about 1 to 0.5 (1 + cos(pi warmup)) at the end of the warm-up. Step 0 has factor 0.
    """
    x = step / total
    return x / warmup if x < warmup else 0.5 * (1.0 + math.cos(math.pi * x))


def warmup_cosine_restarted(step: int, total: float, warmup: float) -> float:
    """X-Pool's: linear over int(warmup total) steps, then half a cosine over the rest, from 1 to 0."""
    rise = int(warmup * total)
    if step < rise:
        return step / rise
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, total - rise))))


def constant(step: int, total: float, warmup: float) -> float:
    """1 after the same warm-up as `warmup_cosine`."""
    x = step / total
    return x / warmup if x < warmup else 1.0


SCHEDULES: dict[str, Callable[[int, float, float], float]] = {
    "warmup_cosine": warmup_cosine,
    "warmup_cosine_restarted": warmup_cosine_restarted,
    "constant": constant,
}


def schedule(name: str, *, total: float, warmup: float) -> Callable[[int], float]:
    """step (from 0) -> factor on the learning rate. Raises PetvrError for an unknown name."""
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES, "recipe.schedule")
    factor = SCHEDULES[name]
    return lambda step: factor(step, total, warmup)


class Optimizer:
    """First and second moments `m`, `v` and the number of updates per name; `factor(k)` scales the learning rates."""

    def __init__(
        self,
        groups: list[ParameterGroup],
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
                self._update(group, updates, parameters, grads, m, v)
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

    def _by_updates(self, group: ParameterGroup) -> Iterator[tuple[int, list[str], list[Tensor], list[Tensor]]]:
        """Parameters that have a gradient, together with those of their type that were updated as often."""
        alike = defaultdict(list)
        for name, parameter in zip(group.names, group.parameters, strict=True):
            if parameter.grad is not None:
                alike[self.updates[name], parameter.dtype].append((name, parameter))
        for (updates, _), pairs in alike.items():
            names, parameters = [name for name, _ in pairs], [parameter for _, parameter in pairs]
            yield updates, names, parameters, [parameter.grad for parameter in parameters]

    def _update(
        self, group: ParameterGroup, updates: int, parameters: Tensors, grads: Tensors, m: Tensors, v: Tensors
    ) -> None:
        raise TypeError("use BertAdam or AdamW")

    def _fused(
        self, parameters: Tensors, grads: Tensors, m: Tensors, v: Tensors, lr: float, weight_decay: float
    ) -> None:
        """Moments, theta -= lr wd theta, theta -= lr m / (sqrt v + eps): torch's AdamW at step 2^24, where its bias
        corrections are 1."""
        first, second = self.betas
        late = torch.full((), 2.0**24, device=parameters[0].device)
        torch._fused_adamw_(
            parameters, grads, m, v, [], [late] * len(parameters), lr=lr, beta1=first, beta2=second,
            weight_decay=weight_decay, eps=self.eps, amsgrad=False, maximize=False,
        )  # fmt: skip


class BertAdam(Optimizer):
    """u = m / (sqrt v + eps) + wd theta; theta -= lr factor(k) u; k: the parameter's own updates, from 0.

    No bias correction; the decay is multiplied by the scheduled rate; with `clip_tensor` each gradient tensor is first
    clipped to that norm on its own, after the loop clipped the norm of all.
    """

    def _update(
        self, group: ParameterGroup, updates: int, parameters: Tensors, grads: Tensors, m: Tensors, v: Tensors
    ) -> None:
        lr = group.lr * self.factor(updates)
        if parameters[0].dtype == torch.float16:
            bert_adam_fp16.moments(m, v, grads, self.betas)
            bert_adam_fp16.update(parameters, m, v, lr, self.eps, group.weight_decay)
        else:
            self._fused(parameters, grads, m, v, lr, group.weight_decay)


class AdamW(Optimizer):
    """With bias correction, eps added to the uncorrected sqrt v, decay lr wd theta after the update.

    This is the AdamW of older transformers, which X-Pool uses; that eps is not corrected follows that class.
    The schedule counts steps of the run, as a scheduler outside the optimiser does.
    """

    def _update(
        self, group: ParameterGroup, updates: int, parameters: Tensors, grads: Tensors, m: Tensors, v: Tensors
    ) -> None:
        first, second = self.betas
        lr = group.lr * self.factor(self.taken)
        size = lr * math.sqrt(1 - second ** (updates + 1)) / (1 - first ** (updates + 1))
        self._fused(parameters, grads, m, v, size, 0.0)
        if group.weight_decay > 0:
            torch._foreach_mul_(parameters, 1 - lr * group.weight_decay)


class Adam(Optimizer):
    """torch.optim.Adam, as MV-Adapter and Cross-Modal Adapter name it: wd theta is added to the gradient."""

    def _update(
        self, group: ParameterGroup, updates: int, parameters: Tensors, grads: Tensors, m: Tensors, v: Tensors
    ) -> None:
        first, second = self.betas
        step = torch.full((), updates + 1.0, device=parameters[0].device)
        torch._fused_adam_(
            parameters, grads, m, v, [], [step] * len(parameters), lr=group.lr * self.factor(self.taken), beta1=first,
            beta2=second, weight_decay=group.weight_decay, eps=self.eps, amsgrad=False, maximize=False,
        )  # fmt: skip


OPTIMIZERS = {"bert_adam": BertAdam, "adamw": AdamW, "adam": Adam}


def build_optimizer(groups: list[ParameterGroup], recipe: Recipe, total_steps: int) -> Optimizer:
    """The optimiser a recipe names, over `total_steps` steps. Raises PetvrError for an unknown name.

    Once the norm of all gradients together is at most as long, no single one is longer: it is not clipped again.
    """
    if recipe.optimizer not in OPTIMIZERS:
        raise unknown("optimizer", recipe.optimizer, OPTIMIZERS, "recipe.optimizer")
    factor = schedule(recipe.schedule, total=max(1, total_steps), warmup=recipe.warmup)
    clip_tensor, together = recipe.clip_tensor, recipe.clip_global
    if clip_tensor is not None and together is not None and together <= clip_tensor:
        clip_tensor = None
    return OPTIMIZERS[recipe.optimizer](
        groups, betas=recipe.betas, eps=recipe.eps, factor=factor, clip_tensor=clip_tensor
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
