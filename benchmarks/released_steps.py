"""A training step of petvr beside the same step as the method's released code runs it, on this processor.

    python benchmarks/released_steps.py                      six methods, ViT-B/32 cut to 2 blocks, 2 videos x 12 frames
    python benchmarks/released_steps.py --name x_pool --batch 32 --frames 4 --repeats 15

Both sides have the same random weights, the same noise for pictures and the same texts of full length, in fp32 on one
thread. Before anything is timed, loss and gradients of both must agree; behind it, so must what the updates of all
steps have changed: both do the same work. Steps take turns in one process; what is shown is the processor's seconds and
the median of the ratios ours / theirs with its quartiles. A step is loss, gradients, clipping and update; pictures come
to theirs as normalised floats, to ours as bytes. What theirs is: benchmarks/released_models.py; that code was written
for this comparison, nothing here is the repositories'.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import released_models
import torch
from torch import Tensor, nn

from petvr import planning, run_ids
from petvr.clip import config as geometry
from petvr.clip.config import ClipConfig
from petvr.config import Config, load_config
from petvr.errors import PetvrError
from petvr.spec import RunSpec
from petvr.training import bench, run
from petvr.training.checkpoint import TrainState
from petvr.training.optimizer import ParameterGroup, build_optimizer, parameter_groups

RUNS = {
    "clip4clip": "rap/msrvtt-9k/vit-b-32/full@rule=clip4clip",
    "mv_adapter": "mv_adapter/msrvtt-9k/vit-b-32/mv_adapter",
    "cross_modal_adapter": "cross_modal_adapter/msrvtt-9k/vit-b-32/cross_modal_adapter@ds=16,r=8",
    "x_pool": "cross_modal_adapter/msrvtt-9k/vit-b-32/x_pool+full@rule=everything",
    "x_clip": "cross_modal_adapter/msrvtt-9k/vit-b-32/x_clip+full",
    "st_adapter": "rap/msrvtt-9k/vit-b-32/st_adapter",
}
RATES = {"lr_clip": 1e-5, "lr_new": 1e-4, "lr_head": 1e-4}  # high enough that updates can be compared
STEPS = 1000  # of the schedule
SAME_LOSS, SAME_GRADIENT, SAME_UPDATE = 1e-4, 1e-3, 0.05


@dataclass
class TheirStep:
    """Loss, gradients, clipping and update, parameter by parameter. groups: (rate, decay) by parameter."""

    spec: RunSpec
    model: released_models.Released
    groups: list[tuple[nn.Parameter, float, float]]
    factor: Callable[[int], float]
    taken: int = 0
    moments: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def gradients(self, ids: Tensor, pixels: Tensor) -> Tensor:
        for parameter, _, _ in self.groups:
            parameter.grad = None
        loss = self.model.loss(ids, pixels)
        loss.backward()
        return loss.detach()

    def __call__(self, ids: Tensor, pixels: Tensor) -> None:
        recipe = self.spec.recipe
        float(self.gradients(ids, pixels))
        if recipe.clip_global is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_global)
        with torch.no_grad():
            for parameter, rate, decay in self.groups:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad, rate * self.factor(self.taken), decay)
            self.model.towers.logit_scale.clamp_(max=math.log(recipe.logit_scale_max))
        self.taken += 1

    def update(self, parameter: nn.Parameter, grad: Tensor, rate: float, decay: float) -> None:
        recipe, (first, second) = self.spec.recipe, self.spec.recipe.betas
        if id(parameter) not in self.moments:
            self.moments[id(parameter)] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        m, v = self.moments[id(parameter)]
        if recipe.clip_tensor is not None:
            torch.nn.utils.clip_grad_norm_(parameter, recipe.clip_tensor)
        m.mul_(first).add_(grad, alpha=1 - first)
        v.mul_(second).addcmul_(grad, grad, value=1 - second)
        if recipe.optimizer == "adamw":  # of transformers in 2021
            size = rate * math.sqrt(1 - second ** (self.taken + 1)) / (1 - first ** (self.taken + 1))
            parameter.addcdiv_(m, v.sqrt().add_(recipe.eps), value=-size)
            if decay > 0:
                parameter.add_(parameter, alpha=-rate * decay)
            return
        change = m / (v.sqrt() + recipe.eps)  # BertAdam
        if decay > 0:
            change += decay * parameter
        parameter.add_(-(rate * change))


@dataclass
class Compared:
    """Differences are relative: of the loss, of the worst gradient, of all updates together."""

    loss: float
    gradient: float
    update: float
    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        return [one / other for one, other in zip(self.ours, self.theirs, strict=True)]


class Pair:
    """Both sides of one method on one batch."""

    def __init__(self, name: str, spec: RunSpec, clip: ClipConfig) -> None:
        recipe = spec.recipe
        source = bench.Noise(2 * recipe.batch, recipe.frames, clip.image)
        data, self.model = bench.prepared(spec, clip, source, torch.device("cpu"))
        self.spec, self.batch = spec, data.at(0, torch.device("cpu"))
        groups = parameter_groups(self.model.trained, recipe, self.model.layer_norm_weights())
        optimizer = build_optimizer(groups, recipe, STEPS)
        self.state = TrainState(self.model, optimizer)
        released = getattr(released_models, name)(self.model, recipe.frames)
        self.links = released.links.pairs
        self.theirs = TheirStep(spec, released, self.their_groups(released, groups), optimizer.factor)
        pixels = self.batch.pixels
        pixels = pixels if pixels.is_floating_point() else self.model.adapted.normalise(pixels)
        self.pixels = pixels if self.batch.video_of_sample is None else pixels[self.batch.video_of_sample]

    def their_groups(
        self, released: nn.Module, groups: list[ParameterGroup]
    ) -> list[tuple[nn.Parameter, float, float]]:
        """Rate and decay that the recipe gives to ours. Raises PetvrError where a tensor of either side is left out."""
        of_ours = {id(part): (group.lr, group.weight_decay) for group in groups for part in group.parameters}
        linked = {id(part) for _, ours, _ in self.links for part in ours}
        alone = [name for name, (part, _) in self.model.trained.items() if id(part) not in linked]
        copies = {id(theirs) for theirs, _, _ in self.links}
        alone += [name for name, part in released.named_parameters() if id(part) not in copies]
        if alone:
            raise PetvrError(f"{self.spec.id}: on one side alone: {alone[0]}")
        return [(theirs, *of_ours[id(ours[0])]) for theirs, ours, _ in self.links if theirs.requires_grad]

    def our_step(self) -> None:
        run.train_step(self.spec, self.state, bench.Resident(self.batch), None)

    def their_step(self) -> None:
        self.theirs(self.batch.ids, self.pixels)

    def first_differences(self) -> tuple[float, float]:
        """Of the loss and of the worst gradient, before any update."""
        self.model.set_training(True)
        self.state.optimizer.zero_grad()
        ours = self.model.loss(self.batch)
        ours.backward()
        theirs = self.theirs.gradients(self.batch.ids, self.pixels)
        whole = math.sqrt(sum(float(part.grad.square().sum()) for part in self.trained() if part.grad is not None))
        worst = 0.0
        for theirs_part, parts, turned in self.links:
            if theirs_part.requires_grad:
                mine = released_models.joined(tuple(gradient(part) for part in parts), turned)
                least = 1e-4 * whole  # below it a tensor's gradient is rounding
                distance = (gradient(theirs_part) - mine).norm() / mine.norm().clamp(min=least)
                worst = max(worst, float(distance))
        return float((ours.detach() - theirs).abs() / theirs.abs()), worst

    def trained(self) -> list[nn.Parameter]:
        return [part for part, _ in self.model.trained.values()]

    def values(self) -> list[tuple[Tensor, Tensor]]:
        """Copies of what trains, theirs and ours."""
        return [
            (theirs.detach().clone(), released_models.joined(ours, turned))
            for theirs, ours, turned in self.links
            if theirs.requires_grad
        ]

    def compare(self, repeats: int) -> Compared:
        loss, worst = self.first_differences()
        before, times = self.values(), {"ours": [], "theirs": []}
        steps = {"ours": self.our_step, "theirs": self.their_step}
        for number in range(repeats + 1):  # the first turn makes the moments
            for name in sorted(steps, reverse=bool(number % 2)):
                start = time.process_time()
                steps[name]()
                times[name].append(time.process_time() - start)
        apart = moved = 0.0
        for (their_start, our_start), (theirs, ours) in zip(before, self.values(), strict=True):
            change = theirs - their_start
            apart += float((change - (ours - our_start)).square().sum())
            moved += float(change.square().sum())
        update = math.sqrt(apart / moved) if moved else math.inf
        return Compared(loss, worst, update, times["ours"][1:], times["theirs"][1:])


def gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def require_same_work(name: str, said: Compared) -> None:
    limits = {"loss": SAME_LOSS, "gradient": SAME_GRADIENT, "update": SAME_UPDATE}
    for what, most in limits.items():
        if not getattr(said, what) <= most:
            raise PetvrError(f"{name}: {what} of both sides differ by {getattr(said, what):.2g}, allowed: {most:g}")


def spec_of(name: str, batch: int, frames: int, planned: planning.Plan, config: Config) -> RunSpec:
    spec = run_ids.spec_of(config, f"{RUNS[name]}/seed-0", planned)
    changes = {**RATES, "precision": "fp32", "batch": batch, "frames": frames}
    if name == "x_pool":  # what is dropped would differ
        changes["similarity_setting"] = {"dropout": 0.0}
    return spec.model_copy(update={"recipe": spec.recipe.model_copy(update=changes)})


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", choices=tuple(RUNS), action="append", help="may be repeated (default: all)")
    parser.add_argument("--layers", type=int, default=2, help="of both towers (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="videos (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=12, help="of each (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="turns (default: %(default)s)")
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    config = load_config(needed=False)
    planned = planning.plan(config)
    clip = geometry.with_layers(geometry.geometry("vit-b-32"), args.layers)
    print(f"ViT-B/32, {args.layers} blocks, {args.batch} videos x {args.frames} frames, torch {torch.__version__}")
    try:
        for name in args.name or RUNS:
            said = Pair(name, spec_of(name, args.batch, args.frames, planned, config), clip).compare(args.repeats)
            require_same_work(name, said)
            ours, theirs = (statistics.median(times) for times in (said.ours, said.theirs))
            low, middle, high = statistics.quantiles(said.ratios, n=4)
            print(
                f"{name}: {ours:.3f} s, released {theirs:.3f} s, ratio {middle:.3f} ({low:.3f} to {high:.3f}); loss, "
                f"gradients and updates agree within {said.loss:.0e}, {said.gradient:.0e} and {said.update:.0e}",
                flush=True,
            )
    except PetvrError as refused:
        sys.exit(f"petvr: error: {refused}")


if __name__ == "__main__":
    main()
