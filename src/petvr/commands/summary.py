"""`petvr summary`: where the tables are, how complete they are, and one of them on the screen."""

from __future__ import annotations

import argparse

from petvr import planning
from petvr.commands.table import measured_tables
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.screen import screen


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", help="the table to print (default: the one with the most rows done)")


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr.report import tables

    plan, layout, console = planning.plan(config), Layout(config.results), screen()
    built = [table for table in measured_tables(config, plan, plan.tables) if not isinstance(table, PetvrError)]
    if args.table:
        planning.table(plan, args.table)
    chosen = [t for t in built if t.planned.id == args.table] or sorted(built, key=lambda t: -t.completeness[0])
    for shown in measured_tables(config, plan, [one.planned.id for one in chosen[:1]], counted=True):
        if not isinstance(shown, PetvrError):
            tables.show_table(shown, console, notes=False)
    console.print()
    for table in built:
        done, total = table.completeness
        console.print(f"  {layout.table(table.planned.id, 'html')}  {done} of {total} rows done", highlight=False)
    flag = "CONFIG=demo" if config.world else ""
    console.print(f"\nAll tables:  {layout.tables / 'index.html'}  (also .md, .tex, .csv)", highlight=False)
    console.print(f"MLflow:      make mlflow {flag}", highlight=False)
