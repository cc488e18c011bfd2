"""`petvr train RUN`: train and evaluate one run; a killed one continues from its last checkpoint."""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from petvr import atomic, planning
from petvr.arguments import alone, beside, threads
from petvr.atomic import HeldElsewhere
from petvr.config import Config
from petvr.data import catalogue
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.rehearsal import parts
from petvr.run_ids import spec_of
from petvr.spec import RunSpec
from petvr.status import RunState, status_of

if TYPE_CHECKING:
    from pathlib import Path

    from petvr.training.data import DatasetCheck
    from petvr.training.options import TrainOptions


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="e.g. vop/msrvtt-7k/vit-b-32/vop/seed-0; any method, setting and seed may be named")
    parser.add_argument("--spec", help="the digest the workflow expects; another one means files changed meanwhile")
    parser.add_argument("--threads", type=threads, help="CPU threads (default: all)")
    parser.add_argument(
        "--wait", action="store_true", help="where another process is at this run, wait for it rather than refuse"
    )
    parser.add_argument(
        "--start", metavar="FOLDER", help="begin with the tensors of a shared folder, a hub id or PEFT's adapter format"
    )
    parser.add_argument("--evaluate-only", action="store_true", help="with --start: show those, train nothing")
    parser.add_argument("--fresh", action="store_true", help="forget the checkpoint and start anew")


def run(args: argparse.Namespace, config: Config) -> int:
    beside(args, "start", evaluate_only=False)
    alone(args, "wait", "start", "fresh")  # it takes a result that is there
    layout = Layout(config.results)
    plan = planning.plan(config)
    spec = spec_of(config, args.run, plan)
    if args.spec and args.spec != spec.protocol_digest():
        raise PetvrError(f"{args.run}: its recipe or code changed since the workflow was started; start it again")
    if spec.undecided:
        raise PetvrError(
            f"{spec.cell}: {', '.join(spec.tuned)}: not chosen yet; snakemake tune_{spec.dataset}, or commit a lock of "
            "petvr tune freeze"
        )
    if args.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
    from petvr.report.tracking import live
    from petvr.training.run import train

    if args.wait and _finished_elsewhere(layout, spec):
        print(f"{spec.id}: done by a process of an earlier start")
        return 0
    start = None
    if args.start:
        from petvr.library.loading import start_tensors

        start = start_tensors(args.start, spec, layout.weights(spec.backbone), not args.evaluate_only)
    feed, finished = None, False
    if live.shows_live(config.tracking_uri):
        feed = live.LiveFeed(spec, layout.results, config.tracking_uri, config.tracking.experiment, plan.tables_of)
    try:
        options = replace(train_options(config, spec, args.threads), start=start, resume=not args.fresh, watch=feed)
        result = train(spec, options)
        finished = True
    except HeldElsewhere:
        if not args.wait:
            raise
        return run(args, config)  # another process was quicker
    except Exception as error:
        _record(layout, args.run, error)
        raise
    finally:
        if feed is not None:
            feed.close(finished)
    layout.failure(spec).unlink(missing_ok=True)
    if spec.tuned:
        atomic.write_text(layout.kept_result(spec), layout.result(spec).read_text(encoding="utf-8"))
    date_inputs(options, layout.manifest(spec.dataset))
    best = result.at(spec.recipe.selection).plain
    print(f"{args.run}: t2v R@1 {best['t2v']['R@1']:.1f}, v2t R@1 {best['v2t']['R@1']:.1f} ({spec.recipe.selection})")
    return 0


def train_options(config: Config, spec: RunSpec, threads: int | None) -> TrainOptions:
    """Where a run's files lie and how it uses the machine, as the configuration has it."""
    from petvr.training.options import TrainOptions

    layout = Layout(config.results)
    return TrainOptions(
        weights=layout.weights(spec.backbone),
        store=catalogue.frame_store(config, spec),
        dataset=catalogue.open_dataset(config, spec.dataset),
        out=layout.run(spec),
        state=layout.state(spec),
        world="synthetic" if catalogue.is_generated(config, spec.dataset) else "real",
        missing=config.missing,
        rehearsal=parts.read_verdict(layout.rehearsed),
        checked=_dataset_check(config, layout, spec.dataset),
        device=None if config.device == "auto" else config.device,
        threads=threads,
        checkpoint_seconds=config.checkpoint_minutes * 60,
        deterministic=config.deterministic,
        compile=config.compile,
        activation_checkpointing=config.activation_checkpointing,
        micro_batch=config.micro_batch,
        feature_cache=layout.feature_cache,
        flop_counts=layout.flop_counts,
        feature_cache_gib=config.feature_cache_gib,
    )


def date_inputs(options: TrainOptions, manifest: Path) -> None:
    """None of a run's or a trial's inputs is newer than what was made of them: see atomic.bring_to_now."""
    atomic.bring_to_now([options.weights / "model.safetensors", options.store / "index.json", manifest])


def _finished_elsewhere(layout: Layout, spec: RunSpec) -> bool:
    """Whether a process that a killed workflow left at this run brought its result, now or before this start; or
    whether tuning was done again, for which the workflow removed the result, and chose the same.
    """
    atomic.wait_until_free(layout.lock(spec), spec.id)
    if spec.tuned and layout.kept_result(spec).exists() and not layout.result(spec).exists():
        atomic.write_text(layout.result(spec), layout.kept_result(spec).read_text(encoding="utf-8"))
    if layout.finished(spec).exists():
        layout.run(spec).mkdir(parents=True, exist_ok=True)
        os.replace(layout.finished(spec), layout.result(spec))
    state = status_of(layout, spec).state
    if state is RunState.STALE:
        layout.result(spec).unlink()
    return state is RunState.DONE


def _dataset_check(config: Config, layout: Layout, name: str) -> DatasetCheck:
    """What `petvr data` found and what was frozen of it. A run by hand may do without; a lock is never ignored."""
    from petvr.data.manifest import files, identity, lock
    from petvr.training.data import DatasetCheck

    path = catalogue.lock_file(config, name)
    manifest, frozen = files.read_summary(layout, name), lock.read_lock(path)
    if frozen is not None and manifest is None:
        raise PetvrError(f"{path}: {name} is frozen, but was not compared with it here: petvr data check {name}")
    if manifest is None:
        return DatasetCheck()
    used = [split for split in ("train", "test") if split in manifest.splits]
    return DatasetCheck(
        identity=lambda left_out: identity.identity(manifest.presence, left_out),
        lock=frozen.hash if frozen else "",
        captions={split: manifest.splits[split]["digest"] for split in used},
        usable={split: frozen.usable(split) for split in used} if frozen else {},
        status={video: status for split in used for video, status in manifest.left_out.get(split, {}).items()},
    )


def _record(layout: Layout, run: str, error: Exception) -> None:
    """Leave the reason for the tables; a disk that is full must not hide the error itself."""
    with contextlib.suppress(PetvrError):
        atomic.write_json(layout.failure(run), {"run": run, "error": " ".join(str(error).split())[:500]})
