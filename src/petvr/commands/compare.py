"""`petvr compare RUN OTHER ...`: paired differences on the same test queries, with what queries and seeds can say."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import Result

DIRECTIONS = {"t2v": "T→V", "v2t": "V→T"}
RECALLS = (1, 5, 10)
ALPHA = 0.05
EVALUATIONS = {
    "paper": "each run's by its paper's rule",
    "best_on_test": "the best on the test set",
    "last": "the last",
}


@dataclass(frozen=True)
class Measured:
    """All finished seeds of one cell, or one run."""

    name: str
    results: list[Result]
    ranks: list[Any]  # one ranks.npz a result


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
    rule = args.rule or config.rule
    first, *others = [_measured(Layout(config.results), name) for name in args.runs]
    for other in others:
        _comparable(first, other)
    rows = [_differences(first, other, rule) for other in others]
    _show(first, others, rows, rule)


def _measured(layout: Layout, name: str) -> Measured:
    import numpy as np

    name = name.strip("/").removesuffix("/result.json")
    folder = layout.runs / name
    files = sorted(folder.glob("result.json" if folder.name.startswith("seed-") else "seed-*/result.json"))
    if not files:
        raise PetvrError(f"{folder}: no finished run; `petvr cells` lists runs and their state")
    results = [Result.read(path) for path in files]
    return Measured(name, results, [np.load(path.with_name("ranks.npz"), allow_pickle=False) for path in files])


def _comparable(one: Measured, other: Measured) -> None:
    """The same test queries in the same order, or an error that names the run: both MSR-VTT splits share a test set."""
    import numpy as np

    reference, queries = one.results[0], one.ranks[0]
    for result, ranks in zip((*one.results, *other.results), (*one.ranks, *other.ranks), strict=True):
        same = all(np.array_equal(ranks[key], queries[key]) for key in ("videos", "owner"))
        if not same or (result.spec.options, result.data.world) != (reference.spec.options, reference.data.world):
            raise PetvrError(
                f"{result.id}: its test set ({result.spec.dataset}, {result.data.test_videos:,} videos) is not that of "
                f"{reference.id}; only runs on the same test queries are compared"
            )


def _differences(one: Measured, other: Measured, rule: str) -> dict[str, Any]:
    """`T→V R@1` -> (mean of the first, mean of the other, Difference, p of the sign flip)."""
    import numpy as np

    from petvr.retrieval.paired import paired_difference, sign_flip

    rows = {}
    for direction, title in DIRECTIONS.items():
        ranks = [_ranks(each, direction, rule) for each in (one, other)]
        of_video = one.ranks[0]["owner"] if direction == "t2v" else np.arange(ranks[0].shape[1])
        shares = {f"R@{k}": [100.0 * (each <= k) for each in ranks] for k in RECALLS}
        outcomes = shares | {"RSum": [sum(shares[f"R@{k}"][i] for k in RECALLS) for i in (0, 1)], "MnR": ranks}
        for metric, (a, b) in outcomes.items():
            found = paired_difference(a, b, of_video)
            rows[f"{title} {metric}"] = (float(a.mean()), float(b.mean()), found, sign_flip(a, b, of_video))
    return rows


def _ranks(measured: Measured, direction: str, rule: str) -> Any:
    """[seeds, queries], float64."""
    import numpy as np

    kept = [
        ranks[f"{result.selected[result.spec.recipe.selection if rule == 'paper' else rule]}/plain/{direction}"]
        for result, ranks in zip(measured.results, measured.ranks, strict=True)
    ]
    return np.stack(kept).astype(np.float64)


def _show(first: Measured, others: list[Measured], rows: list[dict[str, Any]], rule: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from petvr.retrieval.paired import holm

    adjusted = {key: holm([each[key][2].p for each in rows]) for key in rows[0]}
    console = Console()
    for number, (other, compared) in enumerate(zip(others, rows, strict=True)):
        console.print(f"A  {_named(first)}\nB  {_named(other)}", highlight=False, soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        table.add_column("", no_wrap=True)
        for title in ("A", "B", "A - B", "from", "to", "p*", "p"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for key, (a, b, found, p_queries) in compared.items():
            p = adjusted[key][number]
            differences = (f"{value:+.1f}" for value in (found.value, found.low, found.high))
            table.add_row(
                key, f"{a:.1f}", f"{b:.1f}", *differences, _p(p_queries), _p(p), _verdict(key, found.value, p)
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


def _named(measured: Measured) -> str:
    seeds = [str(result.spec.seed) for result in measured.results]
    return f"{measured.name} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)})"


def _sentences(compared: list[Measured], rule: str) -> list[str]:
    fewest = min(len(each.results) for each in compared)
    sentences = [
        f"Evaluation: {EVALUATIONS[rule]}. from, to: 95 % by queries and seeds together; p of the same"
        f"{', Holm over the others' if len(compared) > 2 else ''}. p*: sign flip over queries, these very models alone."
    ]
    if fewest == 1:
        sentences.append("One seed alone: its part is unknown and left out, so nothing is said about training again.")
    elif fewest == 2:
        sentences.append("Two seeds: the interval is too short (simulated coverage 86 to 95 %).")
    return sentences
