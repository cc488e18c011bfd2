"""One run from its spec to `result.json`, from top to bottom: open data, build, resume, train and evaluate, write."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from petvr.clip import compiled, tokenizer
from petvr.clip import weights as clip_weights
from petvr.clip.tokenizer import Tokenizer
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.result import Evaluation, Result, best_evaluation, selected_evaluations, suspicions
from petvr.spec import RunSpec
from petvr.training import evaluate, gradient_cache, result_writer
from petvr.training.batches import TokenizedCaptions, TrainingData, open_training_data
from petvr.training.checkpoint import Checkpointer, TrainState, lock_state
from petvr.training.data import Splits, open_splits
from petvr.training.determinism import keep_freed_memory, name_refused_kernels, prepare_device, seed_torch
from petvr.training.evaluate import EvaluationData, encoding_ms, evaluation_steps, open_evaluation_data
from petvr.training.frozen_feature_cache import FrozenFeatureCache, open_cache, open_captions
from petvr.training.log import RunLog
from petvr.training.model import BatchSource, Model, build_model, clamp_logit_scale
from petvr.training.optimizer import build_optimizer, clip_all, parameter_groups
from petvr.training.options import TrainOptions
from petvr.training.signals import StopRequested, StopSignal, catch_signals


def train(spec: RunSpec, options: TrainOptions) -> Result:
    """Train and evaluate `spec`, or only evaluate it where `spec.train` is False; result.json is written last.

    SIGTERM or SIGUSR2 saves the state and ends the process with EXIT_CHECKPOINTED. Raises PetvrError for bad input,
    missing videos, a diverged loss, and where something cannot be written.
    """
    started = result_writer.utc_now()
    recipe = spec.recipe
    check_options(options)
    device = prepare_device(options.device, options.threads, options.deterministic)
    keep_freed_memory(device)

    store = FrameStore(options.store)
    splits = open_splits(spec, options.dataset, store, options.missing, options.checked)
    weights_digest = clip_weights.digest(options.weights)
    identity = {
        "spec": spec.digest(),
        "weights": weights_digest,
        "frames": store.digest,
        "data": splits.digest(),
        "device": device.type,
    }
    start = options.start
    if start is not None:
        identity["start"] = start.digest
    if options.compile:  # bit-equal among themselves alone
        compiled.check_compiler(device)
        identity["compile"] = compiled.BACKEND

    with (
        RunLog(options.out / "log.txt", options.progress) as log,
        lock_state(options.state),
        catch_signals() as stop,
        name_refused_kernels(),
    ):
        videos = [*splits.test.split.videos, *(splits.train.split.videos if spec.train else ())]
        videos += splits.val.split.videos if splits.val else ()
        opened = open_model(spec, options, device, store, videos, weights_digest, log, stop)
        model, frames, tokenize = opened.model, opened.frames, opened.tokenize
        at_once, val_data = options.eval_frames_per_batch, None
        test_data = open_evaluation_data(spec, splits, model, frames, tokenize, at_once)
        if splits.val is not None:
            val_data = open_evaluation_data(spec, splits, model, frames, tokenize, at_once, splits.val.split)
        state, training_data, total, epoch_at = TrainState(model, None), None, 0, {0: 0}
        if spec.train and (start is None or start.train):
            training_data, total = start_training(spec, splits, opened, state)
            epoch_at |= evaluation_steps(training_data.batches.per_epoch, recipe.epochs, recipe.evaluations_per_epoch)

        captions = [test_data.captions, test_data.candidates, val_data and val_data.captions]
        captions += [val_data and val_data.candidates, training_data and training_data.captions]
        texts_once = opened.read_captions_once(captions, options.feature_cache)

        checkpoints = Checkpointer(options.state, identity, log, options.checkpoint_seconds, options.checkpoint_steps)
        if options.resume:
            checkpoints.resume(state, total)
        else:
            checkpoints.clear()

        log.start_bar(state.step, total, spec.cell)
        graphs = (0, 0.0)
        try:
            while True:
                if state.step in epoch_at and not state.evaluated():
                    evaluate_step(spec, state, test_data, val_data, epoch_at[state.step], stop)
                    log.line(result_writer.evaluation_line(state.evaluations[-1]))
                elif state.step < total:
                    train_step(spec, state, training_data, options.micro_batch)
                    if model.compiled and compiled.compiled_graphs() != graphs:
                        graphs = compiled.compiled_graphs()
                        log.line(f"step {state.step}: {graphs[0]} graphs are compiled, {graphs[1]:.0f} s so far")
                    log.step(state.step, total, state.mean_loss() if device.type == "cpu" else None)
                else:
                    break
                stop.raise_if_stopped()
                checkpoints.save_if_due(state)
                if options.watch is not None:
                    options.watch(state)
        except StopRequested as stopped:
            outcome = "the state is saved" if checkpoints.save(state) else "the state could NOT be saved"
            log.line(f"{stopped.signal_name} at step {state.step} of {total}: {outcome}; start again to continue")
            raise

        saved = checkpoints.save(state)
        cost = result_writer.cost_of(spec, state, opened.cached_blocks, texts_once, options.flop_counts)
        video_ms, text_ms = encoding_ms(model, store, splits.test.split.videos, test_data)
        result = Result(
            id=spec.id,
            spec=spec,
            evaluations=state.evaluations,
            selected=selected_evaluations(state.evaluations, recipe.select_by),
            cost=cost.model_copy(update={"video_ms": video_ms, "text_ms": text_ms}),
            data=splits.describe(options.world, store.digest),
            provenance=result_writer.provenance(
                started=started,
                spec_digest=identity["spec"],
                weights_digest=weights_digest,
                device=device,
                rehearsal=options.rehearsal,
            ),
            suspicious=[*suspicions(spec, state.evaluations), *([start.said] if start else [])],
        )
        try:
            result = result_writer.write_results(options.out, result, state, splits.test.split)
        except PetvrError as error:
            kept = f"the trained state is kept in {options.state}" if saved else "its state could not be saved either"
            raise PetvrError(f"{error}; {kept}; make room and start again") from error
        checkpoints.clear()
        for suspicion in result.suspicious:
            log.line(f"WARNING: this run {suspicion}")
        log.line(f"done: {result_writer.evaluation_line(result.at(recipe.selection))} ({recipe.selection})")
    return result


@dataclass(frozen=True)
class OpenedModel:
    """A spec's model on its weights, and what it reads: the frame store, or a cache of a frozen tower's output."""

    model: Model
    frames: FrameStore | FrozenFeatureCache
    cached_blocks: int | None
    tokenize: Tokenizer
    caching: dict[str, Any]  # as open_cache and open_captions take it

    def read_captions_once(self, captions: Sequence[TokenizedCaptions | None], root: Path | None) -> bool:
        """Whether a text tower that is frozen as a whole reads every caption once, for all runs: see open_captions."""
        adapted, known = self.model.adapted, [each for each in captions if each is not None]
        if adapted.frozen_blocks("text") <= adapted.clip.config.text.layers:
            return False
        return all([open_captions(self.model, each, root=root, **self.caching) for each in known])


def open_model(
    spec: RunSpec,
    options: TrainOptions,
    device: torch.device,
    store: FrameStore,
    videos: Sequence[str],
    weights_digest: str,
    log: RunLog,
    stop: StopSignal,
) -> OpenedModel:
    """`videos`: those that a cache is filled with. Raises PetvrError where the store's pictures are not CLIP's size."""
    model = build_model(spec, options.weights, device)
    if options.start is not None:
        model.restore(dict(options.start.tensors))
    for tower in (model.adapted.clip.vision_model, model.adapted.clip.text_model):
        tower.encoder.recompute = options.activation_checkpointing
    if options.compile and spec.train:
        compiled.compile_blocks(model.adapted.clip)
        log.line("compile: true: the first step waits for the compiler, mostly for minutes")
    if store.size != model.adapted.image_size:
        raise PetvrError(f"{store.path}: pictures of {store.size} px, this CLIP reads {model.adapted.image_size} px")
    cache, caching = None, {
        "gib": options.feature_cache_gib, "weights_digest": weights_digest, "log": log,
        "raise_if_stopped": stop.raise_if_stopped,
    }  # fmt: skip
    if options.feature_cache is not None and spec.recipe.augment == "none":
        cache = open_cache(model, store, videos, root=options.feature_cache, **caching)
    tokenize = tokenizer.load_tokenizer(options.weights)
    return OpenedModel(model, cache or store, cache.blocks if cache else None, tokenize, caching)


def start_training(spec: RunSpec, splits: Splits, opened: OpenedModel, state: TrainState) -> tuple[TrainingData, int]:
    """The batches and the steps of the whole training; the state gets its optimiser and room for the losses."""
    recipe, model = spec.recipe, opened.model
    data = open_training_data(spec, splits.train.split, model, opened.frames, opened.tokenize)
    total = data.batches.per_epoch * recipe.epochs
    groups = parameter_groups(model.trained, recipe, model.layer_norm_weights())
    state.optimizer = build_optimizer(groups, recipe, total)
    state.losses = torch.full((total,), math.nan, device=model.device)
    return data, total


def train_step(spec: RunSpec, state: TrainState, data: BatchSource, micro_batch: int | None) -> None:
    """One batch: loss, gradients, clipping, update. The loss is summed on the device and waited for later."""
    start = time.perf_counter()
    model, optimizer, recipe = state.model, state.optimizer, spec.recipe
    seed_torch(model.device, spec.seed, "step", state.step)
    model.set_training(True)
    batch = data.at(state.step, model.device)
    optimizer.zero_grad()
    if micro_batch is not None and micro_batch < len(batch.ids):
        loss = gradient_cache.backward(model, batch, micro_batch)
    else:
        loss = model.loss(batch)
        loss.backward()
        loss = loss.detach()
    if recipe.clip_global is not None:
        clip_all(
            [parameter.grad for parameter in optimizer.parameters if parameter.grad is not None], recipe.clip_global
        )
    optimizer.step()
    if model.logit_scale.requires_grad:
        clamp_logit_scale(model.logit_scale, recipe.logit_scale_max)
    state.loss_sum = loss.double() + (0.0 if state.loss_sum is None else state.loss_sum)
    state.loss_steps += 1
    if state.losses is not None:
        state.losses[state.step] = loss
    state.pairs += len(batch.ids)
    state.step += 1
    state.train_seconds += time.perf_counter() - start


def evaluate_step(
    spec: RunSpec,
    state: TrainState,
    data: EvaluationData,
    val_data: EvaluationData | None,
    epoch: int,
    stop: StopSignal,
) -> None:
    """Rank the test split and validation; note metrics, ranks and, where they are the best yet, the trained tensors."""
    start = time.perf_counter()
    mean_loss = state.mean_loss()  # waits for the steps that the device still works on
    between = time.perf_counter()
    state.train_seconds += between - start
    if mean_loss is not None and not math.isfinite(mean_loss):
        raise PetvrError(f"{spec.id}: the loss is {mean_loss} at step {state.step}: nothing is recorded from here")
    try:
        rankings = evaluate.rank_split(state.model, data, spec.recipe, stop.raise_if_stopped)
        validation = val_data and evaluate.rank_split(state.model, val_data, spec.recipe, stop.raise_if_stopped)
    except PetvrError as error:
        raise PetvrError(f"{spec.id}, step {state.step}, {spec.recipe.precision}: {error}") from error
    state.evaluations.append(
        Evaluation(
            epoch=epoch,
            step=state.step,
            train_loss=mean_loss,
            plain=rankings.plain.directions(),
            dsl=rankings.dsl.directions() if rankings.dsl else None,
            validation=validation.plain.directions() if validation else None,
            released={name: ranking.released() for name, ranking in rankings.by_name().items()},
        )
    )
    state.ranks.append(rankings.arrays())
    state.loss_steps, state.loss_sum = 0, None
    newest = len(state.evaluations) - 1
    rule = spec.recipe.selection
    if rule != "last" and best_evaluation(state.evaluations, spec.recipe.select_by, rule) == newest:
        state.best = state.model.state()
    state.eval_seconds += time.perf_counter() - between


def check_options(options: TrainOptions) -> None:
    """What can be said without any file: PetvrError names the key of the configuration."""
    if options.micro_batch is not None and options.micro_batch < 1:
        raise PetvrError(f"micro_batch: {options.micro_batch} given, allowed: 1 or more")
