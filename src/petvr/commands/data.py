"""`petvr data msvd`: check annotation files and videos, and write the manifest that training depends on."""

from __future__ import annotations

import argparse
from typing import Any

from petvr import atomic, datasets
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", help=f"one of {', '.join(datasets.NAMES)}")


def run(args: argparse.Namespace, config: Config) -> None:
    root = config.folder(datasets.folder(args.dataset))
    dataset = datasets.load(args.dataset, root)
    if not root.is_dir():
        files = ", ".join(file.name for file in dataset.annotation_files())
        raise PetvrError(
            f"{root}: data set '{args.dataset}' is not there; put {files} and the folder videos/ into it, "
            f"or name another place with paths.{dataset.folder} in config.yaml"
        )
    splits: dict[str, Any] = {}
    absent: list[str] = []
    for name in dataset.splits:
        split = dataset.complete(name)
        found = (len(split.videos), len(split.captions))
        gone = [video for video in split.videos if not dataset.video_file(video).exists()]
        absent += gone
        splits[name] = {"videos": found[0], "captions": found[1], "digest": split.digest(), "absent": len(gone)}
        print(f"{args.dataset} {name}: {found[0]} videos, {found[1]} captions, {len(gone)} video files absent")
    total = sum(split["videos"] for split in splits.values())
    if len(absent) == total:
        raise PetvrError(f"{root / 'videos'}: holds none of the {total} videos of {args.dataset}")
    if absent and config.missing == "strict":
        raise PetvrError(
            f"{root / 'videos'}: {len(absent)} videos are absent ({absent[0]}, ...), and missing is strict"
        )
    manifest = {"dataset": args.dataset, "root": str(root), "splits": splits, "absent": sorted(absent)}
    atomic.write_json(Layout(config.results).manifest(args.dataset), manifest)
