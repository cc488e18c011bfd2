"""`petvr frames msvd --sampler uniform_mid --frames 12`: decode each video of a folder once into the frame store."""

from __future__ import annotations

import argparse

from petvr import datasets, planning
from petvr.config import Config
from petvr.errors import PetvrError, unknown
from petvr.frames.samplers import SAMPLERS
from petvr.layout import Layout


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="the data set's folder: msrvtt, msvd, didemo")
    parser.add_argument("--sampler", required=True, help=", ".join(SAMPLERS))
    parser.add_argument("--frames", type=int, required=True, help="at most so many frames of a video")
    parser.add_argument("--size", type=int, default=planning.CLIP_IMAGE, help="side of the pictures in pixels")
    parser.add_argument("--workers", type=int, help="processes that decode (default: one per core)")
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument("--shard", metavar="I/N", help="only the videos of shard I of N, for jobs side by side")
    cut.add_argument("--join", type=int, metavar="N", help="the last step: one index over N finished shards")


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr.frames import shards, store

    names = [name for name in datasets.NAMES if datasets.folder(name) == args.folder]
    if not names:
        raise unknown("folder", args.folder, {datasets.folder(name) for name in datasets.NAMES})
    for option in ("workers", "join"):
        if getattr(args, option) is not None and getattr(args, option) < 1:
            raise PetvrError(f"--{option}: {getattr(args, option)} given, allowed: 1 or more")
    items: dict[str, store.Item] = {}
    for name in names:
        dataset = datasets.load(name, config.folder(args.folder))
        for split in ("train", "test"):
            for video in dataset.split(split).videos:
                items[video] = store.Item(video, dataset.video_file(video), dataset.window(video))
    out = Layout(config.results).frames(args.folder, args.sampler, args.frames, args.size)
    if args.join:
        joined = shards.join(out, args.join, items.keys())
        problems = {video: problem.reason for video, problem in joined.problems.items()}
        print(f"{args.folder}: {len(joined.videos)} videos in {args.join} shards, digest {joined.digest()}")
    else:
        if args.shard:
            shard, of = shards.parse(args.shard)
            items = {video: item for video, item in items.items() if shards.shard_of(video, of) == shard}
            out = shards.folder(out, shard, of)
        report = store.build(
            list(items.values()),
            out,
            sampler=args.sampler,
            frames=args.frames,
            size=args.size,
            workers=args.workers,
        )
        problems = report.problems
        what = f"{args.folder} shard {args.shard}" if args.shard else args.folder
        rate = f", {report.decoded / report.seconds:.1f} videos/s" if report.decoded else ""
        print(f"{what}: {report.decoded} videos decoded, {report.reused} there already, {report.seconds:.0f} s{rate}")
    for video, reason in sorted(problems.items()):
        print(f"  cannot be read: {video}: {reason}")
    if problems and config.missing == "strict":
        raise PetvrError(f"{args.folder}: {len(problems)} videos cannot be read, and missing is strict")
