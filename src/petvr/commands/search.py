"""`petvr search --run RUN "a dog runs"`: the best videos for a sentence, or with --video FILE the best captions."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from petvr import planning
from petvr.arguments import beside, number, threads, whole
from petvr.config import Config
from petvr.data import catalogue
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import Result
from petvr.run_ids import spec_of
from petvr.screen import screen
from petvr.status import RunState, status_of, training_command, what_to_do

if TYPE_CHECKING:
    from petvr.data.frames.store import FrameStore
    from petvr.search.opened import OpenedRun

SHOWN = 3  # captions a video is described with
LONGEST = 1e6  # seconds of a video


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sentence", nargs="?", help='what to look for, e.g. "a dog runs"')
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--run", help="a finished run's id, its folder, or its result.json: its test videos are searched"
    )
    where.add_argument(
        "--index", help="a folder that `petvr encode` or petvr.Index.save wrote, or a name of `indexes` in config.yaml"
    )
    parser.add_argument("--video", metavar="FILE", help="list the best captions for this video file (or video id)")
    parser.add_argument(
        "--seconds", nargs=2, type=number(0, LONGEST), metavar=("START", "END"), help="look at this part of FILE"
    )
    parser.add_argument("--top", type=whole(), default=10, metavar="N", help="how many to list (default: %(default)s)")
    parser.add_argument("--split", help="whose videos or captions are searched, with --run (default: test)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, for programs")
    parser.add_argument("--threads", type=threads, help="CPU threads (default: all)")
    parser.epilog = (
        "Scores are the plain ones behind the run's ranks, before dual-softmax. What the videos and captions of a "
        "split look like to the run is kept below results/search/ for the next query."
    )


def run(args: argparse.Namespace, config: Config) -> None:
    if (args.sentence is None) == (args.video is None):
        raise PetvrError('search: give either a sentence ("a dog runs") or --video FILE')
    if args.seconds and not 0 <= args.seconds[0] < args.seconds[1] < LONGEST:
        raise PetvrError("--seconds: {:g} {:g} given, allowed: 0 <= START < END < {:g}".format(*args.seconds, LONGEST))
    beside(args, "video", seconds=None)
    beside(args, "run", split="test")
    if args.index is not None:
        search_index(args, config)
        return
    from petvr.search import rank

    if args.video is None:
        rank.require_sentence(args.sentence)
    else:  # before a model is loaded
        window = tuple(args.seconds) if args.seconds else None
        shown = rank.pictures_of(named_store(args.run, config), args.video, window)
    opened_run, keep = open_named_run(args.run, config, args.threads, args.split)
    result, spec = opened_run.result, opened_run.result.spec
    split = opened_run.split(args.split)
    answer: dict[str, Any] = {"run": result.id, "dataset": spec.dataset, "split": args.split}
    if args.video is None:
        hits = rank.best_videos(opened_run, args.sentence, split, top=args.top, keep=keep)
        answer |= {"sentence": args.sentence, "of": len(split.videos)}
        rows = [_video(hit, split.videos[hit.index], opened_run.dataset, split) for hit in hits]
    else:
        captions, hits = rank.best_captions(opened_run, shown, split, top=args.top, keep=keep)
        answer |= {"video": args.video, "of": len(captions)}
        rows = [_caption(hit, captions[hit.index], opened_run.dataset, split) for hit in hits]
    answer |= {"selection": spec.recipe.selection, "notes": opened_run.notes, "results": rows}
    if args.json:
        json.dump(answer, sys.stdout, indent=1, ensure_ascii=False)
        print()
    else:
        _show(answer, result)


def index_folder(name: str, config: Config) -> Path:
    """Where an index lies: a folder, or one that the configuration names."""
    return Layout(config.results).index(name) if name in config.indexes and not Path(name).exists() else Path(name)


def search_index(args: argparse.Namespace, config: Config) -> None:
    if args.video is not None:
        raise PetvrError("search: --video needs --run: an index holds no captions")
    from petvr.library.video_index import Index
    from petvr.search.rank import require_sentence
    from petvr.training.determinism import prepare_device

    require_sentence(args.sentence)
    prepare_device("cpu", args.threads)
    index = Index.load(index_folder(args.index, config))
    matches = index.search(args.sentence, args.top)
    rows = [{"rank": one.rank, "score": one.score, "video": one.video, "file": str(one.file)} for one in matches]
    if args.json:
        facts = {"index": args.index, "run": index.model.name, "sentence": args.sentence, "of": len(index)}
        json.dump(facts | {"notes": index.model.notes, "results": rows}, sys.stdout, indent=1, ensure_ascii=False)
        print()
        return
    print(f"“{args.sentence}”  among {len(index):,} videos of {args.index}, by {index.model.name}")
    for row in rows:
        print(f"{row['rank']:>3}  {row['score']:.4f}  {row['file']}")
    for note in index.model.notes:
        print(f"note: {note}", file=sys.stderr)


def named_store(name: str, config: Config) -> FrameStore:
    """The frames of the data set of a finished run."""
    from petvr.data.frames.store import FrameStore

    spec = Result.read(run_folder(name, Layout(config.results), config) / "result.json").spec
    return FrameStore(catalogue.frame_store(config, spec))


def open_named_run(
    name: str, config: Config, threads: int | None = None, split: str = "test"
) -> tuple[OpenedRun, Path]:
    """A finished run by its id, its folder or its result.json, and where features of its splits are kept.

    Raises PetvrError, before anything is loaded, where its data set has no such split.
    """
    layout = Layout(config.results)
    folder = run_folder(name, layout, config)
    spec = Result.read(folder / "result.json").spec
    dataset = catalogue.open_dataset(config, spec.dataset)
    dataset.require_split(split)
    if threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    from petvr.search import opened

    code = planning.implemented(config).versions(spec.method, spec.recipe.similarity)
    run = opened.open_run(
        folder,
        weights=layout.weights(spec.backbone),
        store=catalogue.frame_store(config, spec),
        dataset=dataset,
        device=None if config.device == "auto" else config.device,
        threads=threads,
        code=code,
    )
    if code != spec.versions:
        changed = sorted(name for name, _ in set(code.items()) ^ set(spec.versions.items()))
        why = f"its code has changed since ({', '.join(dict.fromkeys(changed))})"
        command = training_command(layout, run.result.id, config.snakemake)
        run.notes.append(f"the run is stale: {why}; {command} makes it anew")
    return run, layout.search(spec)


def run_folder(name: str, layout: Layout, config: Config) -> Path:
    """Where the run's result lies. Raises PetvrError saying how far an unfinished run is, or which names are near."""
    path = Path(name)
    if path.name == "result.json" or (path / "result.json").is_file():
        return path.parent if path.name == "result.json" else path
    run_id = name.strip("/")
    folder = layout.runs / run_id
    if (folder / "result.json").is_file():
        return folder
    try:
        status = status_of(layout, spec_of(config, run_id))
    except PetvrError:
        status = None
    if status and status.state is not RunState.MISSING:
        raise PetvrError(what_to_do(layout, run_id, status, config.snakemake))
    done = [str(path.parent.relative_to(layout.runs)) for path in sorted(layout.runs.rglob("result.json"))]
    why = what_to_do(layout, run_id, status, config.snakemake) if status else f"run '{run_id}': no result"
    if not done:
        raise PetvrError(f"{why}; there is no finished run below {layout.runs} yet")
    near = difflib.get_close_matches(run_id, done, n=3, cutoff=0.3) or done[:3]
    raise PetvrError(f"{why}; the nearest of {len(done)} finished: {', '.join(near)} (`petvr cells` lists all)")


