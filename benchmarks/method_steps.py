"""Training steps of every method: time next to the full step's in the same process, operations, activations.

    python benchmarks/method_steps.py                                on this processor: 4 blocks of ViT-B/32, 8 videos
    python benchmarks/method_steps.py --device cuda                  six methods: 12 blocks, 128 videos, bf16
    python benchmarks/method_steps.py --method rap --method mv_adapter@ta=none --batch 2 --json steps.json

A step is forward, symmetric loss, backward and AdamW. Methods take turns, `--repeats` rounds of them, and every round
has the full step (CLIP4Clip's rule) at its beginning and end; times are medians. On a CPU they are processor seconds of
all threads, which other programs disturb less than the clock. Columns:

    time, FLOPs       of a step, as a share of the full step's (multiply-add = 2)
    own               operations of what a method adds, forward and backward, likewise
    kept              fp32 activations for the backward pass of the whole batch in GB, from the costs counter
    pairs/s, TFLOP/s
    of rate           TFLOP/s as a share of what large matrix products reach in the same type, measured at the beginning
    peak              GPU memory in GiB while the method alone is there
    slower            than the full step by more than `own` explains, with a tolerance of 5 %

Seen on one core that reaches 0.099 TFLOP/s in fp32, 4 blocks, 8 videos, full step 11.5 s: adapters and LoRA 0.59 to
0.76, prompts 0.68 to 0.80, SSF, LoRM and RAP 0.74 to 0.79 (0.68 of the operations: they rescale everything between),
all patches warped 0.89, heads on a frozen CLIP 0.31 to 0.33; 65 to 89 % of the rate. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from petvr import methods
from petvr.clip import config, weights
from petvr.costs.compute import build_model, compute, inputs
from petvr.costs.measure import Step
from petvr.errors import PetvrError
from petvr.spec import method_id

REFERENCE = "full"
ON_GPU = ("full", "bias", "vop", "cross_modal_adapter", "mv_adapter", "rap")
BESIDES = (  # what tables show besides every method as it is by default
    ("full", {"rule": "everything"}),
    ("vpt", {"tokens": 20, "text": "trained"}),
    ("vop_f+vop_p", {}),
    ("vop_f+vop_c", {}),
    ("st_adapter", {"per_block": 1, "text": "adaptformer", "biases": True}),
    ("rap", {"last": 1}),
    ("rap", {"select": "none"}),
    ("x_pool+vop", {}),
    ("x_clip+full", {}),
)
TOLERANCE = 0.05


@dataclass
class Line:
    """One method. seconds: of its steps, one a round; full_seconds: of the full steps around them."""

    name: str
    method: str
    setting: dict[str, Any]
    trainable: int = 0
    forward: float = 0.0  # FLOPs of a pair
    step: float = 0.0
    kept: float = 0.0  # bytes of a pair
    seconds: list[float] = field(default_factory=list)
    full_seconds: list[float] = field(default_factory=list)
    peak: int = 0  # bytes

    def figures(self, bare: float, full: float, batch: int, rate: float) -> dict[str, float | bool | int]:
        """What is shown. bare, full: FLOPs of a pair through CLIP forward and of its full step; rate: FLOP/s."""
        seconds = statistics.median(self.seconds)
        ratio = statistics.median(own / whole for own, whole in zip(self.seconds, self.full_seconds, strict=True))
        own = 3 * (self.forward - bare) / full
        speed = self.step * batch / seconds
        return {
            "trainable": self.trainable,
            "seconds": seconds,
            "time": ratio,
            "flops": self.step / full,
            "own": own,
            "kept_gb": self.kept * batch / 1e9,
            "pairs_per_s": batch / seconds,
            "tflops_per_s": speed / 1e12,
            "of_rate": speed / rate,
            "peak_gib": self.peak / 2**30,
            "slower": ratio > (1 + own) * (1 + TOLERANCE),
        }


def main(given: list[str] | None = None) -> None:
    try:
        show(run(arguments().parse_args(given)))
    except PetvrError as error:
        sys.exit(f"petvr: error: {error}")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--method", action="append", metavar="NAME@KEY=VALUE,..", help="instead of the usual ones")
    parser.add_argument("--layers", type=int, help="blocks of both towers (default 4; 12 on cuda)")
    parser.add_argument("--batch", type=int, help="videos (default 8; 128 on cuda)")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--words", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--steps", type=int, help="timed together in a round (default 1; 20 on cuda)")
    parser.add_argument("--warm", type=int, help="steps before them (default 0; 5 on cuda)")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default 1)")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, help="autocast (default on cuda alone)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--geometry", default="vit-b-32", choices=sorted(config.GEOMETRIES))
    return parser


def run(args: argparse.Namespace, geometry: config.ClipConfig | None = None) -> dict[str, Any]:
    """All figures by method; `geometry` instead of a published one, for tests."""
    cuda = torch.device(args.device).type == "cuda"
    if cuda and not torch.cuda.is_available():
        raise PetvrError(f"--device {args.device}: no such device here; allowed: cpu")
    usual = {"layers": (4, 12), "batch": (8, 128), "steps": (1, 20), "warm": (0, 5), "bf16": (False, True)}
    for key, values in usual.items():
        if getattr(args, key) is None:
            setattr(args, key, values[cuda])
    if min(args.layers, args.batch, args.frames, args.words, args.repeats, args.steps, args.threads) < 1:
        raise PetvrError("--layers, --batch, --frames, --words, --repeats, --steps, --threads: allowed: 1 or more")
    torch.set_num_threads(args.threads)
    clip = config.with_layers(geometry or config.geometry(args.geometry), args.layers)
    lines = chosen(args.method, args.layers, cuda)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("counting", total=len(lines) * (1 + args.repeats))
        for line in lines:
            cost = compute(clip, line.method, line.setting, batch=args.batch, **choices(line.method, args))
            line.trainable, line.forward, line.step, line.kept = cost.trainable, cost.forward, cost.step, cost.saved
            bar.advance(task)
        bare = compute(clip, "zero_shot", memory=False, batch=args.batch, **choices("zero_shot", args)).forward
        rate = matrix_rate(args.device, args.bf16)
        base = weights.random(clip, 0).state_dict()
        for number in range(args.repeats):
            full = []
            for line in [*lines, lines[0]]:
                bar.update(task, description=f"round {number + 1}: {line.name}")
                seconds = timed(line, clip, base, args)
                (full if line is lines[0] else line.seconds).append(seconds)
                bar.advance(task, 0 if line is lines[0] and len(full) > 1 else 1)
            lines[0].seconds.append(sum(full) / 2)
            for line in lines:
                line.full_seconds.append(sum(full) / 2)
    figures = {line.name: line.figures(bare, lines[0].step, args.batch, rate) for line in lines}
    asked = {key: value for key, value in vars(args).items() if key not in ("json", "method")}
    name = torch.cuda.get_device_name() if cuda else "cpu"
    told = {
        **asked,
        "machine": name,
        "torch": torch.__version__,
        "matrix_tflops_per_s": rate / 1e12,
        "methods": figures,
    }
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def chosen(given: list[str] | None, layers: int, cuda: bool) -> list[Line]:
    """The full step first, then the methods asked for, with settings that fit towers of so many blocks."""
    pairs: list[tuple[str, dict]] = [(name, {}) for name in (ON_GPU if cuda else methods.available())]
    if given:
        pairs = [parse(text) for text in given]
    elif not cuda:
        pairs += BESIDES
    lines = []
    for method, setting in [(REFERENCE, {}), *(pair for pair in pairs if pair != (REFERENCE, {}))]:
        fitted = dict(setting)
        if "vop_f" in method.split("+"):
            fitted.setdefault("shallow", round(layers * 8 / 12))
        if "mv_adapter" in method.split("+"):
            fitted["cmt_layers"] = min(methods.settings(method, fitted)["mv_adapter"]["cmt_layers"], layers)
        lines.append(Line(method_id(method, setting), method, fitted))
    return lines


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """`rap@k=5,warp=time`, as in the id of a run."""
    method, _, rest = text.partition("@")
    pairs = [part.partition("=") for part in rest.split(",") if part]
    return method, {key: yaml.safe_load(value) for key, _, value in pairs}


def choices(method: str, args: argparse.Namespace) -> dict[str, Any]:
    needed = methods.similarity_of(method) or "mean_pool"
    return {"similarity": needed, "frames": args.frames, "words": args.words}


def timed(line: Line, clip: config.ClipConfig, base: dict[str, torch.Tensor], args: argparse.Namespace) -> float:
    """Seconds of a step of a fresh model, which is gone afterwards. On a CPU all share the frozen weights' memory."""
    cuda = torch.device(args.device).type == "cuda"
    if cuda:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = weights.on_meta(clip)
    model.load_state_dict(base, assign=True)
    model.logit_scale.data = model.logit_scale.data.clone()  # a method may set it
    adapted, head = build_model(model, line.method, line.setting, **choices(line.method, args))
    for parameter in adapted.clip.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.clone()
    batch = inputs(clip, args.frames, args.words, args.batch, args.device)
    step = Step(adapted.to(args.device), head.to(args.device), *batch, args.bf16)
    fill(step.optimizer)
    for _ in range(args.warm):
        step()
    clock = time.perf_counter if cuda else time.process_time
    start = clock()
    for _ in range(args.steps):
        step()
    spent = (clock() - start) / args.steps
    line.peak = torch.cuda.max_memory_allocated() if cuda else 0
    return spent


