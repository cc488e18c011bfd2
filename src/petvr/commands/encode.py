"""`petvr encode FOLDER --model RUN --to INDEX`: a folder's videos as an index that `petvr search --index` reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from petvr import atomic
from petvr.arguments import named_path, threads, whole
from petvr.commands.search import run_folder
from petvr.config import Config
from petvr.data.frames.shards import MOST_SHARDS, parse_shard, shard_folder
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.spec import MOST_THREADS
from petvr.text_files import read_lines


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("videos", type=named_path, help="a folder; all videos below it are encoded")
    parser.add_argument("--model", help="a finished run, a folder of `petvr export`, or a hub id")
    parser.add_argument(
        "--to", type=named_path, required=True, metavar="INDEX", help="a folder; what it has is not done again"
    )
    parser.add_argument(
        "--workers", type=whole(0, MOST_THREADS), default=2, help="decoding processes (default 2); 0: none"
    )
    parser.add_argument("--sentences", type=named_path, metavar="FILE", help="one a line, where a method looks at some")
    parser.add_argument("--backbone", help="the folder or hub id of the model's CLIP, where it is not found")
    parser.add_argument("--threads", type=threads, help="CPU threads (default: all)")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--shard", metavar="N/M", help="this part of M alone, into a folder of its own below INDEX")
    one.add_argument("--join", type=whole(1, MOST_SHARDS), metavar="M", help="only join the M finished shards")


def run(args: argparse.Namespace, config: Config) -> None:
    if args.join is not None:  # without torch
        from petvr.library.index_manifest import join_shards, read_manifest
        from petvr.library.index_part import open_parts

        join_shards(args.to, [shard_folder(args.to, number, args.join) for number in range(1, args.join + 1)])
        joined = read_manifest(args.to)
        parts = open_parts(args.to, joined.parts, joined.model.digest, again=False)
        print(f"{args.to}: {sum(len(part.vectors) for part in parts):,} videos")
        return
    from petvr.library.video_index import Index

    if args.model is None:
        raise PetvrError("petvr encode: --model is needed: a finished run, a folder of `petvr export`, or a hub id")
    shard = parse_shard(args.shard) if args.shard else (1, 1)
    if not args.videos.is_dir():
        raise PetvrError(f"{args.videos}: no such folder of videos")
    sentences = read_lines(args.sentences) if args.sentences else None
    if sentences == []:
        raise PetvrError(f"{args.sentences}: holds no sentence")
    atomic.require_writable(args.to / "index.json")
    model = named_model(args.model, config, args.backbone, args.threads)
    index = Index.build(
        model,
        args.videos,
        to=shard_folder(args.to, *shard) if args.shard else args.to,
        shard=shard,
        sentences=sentences,
        workers=args.workers,
        progress=True,
    )
    for file, reason in index.problems.items():
        print(f"left out: {file}: {reason}")
    print(f"{args.to}: {len(index):,} videos; {len(index.problems)} left out")


def named_model(name: str, config: Config, backbone: str | None = None, threads: int | None = None):
    """A run by its id, or whatever `petvr.load` takes."""
    from petvr.library.loading import load_model
    from petvr.training.determinism import prepare_device

    layout = Layout(config.results)
    is_id = "/seed-" in name and not Path(name).exists()
    source = run_folder(name, layout, config) if is_id else name
    device = None if config.device == "auto" else config.device
    prepare_device(device, threads)
    return load_model(source, device=device, backbone=backbone)
