"""`petvr compare RUN OTHER ...`: paired differences on the same test queries, with what queries and seeds can say."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.run_ids import spec_of
from petvr.screen import screen
from petvr.status import status_of, what_to_do

if TYPE_CHECKING:
    from petvr.retrieval.outcomes import RunOutcomes

DIRECTIONS = {"t2v": "T→V", "v2t": "V→T"}
METRICS = ("R@1", "R@5", "R@10", "RSum", "MnR")
ALPHA = 0.05
EVALUATIONS = {
    "paper": "each run's by its paper's rule",
    "best_on_test": "the best on the test set",
    "best_on_val": "the best on the validation split",
    "last": "the last",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="two or more; the first is compared with each other. An id without /seed-N means all its finished seeds",
    )
    parser.add_argument("--rule", choices=tuple(EVALUATIONS), help="which evaluation; default: the configuration's")


def run(args: argparse.Namespace, config: Config) -> None:
    if len(args.runs) < 2:
        raise PetvrError("petvr compare: at least two runs or cells; `petvr cells` lists them")
    from petvr.retrieval.outcomes import require_same_queries

    rule = args.rule or config.rule
    first, *others = [_outcomes(config, name) for name in args.runs]
    once: set[str] = set()
    for result in (result for each in (first, *others) for result in each.results):
        if result.id in once:
            raise PetvrError(f"petvr compare: {result.id} is named twice; it would be compared with itself")
        once.add(result.id)
    for other in others:
        require_same_queries(first, other)
    rows = [_differences(first, other, rule) for other in others]
    _show(first, others, rows, rule)


def _outcomes(config: Config, name: str) -> RunOutcomes:
    layout, name = Layout(config.results), name.strip("/").removesuffix("/result.json")
    folder = layout.runs / name
    files = sorted(folder.glob("result.json" if folder.name.startswith("seed-") else "seed-*/result.json"))
    if not files:
        run = name if folder.name.startswith("seed-") else f"{name}/seed-{config.seeds[0]}"
        status = status_of(layout, spec_of(config, run))
        raise PetvrError(what_to_do(layout, run, status, config.snakemake))
    from petvr.retrieval.outcomes import load_outcomes

    return load_outcomes(name, files)


def _differences(one: RunOutcomes, other: RunOutcomes, rule: str) -> dict[str, Any]:
    """`T→V R@1` -> (mean of the first, mean of the other, Difference, p of the sign flip)."""
    from petvr.retrieval.paired import paired_difference, sign_flip

    rows = {}
    for direction, title in DIRECTIONS.items():
        video = one.videos_of(direction)
        for metric in METRICS:
            a, b = (each.of(direction, metric, rule) for each in (one, other))
            difference = paired_difference(a, b, video)
            rows[f"{title} {metric}"] = (float(a.mean()), float(b.mean()), difference, sign_flip(a, b, video))
    return rows


def _show(first: RunOutcomes, others: list[RunOutcomes], rows: list[dict[str, Any]], rule: str) -> None:
    from rich import box
    from rich.table import Table

    from petvr.retrieval.paired import holm

    adjusted = {key: holm([each[key][2].p for each in rows]) for key in rows[0]}
    console = screen()
    for number, (other, compared) in enumerate(zip(others, rows, strict=True)):
        console.print(f"A  {_named(first)}\nB  {_named(other)}", highlight=False, soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("", no_wrap=True)
        for title in ("A", "B", "A - B", "from", "to", "p*", "p"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for key, (a, b, interval, p_queries) in compared.items():
            p = adjusted[key][number]
            differences = (f"{value:+.1f}" for value in (interval.value, interval.low, interval.high))
            table.add_row(
                key, f"{a:.1f}", f"{b:.1f}", *differences, _p(p_queries), _p(p), _verdict(key, interval.value, p)
            )
        console.print(table)
    for sentence in _sentences([first, *others], rule):
        console.print(sentence, style="dim", highlight=False)


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "<.001"


def _verdict(key: str, difference: float, p: float) -> str:
    if p > ALPHA:
        return "within noise"
    return "A better" if (difference > 0) != key.endswith("MnR") else "B better"  # a mean rank is better when low


def _named(measured: RunOutcomes) -> str:
    seeds = [str(result.spec.seed) for result in measured.results]
    return f"{measured.name} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)})"


def _sentences(compared: list[RunOutcomes], rule: str) -> list[str]:
    fewest = min(len(each.results) for each in compared)
    sentences = [
        f"Evaluation: {EVALUATIONS[rule]}. from, to: 95 % by queries and seeds together; p of the same"
        f"{', Holm over the others' if len(compared) > 2 else ''}. p*: sign flip over queries, these very models alone."
    ]
    if fewest == 1:
        sentences.append("One seed alone: its part is unknown and left out, so nothing is said about training again.")
    elif fewest == 2:
        sentences.append("Two seeds: the interval is too short (simulated coverage 86 to 95 %).")
    if old := [each.name for each in compared if each.mean_places]:
        sentences.append(
            f"{', '.join(old)}: of an earlier petvr, whose tied candidates share the mean of their places."
        )
    return sentences
