"""`petvr world msrvtt`: generate a data set of the synthetic world."""

from __future__ import annotations

import argparse

from petvr.arguments import threads
from petvr.config import Config
from petvr.errors import PetvrError, unknown
from petvr.world.layouts import KINDS


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="the data set's folder: " + ", ".join(KINDS))
    parser.add_argument("--workers", type=threads, default=2, help="processes that render (default 2)")


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr import world

    if config.world is None:
        raise PetvrError("the configuration has no section 'world': the synthetic world belongs to the demo (-c demo)")
    if args.folder not in config.world.sizes:
        raise unknown("data set of the world", args.folder, config.world.sizes)
    world.generate(
        args.folder,
        config.folder(args.folder),
        sizes=config.world.sizes[args.folder].model_dump(),
        seed=config.world.seed,
        workers=args.workers,
    )
