"""`petvr figure vop/table_3`: trained parameters against R@1, and the training curves."""

from __future__ import annotations

import argparse

from petvr import planning
from petvr.commands.table import build
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", nargs="+", help="e.g. vop/table_3")


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr import figures

    plan = planning.plan(config)
    for table in build(config, plan, args.table):
        if isinstance(table, PetvrError):
            raise table
        for path in figures.write(table, Layout(config.results).figures):
            print(path)
