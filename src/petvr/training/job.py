"""One run from its spec to `result.json`: builds, resumes, trains, evaluates, writes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

import torch

from petvr.clip import tokenizer
from petvr.clip import weights as clip_weights
from petvr.data.datasets import Dataset
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.result import Result
from petvr.retrieval import dsl
from petvr.spec import RunSpec
from petvr.training import (
    checkpoint,
    data,
    evaluate,
    groups,
    model,
    optim,
    output,
    pool,
    precision,
    prefix,
    provenance,
    select,
)
from petvr.training.loop import Loop, Training
from petvr.training.machine import locked, memory, prepare
from petvr.training.prefix import Cache
from petvr.training.reader import Ahead, Reader
from petvr.training.report import Report
from petvr.training.saver import Saver, take_up
from petvr.training.splits import Checked, Splits, open_splits
from petvr.training.stop import Checkpointed, Interrupted, Stop, listening
from petvr.training.texts import Texts

CHECKPOINT_SECONDS = 600.0


def run(
    spec: RunSpec,
    *,
    weights: Path,
    store: Path,
    dataset: Dataset,
    out: Path,
    state: Path,
    world: Literal["real", "synthetic"] = "real",
    resume: bool = True,
    missing: Literal["strict", "record"] = "strict",
    checked: Checked | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    checkpoint_every: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int | None = None,
    pictures: int | None = None,
    chunk: int | None = None,
    prefixes: Path | None = None,
    prefix_gib: float = 0.0,
) -> Result:
    """Train and evaluate `spec`, or only evaluate it where `spec.train` is False; write result.json into `out` last.

    weights: canonical CLIP folder; store: frame store; state: folder of checkpoints, emptied once the result exists.
    missing: what to do about videos that the store lacks. checked: what manifest and lock say of the data set.
    device: "cpu", "cuda", ...; None takes a GPU if there is one.
    threads: CPU threads; None takes PETVR_THREADS or torch's choice. progress: None draws a bar on a terminal only.
    A checkpoint is written every `checkpoint_every` seconds (and every `checkpoint_steps` steps, where given), and when
    SIGTERM or SIGUSR2 asks the run to stop; the process then ends with EXIT_CHECKPOINTED.
    pictures: how many an evaluation encodes at once; chunk: how many samples of a batch are encoded and scored at once
    in training, the loss staying that of the whole batch (None: all). Memory depends on both, results do not.
    prefixes: folder of caches of the vision tower's frozen beginning, prefix_gib: what one of them may take.
    Beside result.json: ranks.npz, adapter.safetensors (petvr.training.output says of what), log.txt.
    Raises PetvrError for bad input, missing videos, a diverged loss, and where something cannot be written.
    """
    started = provenance.now()
    check(spec)
    if chunk is not None and chunk < 1:
        raise PetvrError(f"chunk: {chunk} given, allowed: 1 or more")
    place = prepare(device, threads)
    frames = FrameStore(store)
    splits = open_splits(spec, dataset, frames, missing, checked)
    identity = {
        "spec": spec.digest(),
        "weights": clip_weights.digest(weights),
        "frames": frames.digest,
        "data": splits.digest(),
        "device": place.type,
    }
    with Report(out / "log.txt", progress) as report, locked(state), listening() as stop:
        cache = Cache(prefixes, prefix_gib, identity["weights"], report) if prefixes else None
        loop = build(spec, weights, frames, splits, place, stop, pictures, chunk, cache)
        if resume:
            take_up(loop, state, identity, report)
        else:
            checkpoint.clear(state)
        saver = Saver(loop, state, identity, report, checkpoint_every, checkpoint_steps)
        work(loop, saver, report, stop)
        kept = saver.save()
        result = output.result(
            spec, loop, splits, world, frames.digest, memory(place),
            provenance.make(
                started=started, spec_digest=identity["spec"], weights_digest=identity["weights"], device=place
            ),
        )  # fmt: skip
        try:
            output.write(out, result, loop, splits)
        except PetvrError as error:
            told = f"the trained state is kept in {state}" if kept else "its state could not be saved either"
            raise PetvrError(f"{error}; {told}; make room and start again") from error
        checkpoint.clear(state)
        report.line(f"done: {output.line(result.at(spec.recipe.selection))} ({spec.recipe.selection})")
    return result


def check(spec: RunSpec) -> None:
    """What can be said without any file: PetvrError names the key of the recipe."""
    recipe = spec.recipe
    precision.check(recipe.precision)
    select.check(recipe.select_by)
    if recipe.dsl != "none":
        dsl.variant(recipe.dsl)
        dsl.check_temperature(recipe.dsl_temperature)
    for key in ("epochs", "batch", "frames"):
        if getattr(recipe, key) < (0 if key == "epochs" else 1):
            raise PetvrError(f"{spec.id}: recipe.{key}: {getattr(recipe, key)} given, allowed: 1 or more")


def build(
    spec: RunSpec,
    weights: Path,
    frames: FrameStore,
    splits: Splits,
    place: torch.device,
    stop: Stop,
    pictures: int | None,
    chunk: int | None = None,
    cache: Cache | None = None,
) -> Loop:
    recipe = spec.recipe
    tokenize = tokenizer.load(weights)
    trained = model.build(spec, weights, place)
    if frames.size != trained.adapted.image_size:
        raise PetvrError(
            f"{frames.path}: pictures of {frames.size} px, this CLIP reads {trained.adapted.image_size} px"
        )
    test = splits.test.split
    texts = Texts.of(test.captions, tokenize, recipe.words)
    begun = None
    if cache is not None and recipe.augment == "none":
        videos = [*test.videos, *(splits.train.split.videos if spec.train else ())]
        try:
            begun = prefix.open_for(trained, frames, frames.rows(videos), cache, stop.pause)
        except Interrupted as asked:  # what was computed stays
            raise Checkpointed(stop.name) from asked
    reader = Reader(frames, test.videos, place, begun)
    sentences = pool.captions(trained.adapted.pool, splits.train.split.captions) if trained.adapted.pool else None
    candidates = Texts.of(sentences, tokenize, recipe.words) if sentences else None

    def rank():
        return evaluate.rank(
            trained, texts, test.caption_video, reader, recipe, pictures=pictures, pause=stop.pause, pool=candidates
        )

    training = training_part(spec, trained, frames, splits, tokenize, place, begun) if spec.train else None
    return Loop(spec, trained, rank, training, keep_best=recipe.selection == "best_on_test", chunk=chunk)


def training_part(
    spec: RunSpec,
    trained: model.Model,
    frames: FrameStore,
    splits: Splits,
    tokenize: tokenizer.Tokenizer,
    place: torch.device,
    begun: prefix.Prefix | None,
) -> Training:
    recipe, split = spec.recipe, splits.train.split
    if not trained.trained:
        raise PetvrError(f"{spec.id}: method '{spec.method}' trains nothing under this recipe; set train: false")
    batches = data.Batches(
        split.caption_video,
        policy=recipe.captions,
        order=recipe.data_order,
        batch=recipe.batch,
        drop_last=recipe.drop_last,
        seed=spec.seed,
    )
    texts = Texts.of(split.captions, tokenize, recipe.words)
    total = batches.per_epoch * recipe.epochs
    optimizer = optim.build(groups.make(trained.trained, recipe, trained.norms()), recipe, total)
    reader = Ahead(Reader(frames, split.videos, place, begun), lambda step: batches.at(step).videos, total)
    return Training(batches, texts, reader, optimizer)


def work(loop: Loop, saver: Saver, report: Report, stop: Stop) -> None:
    """Until the loop is done. Raises Checkpointed when a signal asked to stop."""
    report.begin(loop.progress.step, loop.total, loop.spec.cell)
    while not loop.done:
        evaluating = loop.due
        with contextlib.suppress(Interrupted):
            loop.advance()
            if evaluating:
                report.line(output.line(loop.progress.evaluations[-1]))
            else:
                loss = loop.mean_loss() if loop.model.device.type == "cpu" else None
                report.step(loop.progress.step, loop.total, loss)
        if stop.name:
            kept = saver.save()
            told = "the state is saved" if kept else "the state could NOT be saved"
            report.line(f"{stop.name} at step {loop.progress.step} of {loop.total}: {told}; start again to continue")
            raise Checkpointed(stop.name)
        if saver.due():
            saver.save()