def fill(optimizer: torch.optim.Optimizer | None) -> None:
    """The optimiser's moments are there before the clock runs, as in all steps of a run but the first."""
    for group in optimizer.param_groups if optimizer else ():
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    if optimizer:
        optimizer.step()
        optimizer.zero_grad()


def matrix_rate(device: str, bf16: bool) -> float:
    """FLOP/s of the best of some large square products in the type the steps compute in."""
    cuda = torch.device(device).type == "cuda"
    side, clock = (16384, time.perf_counter) if cuda else (1024, time.process_time)
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16 if bf16 else torch.float32) for _ in range(2))
    best, begun = math.inf, clock()
    while clock() < begun + 1:
        start = clock()
        a @ b
        if cuda:
            torch.cuda.synchronize()
        best = min(best, clock() - start)
    return 2 * side**3 / best


def show(told: dict[str, Any]) -> None:
    cuda = torch.device(told["device"]).type == "cuda"
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("method", no_wrap=True)
    names = ["trained", "time", "FLOPs", "own", "kept", "pairs/s", "TFLOP/s", "of rate", *["peak"] * cuda, ""]
    for name in names:
        grid.add_column(name, justify="right")
    for name, line in told["methods"].items():
        cells = [
            f"{line['trainable'] / 1e6:.3f} M",
            f"{line['time']:.2f}",
            f"{line['flops']:.2f}",
            f"{line['own']:.3f}",
        ]
        cells += [f"{line['kept_gb']:.2f}", f"{line['pairs_per_s']:.3g}", f"{line['tflops_per_s']:.3g}"]
        cells += [f"{line['of_rate']:.0%}", *[f"{line['peak_gib']:.1f}"] * cuda, "slower" * line["slower"]]
        grid.add_row(name, *cells, style="yellow" if line["slower"] else "")
    console = Console()
    console.width = max(console.width, 110)
    console.print(grid)
    sizes = f"{told['layers']} blocks, {told['batch']} videos x {told['frames']} frames, {told['words']} words"
    kind = "bf16 autocast" if told["bf16"] else "fp32"
    rate = f"{told['matrix_tflops_per_s']:.3g} TFLOP/s in matrix products"
    full = told["methods"][REFERENCE]["seconds"]
    console.print(f"{told['machine']}, {kind}, {sizes}; a full step takes {full:.3g} s; {rate}")


if __name__ == "__main__":
    main()
