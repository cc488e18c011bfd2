"""`petvr score MATRIX.npy`: any model's score matrix under every rule for ties, with intervals over its queries."""

from __future__ import annotations

import argparse
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from petvr import text_files
from petvr.arguments import named_path, positive, whole
from petvr.array_files import read_array
from petvr.commands.compare import DIRECTIONS
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.screen import screen

METRICS = ("R@1", "R@5", "R@10", "RSum", "MdR", "MnR")
EXACT = 2**53  # above it not every whole number is a float64


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "matrix", type=named_path, metavar="MATRIX.npy", help="scores [texts, videos], higher is closer"
    )
    parser.add_argument(
        "--captions", type=named_path, metavar="FILE", help="csv with a column `video`, one line for a row, for "
        "several captions a video; its columns are the videos in the order in which they first appear"
    )  # fmt: skip
    parser.add_argument("--dsl", default="none", metavar="FORM", help="also with dual-softmax: camoe, emcl or ts2net")
    parser.add_argument(
        "--temperature", type=positive, metavar="T", help="of the dual-softmax; default: as its code has it"
    )
    parser.add_argument(
        "--logit-scale", type=positive, default=1.0, metavar="S", help="what scores were multiplied with (100 where "
        "they are CLIP's logits and not cosines); matters to dual-softmax alone"
    )  # fmt: skip
    parser.add_argument(
        "--gallery",
        type=whole(),
        nargs="+",
        default=[],
        metavar="N",
        help="also R@1 in galleries of N videos; exact, with dual-softmax from drawn galleries",
    )
    parser.add_argument("--json", action="store_true", help="everything as JSON, full precision")


def run(args: argparse.Namespace, config: Config) -> None:
    import numpy as np

    from petvr.retrieval import dsl, ranking

    temperature = args.temperature
    if args.dsl == "none" and temperature is not None:
        raise PetvrError("--temperature belongs to a dual-softmax: say which with --dsl")
    if args.dsl != "none" and temperature is None:
        temperature = dsl.variant(args.dsl).usual_temperature
    scores = _matrix(args.matrix)
    caption_video = _captions(args.captions, scores.shape) if args.captions else np.arange(len(scores))
    if not args.captions and scores.shape[0] != scores.shape[1]:
        raise PetvrError(
            f"{args.matrix}: {scores.shape[0]} texts and {scores.shape[1]} videos; say with --captions whose they are"
        )
    if args.logit_scale != 1:
        scores = scores.astype(np.float64) / args.logit_scale  # in float32 the division could tie what differs
    report = ranking.evaluate(
        scores, caption_video, dsl=args.dsl, temperature=temperature or 1.0, scale=args.logit_scale
    )  # fmt: skip
    said = {"plain": _figures(report.plain, caption_video, scores.shape, args.gallery)}
    if report.dsl:
        figures = _figures(report.dsl, caption_video, scores.shape, [])
        for size in args.gallery:
            drawn = ranking.recall_in_drawn_galleries(
                scores, caption_video, size, dsl=args.dsl, temperature=temperature, scale=args.logit_scale
            )
            for direction, recall in drawn.items():
                figures[direction]["R@1 in galleries"][size] = recall
        said[f"dual-softmax ({args.dsl}, {temperature:g})"] = figures
    if args.json:
        print(json.dumps(said, indent=2))
    else:
        for title, figures in said.items():
            _show(title, figures)


def _matrix(path: Path) -> Any:
    """Float64 unless it is float32: rank on the stored scores. No pickle is ever loaded."""
    import numpy as np

    scores = read_array(path)
    if scores.ndim != 2 or not scores.size or scores.dtype.kind not in "fiu":
        raise PetvrError(f"{path}: shape {scores.shape} of {scores.dtype}; expected scores [texts, videos]")
    if scores.dtype.kind in "iu" and max(-int(scores.min()), int(scores.max())) > EXACT:
        raise PetvrError(f"{path}: holds whole numbers above 2^53, of which neighbours would tie; divide them first")
    with np.errstate(over="ignore"):
        scores = scores if scores.dtype == np.float32 else scores.astype(np.float64)
    if not np.isfinite(scores).all():
        raise PetvrError(f"{path}: holds NaN or infinity in {int((~np.isfinite(scores)).sum()):,} places")
    return scores


def _captions(path: Path, shape: tuple[int, int]) -> Any:
    """The video (a column of the matrix) of each row. Raises PetvrError for a file that does not fit."""
    import numpy as np

    column: dict[str, int] = {}
    rows = text_files.read_table(path, ("video",)).values()
    of_row = np.array([column.setdefault(unicodedata.normalize("NFC", row["video"]), len(column)) for row in rows])
    if (len(of_row), len(column)) != shape:
        raise PetvrError(
            f"{path}: {len(of_row):,} captions of {len(column):,} videos, the matrix is {shape[0]:,} x {shape[1]:,}"
        )
    return of_row


def _figures(placed: Any, caption_video: Any, shape: tuple[int, int], galleries: list[int]) -> dict[str, Any]:
    import numpy as np

    from petvr.retrieval import intervals, metrics

    figures: dict[str, Any] = {}
    for direction, counts in placed.counts.items():
        cluster = caption_video if direction == "t2v" else np.unique(caption_video)
        figures[direction] = {
            "queries": len(counts.above),
            "tied queries": int((counts.tied > 0).sum()),
            "metrics": {rule: counts.summary(rule) for rule in metrics.RULES},
            "interval 95 %": intervals.query_intervals(counts, cluster),
            "R@1 in galleries": {
                size: metrics.success_in_smaller_gallery(counts, shape[1], size, 1) for size in galleries
            },
        }
    return figures


def _show(title: str, figures: dict[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for metric in METRICS:
        table.add_column(metric, justify="right", no_wrap=True)
    for direction, scored in figures.items():
        for row in _rows(DIRECTIONS[direction], scored):
            table.add_row(*row)
        table.add_section()
    console = screen()
    console.print(table)
    for direction, scored in figures.items():
        sizes = ", ".join(f"{value:.1f} of {size}" for size, value in scored["R@1 in galleries"].items())
        tied = f"{scored['tied queries']} of {scored['queries']:,} queries are tied"
        console.print(f"{DIRECTIONS[direction]}: {tied}{f'; R@1 {sizes} videos' if sizes else ''}.", highlight=False)
    given = ""
    if title != "plain":
        given = " Dual-softmax scores depend on all queries: given this query set; galleries are the mean of 100 drawn."
    console.print(f"Intervals: other queries, the same gallery; nothing about other seeds.{given}\n", style="dim")


def _rows(direction: str, scored: dict[str, Any]) -> Iterator[list[str]]:
    for rule, metrics in scored["metrics"].items():
        yield [f"{direction} {rule}", *(_digits(metrics[metric]) for metric in METRICS)]
        if rule == "expected":
            for side, name in enumerate(("  95 % from", "       to")):
                yield [name, *(_digits(scored["interval 95 %"].get(metric, (None, None))[side]) for metric in METRICS)]


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value < 1000 else f"{value:,.0f}"
