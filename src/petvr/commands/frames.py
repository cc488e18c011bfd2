"""`petvr frames msvd --sampler uniform_mid --frames 12`: decode each video of a folder once into the frame store."""

from __future__ import annotations

import argparse

from petvr import atomic, planning
from petvr.arguments import threads, whole
from petvr.config import Config
from petvr.data import availability, catalogue
from petvr.data.frames.samplers import SAMPLERS
from petvr.errors import PetvrError, unknown
from petvr.layout import Layout
from petvr.spec import checked_value

MOST_FRAMES = 1_024  # as of a recipe
LARGEST_SIDE = 4_096  # pixels of a stored picture; CLIP reads 224 to 336


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="the data set's folder: msrvtt, msvd, didemo")
    parser.add_argument("--sampler", required=True, help=", ".join(SAMPLERS))
    parser.add_argument("--frames", type=whole(1, MOST_FRAMES), required=True, help="at most so many frames of a video")
    parser.add_argument(
        "--size", type=whole(1, LARGEST_SIDE), default=catalogue.CLIP_IMAGE, help="side of the pictures"
    )
    parser.add_argument(
        "--picture",
        type=lambda text: text.removeprefix("-") or "crop",  # the workflow gives the end of the store's name
        default="crop",
        help="how a frame becomes a square: crop, stretch or crop_aliased (default: crop)",
    )
    parser.add_argument("--workers", type=threads, help="processes that decode (default: one per core)")
    parser.add_argument(
        "--wait", action="store_true", help="wait for another process that builds the store, rather than refuse"
    )
    parser.add_argument("--shard", metavar="I/N", help="only shard I of N (default: all of them, then their index)")


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr.data.frames import shards, store
    from petvr.data.frames.store_writer import store_lock

    for key in ("sampler", "frames", "picture"):
        checked_value(key, getattr(args, key), "petvr frames")
    items = _items(args.folder, config)
    out = Layout(config.results).frames(args.folder, args.sampler, args.frames, args.size, args.picture)

    shard, count = shards.parse_shard(args.shard) if args.shard else (None, catalogue.frame_shards(config, args.folder))
    parts: dict[int, list] = {number: [] for number in range(1, count + 1)}
    for item in items:
        parts[shards.shard_of(item.video, count)].append(item)

    def build(shard: int, of: int) -> dict[str, str]:
        folder = shards.shard_folder(out, shard, of) if of > 1 else out
        if args.wait:
            atomic.wait_until_free(store_lock(folder), shards.progress_label(folder))
        report = store.build_store(
            parts[shard],
            folder,
            sampler=args.sampler,
            frames=args.frames,
            size=args.size,
            picture=args.picture,
            workers=args.workers,
        )
        what = f"{args.folder} {shard}/{of}" if of > 1 else args.folder
        rate = f", {report.decoded / report.seconds:.1f} videos/s" if report.decoded else ""
        print(f"{what}: {report.decoded} videos decoded, {report.reused} there already, {report.seconds:.0f} s{rate}")
        return report.problems

    if shard:
        problems = build(shard, count)
    else:
        problems = {video: why for shard in range(1, count + 1) for video, why in build(shard, count).items()}
        if count > 1:
            joined = shards.join_shards(out, count, {item.video for item in items})
            print(f"{args.folder}: {len(joined.videos)} videos in {count} shards, digest {joined.digest()}")
    for video, reason in sorted(problems.items()):
        print(f"  cannot be read: {video}: {reason}")
    if problems and config.missing == "strict":
        raise PetvrError(f"{args.folder}: {len(problems)} videos cannot be read, and missing is strict")


def _items(folder: str, config: Config) -> list:
    """The videos of all data sets that lie in one folder, each once."""
    from petvr.data.frames.store import VideoItem

    names = catalogue.datasets_in(config, folder)
    if not names:
        raise unknown("folder", folder, {catalogue.folder_of(config, name) for name in catalogue.dataset_names(config)})
    items: dict[str, VideoItem] = {}
    validated = availability.validated_folders(planning.plan(config), config)
    splits = ("train", "val", "test") if folder in validated else ("train", "test")
    for name in names:
        dataset = catalogue.open_dataset(config, name)
        for split in splits:
            if split not in dataset.splits:
                continue
            for video in dataset.split(split).videos:
                items[video] = VideoItem(video, dataset.video_file(video), dataset.window(video))
    return list(items.values())
