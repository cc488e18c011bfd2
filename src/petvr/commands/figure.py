"""`petvr figure vop/table_3`: trained parameters against R@1, and the training curves; or R@1 against costs."""

from __future__ import annotations

import argparse

from petvr import planning
from petvr.commands.table import measured_tables
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout

KINDS = ("scatter", "curves", "costs")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", nargs="+", help="e.g. vop/table_3")
    parser.add_argument(
        "--kind",
        action="append",
        choices=KINDS,
        help="default: as tables.yaml says",
    )
    parser.add_argument("--costs", metavar="FILE", help="what petvr costs --format csv wrote, for --kind costs")
    parser.add_argument("--format", choices=("svg", "png", "pdf"), default="svg")


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr.report import figures

    plan = planning.plan(config)
    for table in measured_tables(config, plan, args.table):
        if isinstance(table, PetvrError):
            raise table
        kinds = args.kind or (("costs",) if args.costs else table.planned.figures)
        for path in figures.write_figures(table, Layout(config.results).figures, kinds, args.format, args.costs):
            print(path)
