"""`petvr bench`: rates of this machine, and steps, reader and evaluation of some methods on it, against the goals."""

from __future__ import annotations

import argparse
import platform
from typing import Any, get_args

from petvr import atomic, planning
from petvr.arguments import named_path, recipe_number, threads, whole
from petvr.config import Config
from petvr.costs.measure import in_own_process
from petvr.errors import PetvrError, unknown
from petvr.run_ids import spec_of
from petvr.screen import screen
from petvr.spec import Recipe

METHODS = ("full@rule=clip4clip", "bias", "cross_modal_adapter", "mv_adapter", "rap", "vop")
PAIRS, EPOCHS, TEST = 180_000, 5, 1_000  # MSR-VTT-9k


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", action="append", help=f"with a setting or without; may be repeated ({METHODS})")
    parser.add_argument("--backbone", action="append", help="may be repeated (default vit-b-32)")
    parser.add_argument("--paper", default="rap", help="whose recipe trains (default rap)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the GPU where there is one")
    parser.add_argument("--precision", help="default: bf16 on a GPU, fp32 on a CPU")
    parser.add_argument("--batch", type=recipe_number("batch"), help="pairs a step (default 128 on a GPU, 8 on a CPU)")
    parser.add_argument("--frames", type=recipe_number("frames"), default=12)
    parser.add_argument("--layers", type=whole(), help="cut both towers (default: all of them on a GPU, 4 on a CPU)")
    parser.add_argument("--repeats", type=whole(), help="turns of each (default 20 on a GPU, 3 on a CPU)")
    parser.add_argument("--threads", type=threads, default=1, help="of a CPU (default 1)")
    parser.add_argument("--json", type=named_path, metavar="FILE", help="all figures, for `petvr plan --bench FILE`")


def run(args: argparse.Namespace, config: Config) -> None:
    import torch

    cuda = (args.device or ("cuda" if torch.cuda.is_available() else "cpu")) == "cuda"
    if cuda and not torch.cuda.is_available():
        raise PetvrError("--device cuda: no such device here; allowed: cpu")
    usual = {"precision": ("fp32", "bf16"), "batch": (8, 128), "layers": (4, None), "repeats": (3, 20)}
    chosen = {key: getattr(args, key) if getattr(args, key) is not None else pair[cuda] for key, pair in usual.items()}
    mode, modes = str(chosen["precision"]), get_args(Recipe.model_fields["precision"].annotation)
    if mode not in modes:
        raise unknown("precision", mode, modes, "--precision")
    recipe = {"precision": mode, "batch": chosen["batch"], "frames": args.frames}
    planned = planning.plan(config)
    specs = {}  # a name that is none is said before anything is measured
    for backbone in args.backbone or ["vit-b-32"]:
        for method in args.method or METHODS:
            spec = spec_of(config, f"{args.paper}/msrvtt-9k/{backbone}/{method}/seed-0", planned)
            specs[backbone, method] = spec.model_copy(update={"recipe": spec.recipe.model_copy(update=recipe)})
    if args.json:
        atomic.require_writable(args.json)
    lines, job = [], ("cuda" if cuda else "cpu", args.threads, chosen["repeats"])
    for (backbone, method), spec in specs.items():
        line = in_own_process(f"{method} on {backbone}", _measure, spec, chosen["layers"], *job)
        lines.append(line | {"method": method})
    machine = torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()
    report = {"machine": machine, "device": job[0], "torch": torch.__version__, "lines": lines}
    report["verdict"] = [goal for line in lines for goal in goals(line, cuda)] + beside_full(lines)
    if args.json:
        atomic.write_json(args.json, report)
    _show(report)


def _measure(*given: Any) -> dict[str, Any]:
    from petvr.training.bench import measure

    return measure(*given)


def goals(line: dict[str, Any], cuda: bool) -> list[dict[str, Any]]:
    """What the line is held to: {"what", "value", "goal", "met"}."""
    name, full = f"{line['method']} on {line['backbone']}", line["method"].startswith("full")
    asked = []
    if cuda and (line["backbone"], line["frames"], line["batch"]) == ("vit-b-32", 12, 128):
        minutes = EPOCHS * (PAIRS / line["loop_pairs_per_second"] + TEST / line["evaluated_videos_per_second"]) / 60
        asked = [
            (f"{name}: pairs/s with the reader", line["loop_pairs_per_second"], 1100 if full else 1650),
            (f"{name}: minutes of an MSR-VTT run", -minutes, -10),
            (f"{name}: reader over loop", line["reader_pairs_per_second"] / line["loop_pairs_per_second"], 1.5),
        ]
    if not cuda:
        asked = [(f"{name}: share of the matrix rate", line["share"], 0.75)]
    asked.append((f"{name}: attention's math path", -float("math" in line["attention"].split()), 0.0))
    asked.append((f"{name}: loop over step", line["loop_pairs_per_second"] / line["pairs_per_second"], 0.98))
    if not cuda and line["batch"] * line["frames"] >= 256:  # below that a batch is soon copied, and found as slowly
        asked.append((f"{name}: a kept buffer filled, as a share of a copy", line["reader_share_of_copy"], 0.85))
    return [{"what": what, "value": abs(value), "goal": abs(goal), "met": value >= goal} for what, value, goal in asked]


def beside_full(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A method's time next to full tuning's, over what their FLOPs say: a method that computes little must not wait."""
    full = {line["backbone"]: line["share"] for line in reversed(lines) if line["method"].startswith("full")}
    goals = []
    for line in lines:
        if line["backbone"] in full and not line["method"].startswith("full"):
            what = f"{line['method']} on {line['backbone']}: time over full's, over their FLOPs"
            value = full[line["backbone"]] / line["share"]
            goals.append({"what": what, "value": value, "goal": 1.08, "met": value <= 1.08})
    return goals


def _show(report: dict[str, Any]) -> None:
    from rich.table import Table

    console = screen()
    console.width = max(console.width, 120)
    names = {
        "step_seconds": "s/step", "pairs_per_second": "pairs/s", "tflops_per_second": "TFLOP/s", "share": "of rate",
        "peak_gib": "peak GiB", "estimate_gib": "estimate", "reader_pairs_per_second": "reader/s",
        "loop_pairs_per_second": "loop/s", "evaluated_videos_per_second": "eval/s", "matrix_tflops": "GEMM TFLOP/s",
        "copy_gb_per_second": "copy GB/s",
    }  # fmt: skip
    grid = Table("method", "backbone", *names.values(), "attention", box=None, pad_edge=False, header_style="bold")
    for line in report["lines"]:
        grid.add_row(line["method"], line["backbone"], *(f"{line[key]:.3g}" for key in names), line["attention"])
    console.print(grid)
    first = report["lines"][0]
    sizes = f"{first['layers']} blocks, {first['batch']} videos x {first['frames']} frames, {first['precision']}"
    console.print(f"{report['machine']}, torch {report['torch']}: {sizes}")
    for goal in report["verdict"]:
        word = "met   " if goal["met"] else "missed"
        console.print(f"{word} {goal['what']}: {goal['value']:.3g} (goal {goal['goal']:.3g})", highlight=False)
