"""`petvr params --format csv`: what each row trains next to the figure its table prints; no weights are needed."""

from __future__ import annotations

import argparse
import csv
import sys

from petvr import planning
from petvr.config import Config
from petvr.costs.params import COLUMNS, method_lines, table_lines
from petvr.screen import screen


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "csv"), default="text")


def run(args: argparse.Namespace, config: Config) -> None:
    lines = table_lines(planning.own_table(config, name) for name in config.custom_datasets)
    lines += method_lines(lines)
    if args.format == "csv":
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return
    from rich.table import Table

    grid = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
    for line in lines:
        style = "" if line["verdict"].startswith("agrees") else "dim" if not line["trainable"] else "yellow"
        grid.add_row(*(str(line[column]) for column in COLUMNS), style=style)
    screen().print(grid)
