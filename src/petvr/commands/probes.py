"""`petvr probes`: train every method on pairs of clips that one thing tells apart, and write what it then can tell."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial
from pathlib import Path

from petvr import atomic, probes
from petvr.arguments import name_list, named_path, whole
from petvr.config import Config
from petvr.errors import PetvrError, unknown
from petvr.screen import screen


def arguments(parser: argparse.ArgumentParser) -> None:
    names = "names joined by commas"
    parser.add_argument(
        "--methods", type=name_list, metavar="NAMES", help=f"{names}; also a similarity no method comes with (all)"
    )
    parser.add_argument(
        "--probes", type=name_list, metavar="NAMES", help=f"train and test on these alone; needs --json ({names}; all)"
    )
    parser.add_argument("--steps", type=whole(), help="training steps; needs --json (default: what the table has)")
    parser.add_argument("--json", type=named_path, metavar="FILE", help="where the numbers go (default: petvr's own)")
    parser.add_argument("--again", action="store_true", help="measure also what is there and fresh")


def run(args: argparse.Namespace, config: Config) -> int:
    names = args.probes or list(probes.PROBES)
    models = probes.chosen_models(args.methods)
    for name in names:
        if name not in probes.PROBES:
            raise unknown("probe", name, probes.PROBES, "--probes")
    if (args.probes or args.steps) and not args.json:
        raise PetvrError("--probes and --steps change what is measured: name another file with --json FILE")
    path, steps = args.json or probes.MEASURED, args.steps or probes.STEPS
    waiting = [model for model in models if args.again or model.name not in probes.fresh_results(path, names, steps)]
    if waiting:
        atomic.require_writable(path)
        _measure(waiting, names, steps, path)
    results = {model.name: probes.fresh_results(path, names, steps)[model.name] for model in models}
    _show(results, names)
    unexpected = [
        f"{model.name}: {probe}: {results[model.name][probe]:.1f} %, expected {model.expected(probe)}"
        for model in models
        for probe in names
        if not model.agrees(probe, results[model.name][probe])
    ]
    print(*unexpected, sep="\n")
    if path == probes.MEASURED:
        print("docs/probes.md: petvr docs probes")
    return 0


def _measure(models: list[probes.ProbedModel], names: list[str], steps: int, path: Path) -> None:
    from petvr.probes import measure
    from petvr.world.progress import ProgressLine

    line = ProgressLine("probes", steps * len(models))
    for model in models:
        accuracy = measure.measure_model(model, names, steps=steps, stepped=partial(line.step, model.name))
        with atomic.file_lock(path.with_name(f".{path.name}.lock"), f"{path} is being written", lambda _: None):
            rounded = {probe: round(percent, 3) for probe, percent in accuracy.items()}
            entry = probes.Measurement(model.versions(), steps, rounded)
            stored = {**probes.stored_results(path), model.name: entry}
            atomic.write_json(path, {name: asdict(stored[name]) for name in sorted(stored)})


def _show(results: dict[str, dict[str, float]], names: list[str]) -> None:
    from rich.table import Table

    grid = Table("method", *names, box=None, pad_edge=False, header_style="bold")
    for name, accuracy in results.items():
        cells = ("{:.1f} [{:.1f}, {:.1f}]".format(accuracy[each], *probes.interval(accuracy[each])) for each in names)
        grid.add_row(name, *cells)
    screen().print(grid)