def _video(hit: Any, video: str, dataset: Any, split: Any) -> dict[str, Any]:
    file = dataset.video_file(video)
    return {"rank": hit.rank, "score": hit.score, "video": video, "file": str(file), "seconds": dataset.window(video),
            "captions": list(split.captions_of(video))}  # fmt: skip


def _caption(hit: Any, caption: str, dataset: Any, split: Any) -> dict[str, Any]:
    indices = {its for text, its in zip(split.captions, split.caption_video, strict=True) if text == caption}
    videos = [split.videos[index] for index in sorted(indices)]
    files = [str(dataset.video_file(video)) for video in videos]
    return {"rank": hit.rank, "score": hit.score, "caption": caption, "videos": videos, "files": files}


def _show(answer: dict[str, Any], result: Result) -> None:
    from rich.table import Table
    from rich.text import Text

    console = screen()
    text = "sentence" in answer
    asked = f"“{answer['sentence']}”" if text else answer["video"]
    what = "videos" if text else "captions"
    console.print(
        Text.assemble((asked, "bold"), f"  among {answer['of']} {what} of {answer['dataset']} {answer['split']}")
    )
    chosen = result.at(answer["selection"])
    recall = chosen.plain["t2v" if text else "v2t"]["R@1"]
    console.print(
        Text(
            f"{answer['run']}: epoch {chosen.epoch} ({answer['selection']}), R@1 {recall:.1f} on its test split", "dim"
        )
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "score", "video", "captions") if text else ("", "score", "caption", "of video"):
        table.add_column(name, justify="right" if name in ("", "score") else "left", overflow="fold")
    for row in answer["results"]:
        start = (str(row["rank"]), f"{row['score']:.4f}")
        if text:
            rest = len(row["captions"]) - SHOWN
            shown = "\n".join([*row["captions"][:SHOWN], *([f"... {rest} more"] if rest > 0 else [])])
            window = row["seconds"]
            parts: list[str | tuple[str, str]] = [(row["video"], "bold")]
            if row["file"] != row["video"]:  # of videos of one's own the path is the name
                parts.append(f"\n{row['file']}")
            if window:
                parts.append(f"\n{window[0]:g}-{window[1]:g} s of it")
            table.add_row(*start, Text.assemble(*parts), Text(shown))
        else:
            table.add_row(*start, Text(row["caption"], "bold"), Text(", ".join(row["videos"])))
    console.print(table)
    for note in answer["notes"]:
        print(f"note: {note}", file=sys.stderr)
