"""`petvr videos FILE_OR_FOLDER ...`: each file as the pipeline reads it, and whether decord reads it rightly too.

With `--transcode FOLDER` what decord misreads is written there as H.264 in MP4, under its own name with the ending
.mp4, and all other files are linked, so that the folder holds every video.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from petvr.arguments import named_path, threads
from petvr.config import Config
from petvr.errors import PetvrError

SECONDS, SECONDS_TO_WRITE = 300.0, 3600.0  # for one file; a film of two hours takes long to be written anew


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="+", type=named_path, help="video files, or folders of them")
    parser.add_argument(
        "--transcode", type=named_path, metavar="FOLDER", help="write what decord misreads here, link the rest"
    )
    parser.add_argument("--only-bad", action="store_true", help="print only files with a problem or a note")
    parser.add_argument("--workers", type=threads, help="processes (default: one per core)")


def run(args: argparse.Namespace, config: Config) -> int:
    """Exit code 1 where a file cannot be used."""
    from petvr.data.frames import pool
    from petvr.data.frames.progress import video_progress

    files = list(_files(args.path))
    if not files:
        raise PetvrError(f"{args.path[0]}: holds no file")
    if args.transcode:
        _require_own_targets(files, args.transcode)
        args.transcode.mkdir(parents=True, exist_ok=True)
    workers = min(args.workers or os.cpu_count() or 1, len(files))
    again: list[Path] = []  # decord can hang and abort within its own code; as for a store, PyAV has a second try

    def tasks() -> Iterator[tuple | None]:
        fresh = iter(files)
        while True:
            file = again.pop() if (second := bool(again)) else next(fresh, None)
            yield None if file is None else ((file, not second), (file, args.transcode, not second))

    seconds, bad = SECONDS_TO_WRITE if args.transcode else SECONDS, 0
    with video_progress(sys.stderr.isatty(), "videos")(len(files)) as step:
        for outcome in pool.run_tasks(look, tasks(), workers=workers, seconds=seconds):
            file, use_decord = outcome.key
            if outcome.lost and use_decord:
                again.append(file)
                continue
            bad += bool(outcome.error)
            line, remarkable = (f"cannot be used: {outcome.error}", True) if outcome.error else outcome.value
            if remarkable or not args.only_bad:
                print(f"{file}: {line}", flush=True)
            step()
    print(f"{len(files)} files, {bad} cannot be used", file=sys.stderr)
    return 1 if bad else 0


def look(file: Path, target: Path | None, use_decord: bool = True) -> tuple[str, bool]:
    """One line about a file, and whether it says anything out of the ordinary; writes or links it below `target`."""
    from petvr.data.frames.check import check_video
    from petvr.data.frames.transcode import transcode

    video = check_video(file, use_decord=use_decord)
    facts = [f"{video.container.split(',')[0]} {video.codec} {video.width}x{video.height}", f"{video.n_frames} frames"]
    facts += [f"{video.fps:.3f} fps", f"{video.seconds:.2f} s"]
    facts.append(f"not by decord ({misread})" if (misread := video.against_decord) else "by decord too")
    if video.note:
        facts.append(video.note)
    if target is not None and misread:
        transcode(file, target / f"{file.stem}.mp4")
        facts.append("transcoded")
    elif target is not None:
        link = target / file.name
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    return ", ".join(facts), bool(misread or video.note)


def _files(paths: list[Path]) -> Iterator[Path]:
    """What lies in the folders and below, pipes and dangling links too: they are told as what they are."""
    for path in paths:
        if path.is_dir():
            yield from _files(sorted(entry for entry in path.iterdir() if not entry.name.startswith(".")))
        else:
            yield path


def _require_own_targets(files: list[Path], target: Path) -> None:
    """Two sources of one name would overwrite each other, and a target among its sources would be read half written."""
    seen: dict[str, Path] = {}
    for file in files:
        if file.resolve().parent == target.resolve():
            raise PetvrError(f"{target}: is the folder of {file.name} itself")
        if (other := seen.setdefault(file.stem, file)) != file:
            raise PetvrError(f"{target}: {file} and {other} would get the same name")
