"""`petvr figure rap/figure_2`, or a table's own figures by its name: SVG and PNG, with their values as CSV."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from typing import TYPE_CHECKING

from petvr import planning
from petvr.arguments import alone, named_path
from petvr.commands.table import measured_tables, size_counter
from petvr.config import Config
from petvr.errors import PetvrError, unknown
from petvr.layout import Layout
from petvr.papers import shown
from petvr.papers.figures import PICTURES
from petvr.papers.plan import Plan

if TYPE_CHECKING:
    from petvr.papers.figures import FigureSpec
    from petvr.report.figures import FigureRows
    from petvr.report.figures.spent import Costs
    from petvr.report.tables.read_results import Reader

TABLE_KINDS = ("scatter", "curves", "costs")  # the figures of a table: vop/table_3.scatter


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "figure", nargs="*", help="e.g. rap/figure_2, vop/table_3.scatter, or vop/table_3 for all of it"
    )
    parser.add_argument("--list", action="store_true", help="every figure, and what it still lacks")
    parser.add_argument("--index", action="store_true", help="the page that shows all figures that are drawn")
    parser.add_argument("--kind", action="append", choices=TABLE_KINDS, help="of a table's figures only these")
    parser.add_argument(
        "--costs", type=named_path, metavar="FILE", help="what petvr costs --format csv wrote: its time and memory"
    )
    parser.add_argument("--format", action="append", choices=("svg", "png", "pdf"), help="default: svg and png")


def run(args: argparse.Namespace, config: Config) -> None:
    alone(args, "list", "figure", "index", "kind", "costs", "format")
    alone(args, "index", "figure", "kind", "costs", "format")
    if not (args.figure or args.list or args.index):
        raise PetvrError("name a figure or a table, or say --list")
    plan = planning.plan(config)
    layout = Layout(config.results)
    known = shown.figures(plan)
    if args.list:
        from petvr.report import tables

        read = tables.result_reader(config.results)
        for id, spec in known.items():
            print(f"{id:42} {spec.kind:12} {spec.title}{_lacks(plan, read, id)}")
        return
    if args.index:
        from petvr.report.site import write_figure_index

        print(write_figure_index(known, layout))
        return
    from petvr.report import figures

    chosen = _chosen(known, args.figure, args.kind or (["costs"] if args.costs else None))
    costs = figures.read_costs(args.costs) if args.costs else None
    for name in chosen:
        drawn = collect_figure(config, plan, name, known[name], costs)
        picture = None
        if known[name].kind in PICTURES:
            from petvr.commands.examples import draw_picture

            picture = draw_picture(drawn, config)
        for path in figures.write_figure(drawn, layout.figures, args.format or ("svg", "png"), picture):
            print(path)
        if drawn.lacks:
            target = shlex.quote((layout.figures / f"{name}.svg").as_posix())
            print(f"{name}: not in it: {drawn.lacks}; `{config.snakemake} {target}` makes them", file=sys.stderr)


def _chosen(known: dict[str, FigureSpec], names: list[str], kinds: list[str] | None) -> list[str]:
    """Ids of figures; a table's name stands for its own."""
    chosen: list[str] = []
    for name in names:
        of_table = [id for id in known if id.startswith(f"{name}.")]
        if name not in known and not of_table:
            raise unknown("figure", name, known)
        of_kinds = [id for id in of_table if not kinds or id.rpartition(".")[2] in kinds]
        if name not in known and not of_kinds:
            has = ", ".join(id.rpartition(".")[2] for id in of_table)
            raise PetvrError(f"{name}: has no figure of kind {', '.join(kinds or ())}, allowed: {has}")
        chosen += [name] if name in known else of_kinds
    return list(dict.fromkeys(chosen))


def _lacks(plan: Plan, read: Reader, id: str) -> str:
    from petvr.report.figures import absent_runs

    states = Counter[str](read(plan.runs[run]).state for run in shown.figure_runs(plan, id))
    if not states:
        return "  (its tables are not chosen)"
    return f"  (lacks {absent})" if (absent := absent_runs(states)) else ""


def collect_figure(config: Config, plan: Plan, id: str, spec: FigureSpec, costs: Costs | None = None) -> FigureRows:
    """Rows of the tables that are chosen; PetvrError where one of them is refused."""
    from petvr.report import figures, tables

    paper, _, name = id.partition("/")
    wanted = dict.fromkeys(choice.table for choice in spec.rows if f"{paper}/{choice.table}" in plan.tables)
    measured = {}
    for table, result in zip(wanted, measured_tables(config, plan, [f"{paper}/{t}" for t in wanted]), strict=True):
        if isinstance(result, PetvrError):
            raise result
        measured[table] = result
    rule = None if config.rule == "paper" else config.rule
    read = tables.result_reader(config.results)
    return figures.collect_rows(plan, paper, name, spec, measured, read, rule, costs, size_counter(config))
