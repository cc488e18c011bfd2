"""`petvr cells --format csv`: every run of the configuration and how far it is."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys

from petvr import planning
from petvr.config import Config
from petvr.layout import Layout
from petvr.papers.cells import cells_csv
from petvr.status import RunState, status_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("csv", "json"), default="csv")
    parser.epilog = "status: " + "; ".join(f"{state} = {state.meaning}" for state in RunState)


def run(args: argparse.Namespace, config: Config) -> None:
    plan, layout = planning.plan(config), Layout(config.results)
    text = cells_csv(plan, lambda run: status_of(layout, plan.runs[run]).state)
    if args.format == "json":
        json.dump(list(csv.DictReader(io.StringIO(text))), sys.stdout, indent=1)
        print()
    else:
        sys.stdout.write(text)
