"""`petvr track`: bring results into MLflow. The store is a view: delete it and call this to have it again."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from petvr import atomic, planning
from petvr.config import Config
from petvr.layout import Layout
from petvr.papers.plan import Plan

if TYPE_CHECKING:
    from petvr.report.tracking import Status


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table", nargs="*", help="only the runs of these tables, e.g. vop/table_3 (default: everything)"
    )
    parser.add_argument("--again", action="store_true", help="look into the store even where nothing seems new")


def run(args: argparse.Namespace, config: Config) -> None:
    """A store that is away or broken is a warning: the results are safe, and nothing that waits for this is stopped."""
    plan = planning.plan(config)
    views = [planning.table(plan, name) for name in args.table]
    status = sync(config, plan, [run for view in views for run in view.runs] if views else None, args.again)
    for broken in status.broken:
        print(f"petvr: warning: {broken}", file=sys.stderr)
    if not status.ok:
        print(f"petvr: warning: {status.warning}", file=sys.stderr)
    line = (
        f"{status.uri}: {status.logged} runs logged, {status.unchanged} unchanged, {status.removed} replaced or removed"
    )
    print(line)
    for view in views:
        atomic.write_text(Layout(config.results).mlflow / f"{view.id}.synced", (status.warning or line) + "\n")


def sync(config: Config, plan: Plan, runs: list[str] | None = None, again: bool = False) -> Status:
    """MLflow as the results have it; tags name the tables each cell stands in."""
    from petvr.report import tracking

    return tracking.sync(config.results, config.tracking_uri, config.tracking.experiment, plan.tables_of, runs, again)
