"""`petvr index`: the page that links all tables and says how complete each is."""

from __future__ import annotations

import argparse

from petvr import planning
from petvr.commands.table import measured_tables
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr.report import tables

    plan = planning.plan(config)
    built = [table for table in measured_tables(config, plan, plan.tables) if not isinstance(table, PetvrError)]
    for path in tables.write_index(built, Layout(config.results).tables):
        print(path)
