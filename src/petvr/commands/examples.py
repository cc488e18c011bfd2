"""`petvr examples RUN [RUN2]`: queries that are right, wrong, and won by one of two runs, as a page."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from petvr import atomic, planning
from petvr.arguments import named_path, threads, whole
from petvr.commands.search import open_named_run
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.spec import MOST_SEEDS
from petvr.status import status_of, what_to_do

if TYPE_CHECKING:
    from pathlib import Path

    from petvr.report.examples.page import RunExamples
    from petvr.report.examples.pictures import Drawn
    from petvr.report.figures import FigureRows
    from petvr.search.opened import OpenedRun


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="one finished run, or two on the same test set")
    parser.add_argument("--count", type=whole(), default=6, metavar="N", help="queries of a group (default: 6)")
    parser.add_argument("--seed", type=whole(0, MOST_SEEDS), default=0, help="of the choice among many (default: 0)")
    parser.add_argument("--out", type=named_path, metavar="FOLDER", help="default: results/examples/<run>")
    parser.add_argument(
        "--single", type=named_path, metavar="FILE", help="besides, the page as one file, without the videos"
    )
    parser.add_argument("--threads", type=threads, help="CPU threads (default: all)")


def run(args: argparse.Namespace, config: Config) -> None:
    if len(args.runs) > 2:
        raise PetvrError(f"petvr examples: {len(args.runs)} runs given, allowed: one or two")
    if len({name.strip("/") for name in args.runs}) < len(args.runs):
        raise PetvrError(f"petvr examples: {args.runs[0]} is given twice")

    from petvr.report.examples.choose import choose_queries
    from petvr.report.examples.page import TITLE, Page, both_on_one_split, require_own, write_page

    if args.out:
        require_own(args.out)
        atomic.require_writable(args.out / "index.html")
    if args.single:
        atomic.require_writable(args.single)
    opened = [open_named_run(name, config, args.threads) for name in args.runs]
    shown = [answered(run, keep) for run, keep in opened]
    answers = [one.answers for one in shown]
    if not both_on_one_split(answers):
        raise PetvrError("petvr examples: the two runs have different test sets")
    names = ["A", "B"] if len(shown) > 1 else ["the run"]
    first = opened[0][0]
    page = Page(
        f"{TITLE} {' and '.join(one.name for one in shown)}",
        choose_queries(answers, names, args.count, args.seed), shown, first.dataset, first.frames,
        [note for run, _ in opened for note in run.notes],
    )  # fmt: skip
    folder = args.out or Layout(config.results).examples / folder_name([one.name for one in shown])
    print(write_page(page, folder, args.single))


def folder_name(runs: list[str]) -> str:
    return "/and/".join(runs)


def answered(run: OpenedRun, keep: Path) -> RunExamples:
    from petvr.report.examples.page import RunExamples
    from petvr.search.answers import split_answers

    rule = run.result.spec.recipe.selection
    chosen = run.result.at(rule)
    text = f"text to video R@1 {chosen.plain['t2v']['R@1']:.1f}, epoch {chosen.epoch} ({rule})"
    return RunExamples(run.result.id, split_answers(run, run.split("test"), keep), text)


def _why_none(figure: FigureRows, config: Config) -> str:
    """Of each row without a usable result its first run, how far it is, and what makes it."""
    layout, plan = Layout(config.results), planning.plan(config)
    runs = [row.cell.runs[0] for row in figure.rows if not row.results and row.cell.runs]
    lines = [what_to_do(layout, run, status_of(layout, plan.runs[run]), config.snakemake) for run in runs]
    return "; ".join(lines) or "none of its rows is run here (`petvr figure --list`)"


def draw_picture(figure: FigureRows, config: Config) -> Drawn:
    """A qualitative figure of a paper, from the first seed of each of its rows.

    Raises PetvrError where a run it needs is missing.
    """
    from petvr.report.examples import pictures
    from petvr.search import features

    done = [row.results[0].id for row in figure.rows if row.results]
    if not done or (figure.spec.kind == "results" and len(done) != 2):
        raise PetvrError(f"{figure.id}: {_why_none(figure, config)}")
    run, keep = open_named_run(done[0], config)
    split = run.split("test")
    if figure.spec.kind == "results":
        answers = [answered(*open_named_run(one, config)).answers for one in done]
        return pictures.compose_results(figure, answers, run.frames)
    videos = pictures.sample_videos(split, figure.spec.count)
    if figure.spec.kind == "modulation":
        adapters = {row.name: Layout(config.results).run(row.results[0].id) for row in figure.rows if row.results}
        weights = {
            name: pictures.modulation_weight(folder / "adapter.safetensors") for name, folder in adapters.items()
        }
        return pictures.compose_modulation(figure, weights, videos, run.frames)
    from petvr.search.attention import patch_maps

    sentences = features.sentences(run, keep)
    pairs = [(video, split.captions_of(video)[0]) for video in videos]
    return pictures.compose_correlation(figure, {pair: patch_maps(run, *pair, sentences) for pair in pairs}, run.frames)
