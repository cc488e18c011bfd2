"""`petvr index`: the page of all tables; `petvr index --site`: the front page of the results."""

from __future__ import annotations

import argparse

from petvr import planning
from petvr.commands.table import measured_tables
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers import shown


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--site", action="store_true", help="results/index.html instead: links to all that is there")


def run(args: argparse.Namespace, config: Config) -> None:
    plan = planning.plan(config)
    if args.site:
        from petvr.report.site import write_front_page

        titles = {table.paper: table.paper_title for table in plan.tables.values()}
        print(write_front_page(titles, plan.tables, shown.figures(plan), Layout(config.results)))
        return
    from petvr.report import tables

    built = [table for table in measured_tables(config, plan, plan.tables) if not isinstance(table, PetvrError)]
    for path in tables.write_index(built, Layout(config.results).tables):
        print(path)
