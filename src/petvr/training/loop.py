"""The run as a sequence of steps and evaluations that can be left and taken up again between any two of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from petvr.errors import PetvrError
from petvr.result import Evaluation
from petvr.retrieval.ranking import Report as Ranks
from petvr.spec import RunSpec
from petvr.training import augment, chunks, losses, seeds, select
from petvr.training.checkpoint import State
from petvr.training.data import Batch, Batches, evaluation_steps
from petvr.training.model import Model
from petvr.training.optim import Optimizer, clip_all
from petvr.training.reader import Ahead
from petvr.training.texts import Texts

Ranked = dict[str, np.ndarray]  # "plain/t2v" -> ranks, float32


@dataclass
class Training:
    """What training needs and evaluation does not."""

    batches: Batches
    texts: Texts
    reader: Ahead
    optimizer: Optimizer


@dataclass
class Progress:
    """Everything that changes while a run goes on, besides parameters and moments."""

    step: int = 0  # taken
    evaluations: list[Evaluation] = field(default_factory=list)
    ranks: list[Ranked] = field(default_factory=list)
    best: dict[str, Tensor] | None = None  # trained tensors at the best evaluation
    loss_steps: int = 0  # since the last evaluation
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    resumed: int = 0
    pairs: int = 0


class Loop:
    """Steps, evaluations and their order. `rank` gives the test split's ranks; `keep_best` copies the best weights."""

    def __init__(
        self,
        spec: RunSpec,
        model: Model,
        rank: Callable[[], Ranks],
        training: Training | None,
        *,
        keep_best: bool = False,
        chunk: int | None = None,
    ) -> None:
        self.spec, self.model, self.rank, self.training, self.keep_best = spec, model, rank, training, keep_best
        self.chunk = chunk
        self.progress = Progress()
        recipe = spec.recipe
        per_epoch = training.batches.per_epoch if training else 0
        self.total = per_epoch * recipe.epochs
        self.epoch_at = {0: 0} | evaluation_steps(
            per_epoch, recipe.epochs if training else 0, recipe.evaluations_per_epoch
        )
        self.once_per_video = recipe.augment == "none" and not model.has_dropout()
        self._losses: Tensor | None = None  # summed on the device: nothing waits for it

    @property
    def done(self) -> bool:
        return self.progress.step >= self.total and not self.due

    @property
    def due(self) -> bool:
        """An evaluation stands at this step and was not made yet."""
        made = self.progress.evaluations
        return self.progress.step in self.epoch_at and (not made or made[-1].step < self.progress.step)

    def advance(self) -> None:
        """One evaluation or one step."""
        start = time.perf_counter()
        if not self.due:
            self.step()
            self.progress.train_seconds += time.perf_counter() - start
            return
        loss = self.mean_loss()  # waits for the steps that the device still works on
        between = time.perf_counter()
        self.progress.train_seconds += between - start
        self.evaluate(loss)
        self.progress.eval_seconds += time.perf_counter() - between

    def evaluate(self, mean: float | None) -> None:
        """Rank the test split; `mean` is the loss since the last evaluation."""
        progress = self.progress
        if mean is not None and not math.isfinite(mean):
            raise PetvrError(
                f"{self.spec.id}: the loss is {mean} at step {progress.step}: nothing is recorded from here"
            )
        report = self.rank()
        evaluation = Evaluation(
            epoch=self.epoch_at[progress.step],
            step=progress.step,
            train_loss=mean,
            plain=report.plain.directions(),
            dsl=report.dsl.directions() if report.dsl else None,
        )
        progress.evaluations.append(evaluation)
        progress.ranks.append(flat(report))
        progress.loss_steps, self._losses = 0, None
        if self.keep_best and select.best(progress.evaluations, self.spec.recipe.select_by) == len(progress.ranks) - 1:
            progress.best = self.model.state()

    def step(self) -> None:
        training, recipe, progress = self.training, self.spec.recipe, self.progress
        seeds.everything(self.model.device, self.spec.seed, "step", progress.step)
        self.model.mode_of(training=True)
        batch = training.batches.at(progress.step)
        training.optimizer.zero_grad()
        loss = self.gradients(batch)
        if recipe.clip_global is not None:
            grads = [parameter.grad for parameter in training.optimizer.parameters if parameter.grad is not None]
            clip_all(grads, recipe.clip_global)
        training.optimizer.step()
        if self.model.logit_scale.requires_grad:
            losses.clamp_logit_scale(self.model.logit_scale, recipe.logit_scale_max)
        self._losses = loss.double() + (0.0 if self._losses is None else self._losses)
        progress.loss_steps += 1
        progress.pairs += len(batch.captions)
        progress.step += 1

    def loss(self, batch: Batch) -> Tensor:
        """The contrastive loss of a batch, with its graph."""
        return chunks.loss(self.model, self.inputs(batch))

    def gradients(self, batch: Batch) -> Tensor:
        """The loss, and its gradients into the parameters; in chunks where that is asked for."""
        if self.chunk is not None and self.chunk < len(batch.captions):
            return chunks.backward(self.model, self.inputs(batch), self.chunk)
        loss = self.loss(batch)
        loss.backward()
        return loss.detach()

    def inputs(self, batch: Batch) -> chunks.Inputs:
        """Distinct videos are read once, and encoded once where that is the same."""
        training, model = self.training, self.model
        ids = training.texts.of_captions(batch.captions).to(model.device)
        pixels, mask = training.reader.read(self.progress.step)
        place: Tensor | None = torch.from_numpy(batch.place).to(model.device)
        if not self.once_per_video:
            if len(batch.videos) < len(batch.place):
                pixels, mask = pixels[place], mask[place]
            place = None
        if self.spec.recipe.augment == "crop_flip":
            pixels = augment.crop_flip(pixels, seeds.tensors(self.spec.seed, "augment", self.progress.step))
            pixels = model.adapted.clip.normalise(pixels)
        return chunks.Inputs(ids, pixels, mask, place)

    def mean_loss(self) -> float | None:
        """Mean over the steps since the last evaluation; waits for the device."""
        if not self.progress.loss_steps:
            return None
        return self._loss_sum() / self.progress.loss_steps

    def state(self) -> State:
        progress = self.progress
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state().items()}
        values: dict[str, Any] = {
            "evaluations": [evaluation.model_dump(mode="json") for evaluation in progress.evaluations],
            "loss_sum": self._loss_sum(),
            **{
                key: getattr(progress, key)
                for key in ("loss_steps", "train_seconds", "eval_seconds", "resumed", "pairs")
            },
        }
        if self.training is not None:
            moments, values["counters"] = self.training.optimizer.state()
            tensors |= {f"optimizer/{name}": tensor for name, tensor in moments.items()}
        for number, ranked in enumerate(progress.ranks):
            tensors |= {f"ranks/{number}/{name}": torch.from_numpy(ranks) for name, ranks in ranked.items()}
        tensors |= {f"best/{name}": tensor for name, tensor in (progress.best or {}).items()}
        return State(progress.step, tensors, values)

    def restore(self, state: State) -> None:
        values = state.values
        self.model.restore(state.under("model/"))
        if self.training is not None:
            self.training.optimizer.restore(state.under("optimizer/"), values["counters"])
        evaluations = [Evaluation.model_validate(each) for each in values["evaluations"]]
        ranks = [
            {name: tensor.numpy() for name, tensor in state.under(f"ranks/{number}/").items()}
            for number in range(len(evaluations))
        ]
        self.progress = Progress(
            step=state.step,
            evaluations=evaluations,
            ranks=ranks,
            best=state.under("best/") or None,
            loss_steps=values["loss_steps"],
            train_seconds=values["train_seconds"],
            eval_seconds=values["eval_seconds"],
            resumed=values["resumed"] + 1,
            pairs=values["pairs"],
        )
        self._losses = torch.tensor(values["loss_sum"], dtype=torch.float64, device=self.model.device)

    def _loss_sum(self) -> float:
        return 0.0 if self._losses is None else float(self._losses)


def flat(report: Ranks) -> Ranked:
    found = {"plain": report.plain} | ({"dsl": report.dsl} if report.dsl else {})
    return {
        f"{name}/{way}": getattr(ranking, way).astype(np.float32)
        for name, ranking in found.items()
        for way in ("t2v", "v2t")
    }
