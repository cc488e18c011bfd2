"""`petvr show RUN`: everything one result.json holds, for a person."""

from __future__ import annotations

import argparse

from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import Result
from petvr.run_ids import spec_of
from petvr.status import RunState, status_of, what_to_do


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run id, e.g. vop/msrvtt-7k/tiny/vop@tokens=8/seed-0, or a path to result.json")
    parser.add_argument("--guesses", action="store_true", help="of the values in force, only those that are guesses")


def run(args: argparse.Namespace, config: Config) -> None:
    layout = Layout(config.results)
    if args.run.endswith(".json"):
        result = Result.read(args.run)
    else:
        run_id = args.run
        status = status_of(layout, spec_of(config, run_id))
        if status.result is None:
            raise PetvrError(what_to_do(layout, run_id, status, config.snakemake))
        if status.state is RunState.STALE:
            print(what_to_do(layout, run_id, status, config.snakemake))
        result = status.result
    from petvr.report import tables

    tables.show_run(result, guesses_only=args.guesses)
