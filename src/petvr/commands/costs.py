"""`petvr costs --format csv`: FLOPs, activations and, on request, time and memory of a step of every model."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from petvr import planning
from petvr.arguments import beside, whole
from petvr.config import Config
from petvr.errors import PetvrError, unknown
from petvr.layout import Layout
from petvr.screen import screen


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "csv"), default="text")
    parser.add_argument("--table", action="append", default=[], metavar="PAPER/TABLE", help="only this table's rows")
    parser.add_argument(
        "--memory",
        type=whole(),
        metavar="PAIRS",
        help="activations of a step of so many, whole and in micro-batches",
    )
    parser.add_argument("--micro-batch", type=whole(), metavar="PAIRS", help="size of those (default 8)")
    parser.add_argument("--measure", action="store_true", help="run steps of each on this machine: minutes")
    parser.add_argument("--batch", type=whole(), help="pairs per measured step (default 4)")
    parser.add_argument("--steps", type=whole(), help="measured steps (default 3)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="of the measurement (default cpu)")
    parser.add_argument("--bf16", action="store_true", help="measure under bf16 autocast, not in fp32")


def run(args: argparse.Namespace, config: Config) -> None:
    beside(args, "memory", micro_batch=8)
    beside(args, "measure", batch=4, steps=3, device="cpu", bf16=False)
    plan = planning.plan(config)
    for table in args.table:
        if table not in plan.tables:
            raise unknown("table", table, plan.tables)
    wanted = {run for table in args.table for run in plan.tables[table].runs} if args.table else set(plan.runs)
    lines = _lines(args, [spec for id, spec in plan.runs.items() if id in wanted], config)
    if args.format == "csv":
        writer = None
        for line in lines:
            if writer is None:
                writer = csv.DictWriter(sys.stdout, line, lineterminator="\n")
                writer.writeheader()
            writer.writerow(line)
            sys.stdout.flush()
        return
    from rich.table import Table

    shown = list(lines)
    grid = Table(*(shown[0] if shown else []), box=None, pad_edge=False, header_style="bold")
    for line in shown:
        grid.add_row(*map(str, line.values()))
    screen().print(grid)


def _lines(args: argparse.Namespace, runs: Iterable, config: Config) -> Iterator[dict[str, Any]]:
    """Those of petvr.costs.rows, and what a step holds at most: in fp32, split and computed again as configured."""
    from rich.console import Console
    from rich.progress import track

    from petvr.clip import config as clip
    from petvr.costs import batch, measure, rows
    from petvr.training.memory import peak_bytes

    def geometry(backbone: str) -> clip.ClipConfig:
        folder = Layout(config.results).weights(backbone)
        return clip.read_config(folder) if (folder / "config.json").exists() else clip.geometry(backbone)

    specs = list(runs)
    total, console = len(rows.distinct(specs)), Console(stderr=True)
    lines = rows.lines(specs, geometry)
    for line, spec in track(lines, "models", total=total, console=console, disable=not sys.stderr.isatty()):
        held = peak_bytes(
            spec, geometry(spec.backbone), micro_batch=config.micro_batch,
            activation_checkpointing=config.activation_checkpointing,
        )  # fmt: skip
        line["memory_gib"] = f"{held / 2**30:.3g}"
        if args.memory:
            kept = batch.kept(geometry(spec.backbone), spec.method, spec.setting, **rows.choices(spec))
            line["pair_kb"] = f"{kept.pair / 1e3:.4g}"
            line[f"batch_{args.memory}_gb"] = f"{kept.whole(args.memory) / 1e9:.4g}"
            split = kept.in_micro_batches(args.memory, args.micro_batch)
            line[f"micro_batch_{args.micro_batch}_gb"] = f"{split / 1e9:.4g}"
        if args.measure:
            given = {"batch": args.batch, "steps": args.steps, "device": args.device, "bf16": args.bf16}
            try:
                measured = measure.measure(
                    geometry(spec.backbone), spec.method, spec.setting, **given, **rows.choices(spec)
                )
                figures = {"step_ms": f"{measured.seconds * 1e3:.1f}", "peak_mb": f"{measured.peak / 1e6:.0f}"}
            except PetvrError as error:
                print(f"petvr: warning: {error}", file=sys.stderr)
                figures = {"step_ms": "", "peak_mb": ""}
            line |= figures | {"measured_batch": args.batch, "device": args.device}
        yield line
