"""`petvr train RUN`: train and evaluate one run; a killed one continues from its last checkpoint."""

from __future__ import annotations

import argparse
import contextlib
import os

from petvr import atomic, datasets, planning
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="e.g. vop/msrvtt-7k/vit-b-32/vop/seed-0; any method, setting and seed may be named")
    parser.add_argument("--spec", help="the digest the workflow expects; another one means files changed meanwhile")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--fresh", action="store_true", help="forget the checkpoint and start anew")


def run(args: argparse.Namespace, config: Config) -> int:
    layout = Layout(config.results)
    spec = planning.spec(config, args.run)
    if args.spec and args.spec != spec.digest():
        raise PetvrError(f"{args.run}: its recipe or code changed since the workflow was started; start it again")
    if args.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
    from petvr import training

    folder = datasets.folder(spec.dataset)
    try:
        result = training.run(
            spec,
            weights=layout.weights(spec.backbone),
            store=planning.store(config, spec),
            dataset=datasets.load(spec.dataset, config.folder(folder), config.videos(folder)),
            out=layout.run(spec),
            state=layout.state(spec),
            world="synthetic" if config.world else "real",
            missing=config.missing,
            device=None if config.device == "auto" else config.device,
            threads=args.threads,
            checkpoint_every=config.checkpoint_minutes * 60,
            chunk=config.chunk,
            resume=not args.fresh,
        )
    except Exception as error:
        _record(layout, args.run, error)
        raise
    layout.failure(spec).unlink(missing_ok=True)
    best = result.at(spec.recipe.selection).plain
    print(f"{args.run}: t2v R@1 {best['t2v']['R@1']:.1f}, v2t R@1 {best['v2t']['R@1']:.1f} ({spec.recipe.selection})")
    return 0


def _record(layout: Layout, run: str, error: Exception) -> None:
    """Leave the reason for the tables; a disk that is full must not hide the error itself."""
    with contextlib.suppress(PetvrError):
        atomic.write_json(layout.failure(run), {"run": run, "error": " ".join(str(error).split())[:500]})
