"""`petvr summary`: where the tables are, how complete they are, and one of them on the screen."""

from __future__ import annotations

import argparse
import sys

from petvr import planning
from petvr.commands.table import measured_tables
from petvr.config import Config
from petvr.data import availability
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.screen import screen


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", help="the table to print (default: the one with the most rows done)")


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr.report import tables

    plan, layout, console = planning.plan(config), Layout(config.results), screen()
    if args.table:
        plan.table(args.table)
    read, rule = tables.result_reader(config.results), None if config.rule == "paper" else config.rule
    not_run = availability.not_run(config, plan)
    done = {name: tables.completeness(plan, name, read, rule, not_run) for name in plan.tables}
    fullest = max(done, key=lambda name: done[name][0])
    for shown in measured_tables(config, plan, [args.table or fullest], counted=True):
        if isinstance(shown, PetvrError):
            print(f"petvr: error: {shown}", file=sys.stderr)
        else:
            tables.show_table(shown, console, notes=False)
    console.print()
    for name, (rows, total) in done.items():
        console.print(f"  {layout.table(name, 'html')}  {rows} of {total} rows done", highlight=False)
    flag = f"CONFIG={args.configfile[0]}" if args.configfile else ""
    console.print(f"\nAll tables:  {layout.tables / 'index.html'}  (also .md, .tex, .csv)", highlight=False)
    console.print(f"MLflow:      make mlflow {flag}", highlight=False)
