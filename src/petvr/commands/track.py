"""`petvr track`: bring results into MLflow. The store is a view: delete it and call this to have it again."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import petvr
from petvr import atomic
from petvr.config import Config
from petvr.layout import Layout

if TYPE_CHECKING:
    from petvr.papers.plan import Plan
    from petvr.report.tracking import Status


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table", nargs="*", help="only the runs of these tables, e.g. vop/table_3 (default: everything)"
    )
    parser.add_argument("--again", action="store_true", help="look into the store even where nothing seems new")


def run(args: argparse.Namespace, config: Config) -> None:
    """A store that is away or broken is a warning: the results are safe, and nothing that waits for this is stopped."""
    views = []
    status = None if args.table or args.again else _unchanged(config)
    if status is None:
        from petvr import planning  # reading all papers takes longer than seeing that nothing is new

        plan = planning.plan(config)
        views = [plan.table(name) for name in args.table]
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

    return tracking.sync(
        config.results, config.tracking_uri, config.tracking.experiment, plan.tables_of, runs, again, _source(config)
    )


def _unchanged(config: Config) -> Status | None:
    from petvr.report import tracking

    return tracking.unchanged(config.results, config.tracking_uri, config.tracking.experiment, _source(config))


def _source(config: Config) -> str:
    """Of what a plan is made from: the configuration, and petvr's own files by size and time."""
    home = Path(petvr.__file__).parent
    files = sorted(path for path in home.rglob("*") if path.suffix in (".py", ".yaml", ".csv"))
    parts = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join([config.model_dump_json(), *parts]).encode()).hexdigest()[:16]
