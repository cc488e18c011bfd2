"""A trial of petvr.tuning: a run that goes to the end of one rung, under the schedule of the whole training, and is
judged on validation alone. The next rung goes on from its checkpoint, so that the last one is an undisturbed run."""

from __future__ import annotations

import hashlib
import time

from petvr.clip import weights as clip_weights
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.result import Directions, TrialRecord
from petvr.retrieval.ranking import NanScores
from petvr.spec import RunSpec
from petvr.training import evaluate, result_writer
from petvr.training.checkpoint import Checkpointer, TrainState, lock_state
from petvr.training.data import Splits, open_splits
from petvr.training.determinism import keep_freed_memory, name_refused_kernels, prepare_device
from petvr.training.log import RunLog
from petvr.training.model import Model
from petvr.training.options import TrainOptions
from petvr.training.run import check_options, open_model, start_training, train_step
from petvr.training.signals import StopRequested, catch_signals


def train_trial(spec: RunSpec, options: TrainOptions, rungs: tuple[int, ...], rung: int, axes: set[str]) -> TrialRecord:
    """Train to the end of epoch `rungs[rung]`; the record is kept as rung-<n>.json in the folder `options.out`.

    One that is there and stands on the same spec, weights, frames and captions is given back: nothing is trained twice.
    A trial whose loss is no number goes on no further. Stops as petvr.training.run.train does. axes: the tuned recipe
    fields; PetvrError where one governs no trained parameter, or a rate that is left to tuning is none of them.
    """
    check_options(options)
    device = prepare_device(options.device, options.threads, options.deterministic)
    keep_freed_memory(device)
    store = FrameStore(options.store)
    splits = open_splits(spec, options.dataset, store, options.missing, options.checked, tuning=True)
    assert splits.val is not None  # a trial's recipe selects by it
    weights_digest = clip_weights.digest(options.weights)
    identity = {
        "spec": spec.digest(), "weights": weights_digest, "frames": store.digest, "data": _captions(splits),
        "device": device.type,
    }  # fmt: skip
    kept = options.out / f"rung-{rung}.json"
    if kept.exists() and (record := TrialRecord.read(kept)).identity == identity and record.epoch == rungs[rung]:
        return record
    with (
        RunLog(options.out / "log.txt", options.progress) as log,
        lock_state(options.state),
        catch_signals() as stop,
        name_refused_kernels(),
    ):
        videos = [*splits.train.split.videos, *splits.val.split.videos]
        opened = open_model(spec, options, device, store, videos, weights_digest, log, stop)
        _check_axes(spec, opened.model, axes)
        val = evaluate.open_evaluation_data(
            spec, splits, opened.model, opened.frames, opened.tokenize, options.eval_frames_per_batch, splits.val.split
        )
        state = TrainState(opened.model, None)
        data, total = start_training(spec, splits, opened, state)
        assert state.losses is not None
        opened.read_captions_once([val.captions, val.candidates, data.captions], options.feature_cache)
        ends = [0, *(data.batches.per_epoch * epoch for epoch in rungs)]
        first, last = ends[rung], ends[rung + 1]
        checkpoints = Checkpointer(options.state, identity, log, options.checkpoint_seconds, options.checkpoint_steps)
        checkpoints.resume(state, total, at_most=last)
        goes_on = bool(state.losses[:first].isfinite().all())
        log.start_bar(state.step, last, spec.cell)
        validation, diverged = None, ""
        try:
            while state.step < last and (goes_on or state.step < first):
                train_step(spec, state, data, options.micro_batch)
                log.step(state.step, last, None)
                stop.raise_if_stopped()
                checkpoints.save_if_due(state)
            start = time.perf_counter()
            finite = state.losses[: state.step].isfinite()  # waits for the device
            state.train_seconds += time.perf_counter() - start
            if not checkpoints.save(state):
                raise PetvrError(f"{options.state}: the trial cannot be saved for its next rung; make room")
            start = time.perf_counter()
            if not finite.all():
                diverged = f"the loss of step {int(finite.logical_not().nonzero()[0]) + 1} is no number"
            else:
                try:
                    ranked = evaluate.rank_split(opened.model, val, spec.recipe, stop.raise_if_stopped)
                    validation = ranked.plain.directions()
                except NanScores as error:
                    diverged = str(error)
        except StopRequested as stopped:
            outcome = "the state is saved" if checkpoints.save(state) else "the state could NOT be saved"
            log.line(f"{stopped.signal_name} at step {state.step} of {last}: {outcome}; start again to continue")
            raise
        record = TrialRecord(
            id=identity["spec"], spec=spec, rung=rung, epoch=rungs[rung], first_step=min(first, state.step),
            step=state.step, train_loss=None if diverged else float(state.losses[first:last].double().mean()),
            validation=validation, score=validation and mean_rsum(validation), diverged=diverged, identity=identity,
            train_seconds=state.train_seconds, eval_seconds=time.perf_counter() - start, resumed=state.resumed,
            hardware=result_writer.hardware(device),
        )  # fmt: skip
        record.write(kept)
        log.line(f"epoch {record.epoch}, step {record.step}: validation {diverged or f'RSum {record.score:.2f}'}")
    return record


def mean_rsum(validation: Directions) -> float:
    """By what trials are compared: R@1 + R@5 + R@10 in per cent, the mean of both directions."""
    return (validation["t2v"]["RSum"] + validation["v2t"]["RSum"]) / 2


def _captions(splits: Splits) -> str:
    """Of ids and captions of what a trial reads."""
    assert splits.val is not None
    return hashlib.sha256((splits.train.split.digest() + splits.val.split.digest()).encode()).hexdigest()[:16]


def _check_axes(spec: RunSpec, model: Model, axes: set[str]) -> None:
    trained = {f"lr_{part}" for name, (one, part) in model.trained.items() if one is not model.logit_scale}
    idle = sorted(key for key in axes if key.startswith("lr_") and key not in trained)
    left = sorted(key for key in trained - axes if spec.sources[f"recipe.{key}"].origin == "tuned")
    if idle or left:
        what = f"trains nothing by {', '.join(idle)}" if idle else f"trains by {', '.join(left)}, which nobody tunes"
        raise PetvrError(f"method '{spec.method}' {what}: TUNE of its file must name {', '.join(sorted(trained))}")
