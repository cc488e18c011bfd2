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


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr.frames import store

    names = [name for name in datasets.NAMES if datasets.folder(name) == args.folder]
    if not names:
        raise unknown("folder", args.folder, {datasets.folder(name) for name in datasets.NAMES})
    items: dict[str, store.Item] = {}
    for name in names:
        dataset = datasets.load(name, config.folder(args.folder))
        for split in ("train", "test"):
            for video in dataset.split(split).videos:
                items[video] = store.Item(video, dataset.video_file(video), dataset.window(video))
    report = store.build(
        list(items.values()),
        Layout(config.results).frames(args.folder, args.sampler, args.frames, args.size),
        sampler=args.sampler,
        frames=args.frames,
        size=args.size,
        workers=args.workers,
    )
    print(f"{args.folder}: {report.decoded} videos decoded, {report.reused} there already, {report.seconds:.0f} s")
    for video, reason in report.problems.items():
        print(f"  cannot be read: {video}: {reason}")
    if report.problems and config.missing == "strict":
        raise PetvrError(f"{args.folder}: {len(report.problems)} videos cannot be read, and missing is strict")
