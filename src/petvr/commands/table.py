"""`petvr table vop/table_3`: a table from the results that are there, as Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from petvr import planning, workflow
from petvr.arguments import alone
from petvr.config import Config
from petvr.data import availability, catalogue
from petvr.data.manifest import lock
from petvr.data.manifest.available import Verdict
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers import Cell, Table
from petvr.papers.plan import Plan
from petvr.papers.table import OWN
from petvr.spec import Recipe
from petvr.tuning import trials_report
from petvr.tuning.study import studies

if TYPE_CHECKING:
    from petvr.report.tables import MeasuredTable
    from petvr.report.tables.aggregate import Counter

RULES = ("paper", "best_on_test", "best_on_val", "last")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", nargs="*", help="e.g. vop/table_3")
    parser.add_argument("--all", action="store_true", help="every table of the configuration")
    parser.add_argument("--rule", choices=RULES, help="selection rule (default: `rule` of the configuration)")
    parser.add_argument(
        "--against",
        metavar="ROW",
        help="the row that others are compared with; default: as configured, else full tuning",
    )
    parser.add_argument("--show", action="store_true", help="print on the screen and write nothing")


def run(args: argparse.Namespace, config: Config) -> int:
    from petvr.report import tables

    alone(args, "all", "table")
    plan = planning.plan(config)
    if not args.table and not args.all:
        raise PetvrError(f"name a table or say --all; tables: {', '.join(plan.tables)}")
    not_run, refused = availability.not_run(config, plan), 0
    names = list(plan.tables) if args.all else args.table
    unfinished = set(workflow.unfinished_tables(config, plan, names, not_run))
    for built in measured_tables(config, plan, names, args.rule, counted=True, against=args.against):
        if isinstance(built, PetvrError):  # the other tables are built all the same
            print(f"petvr: error: {built}", file=sys.stderr)
            refused += 1
        elif args.show:
            tables.show_table(built)
        else:
            partial = built.planned.id in unfinished
            print(tables.write_table(built, Layout(config.results).tables, partial=partial)[0])
    return 2 if refused else 0


def measured_tables(
    config: Config,
    plan: Plan,
    names: Iterable[str],
    rule: str | None = None,
    *,
    counted: bool = False,
    against: str | None = None,
) -> Iterator[MeasuredTable | PetvrError]:
    """The tables of these names, each read from the same results; a PetvrError stands for one that is refused."""
    from petvr.report import tables

    rule = rule or config.rule
    read = tables.result_reader(config.results)
    lacking = availability.undelivered(config, plan)
    not_run = availability.not_run(config, plan, lacking)
    locks = {name: lock.hash_of(catalogue.lock_file(config, name)) for name in catalogue.chosen_datasets(config)}
    layout, known = Layout(config.results), list(studies(config, list(plan.runs.values())).values())
    best = {f"{OWN}/{name}": run for name, run in trials_report.best_of_own(layout, config, known).items()}
    for name in names:
        chosen = None if rule == "paper" else rule
        try:
            yield tables.measure_table(
                plan,
                name,
                config.results,
                rule=chosen,
                read=read,
                rerun=config.snakemake,
                locks={dataset: frozen for dataset, frozen in locks.items() if frozen},
                not_run=not_run,
                count=size_counter(config) if counted else None,
                unavailable={dataset: _why(one) for dataset, one in lacking.items()},
                against=against,
                intervals=config.intervals,
                search=trials_report.search_command(best[name]) if name in best else "",
            )
        except PetvrError as error:
            yield error


def size_counter(config: Config) -> Counter:
    """Sizes as the paper of a table counts them; torch is imported when one is new."""
    layout = Layout(config.results)

    def count(table: Table, cell: Cell, recipe: Recipe, metric: str, printed: str) -> tuple[float, str] | None:
        from petvr.clip.config import GEOMETRIES, read_config
        from petvr.costs import params

        published = cell.backbone in GEOMETRIES
        weights = layout.weights(cell.backbone)
        if not published and not (weights / "config.json").exists():
            return None
        sizes = GEOMETRIES[cell.backbone] if published else read_config(weights)
        number, check = params.size_in_table(table, cell, recipe, metric, printed, sizes)
        return number, check if published else ""  # beside another backbone's the printed size says nothing

    return count


def _why(verdict: Verdict) -> str:
    return f"{verdict.reason} ({verdict.more})" if verdict.more else verdict.reason
