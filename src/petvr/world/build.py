"""Writes a generated data set: annotation files, videos in parallel, and `world.json` when all of it is there."""

from __future__ import annotations

import importlib
import json
import multiprocessing
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from petvr.atomic import write_json, write_text
from petvr.errors import PetvrError, unknown
from petvr.world import KINDS, video
from petvr.world.clips import Clip, cast
from petvr.world.meaning import temporal
from petvr.world.progress import Progress
from petvr.world.scene import Scene
from petvr.world.seeds import generator

VERSION = 1  # a new number makes every generated folder stale
SPLITS = ("train", "val", "test")


def generate(
    kind: str, out: Path, *, sizes: Mapping[str, int], seed: int = 0, workers: int = 1, progress: bool = True
) -> Path:
    """See `petvr.world.generate`."""
    if kind not in KINDS:
        raise unknown("world", kind, KINDS)
    sizes = _sizes(kind, sizes)
    finished, mine = out / "world.json", out / ".world-files.json"
    order = {"version": VERSION, "kind": kind, "seed": int(seed), "sizes": sizes}
    if _is(finished, order):
        return finished
    clips = plan(kind, sizes, seed)
    layout = importlib.import_module(f"petvr.world.layouts.{kind}")
    files = [(clip.scene, out / "videos" / layout.file_name(clip.id)) for clip in clips]
    if not _is(mine, order):  # what lies here belongs to another order: nothing of it is reused
        finished.unlink(missing_ok=True)
        _clear(out / "videos", mine)
        write_json(mine, {**order, "files": [layout.file_name(clip.id) for clip in clips]})
    _render([(scene, path) for scene, path in files if not path.exists()], workers, f"world {kind}", progress)
    for name, text in layout.annotate(clips, seed).items():
        write_text(out / name, text)
    told = {clip.id: _record(clip, layout.file_name(clip.id)) for clip in clips}
    write_json(finished, {**order, "hard_pairs": _hard_pairs(clips), "clips": told})
    return finished


def plan(kind: str, sizes: Mapping[str, int], seed: int) -> list[Clip]:
    """All clips of a data set with their captions; nothing is written."""
    layout = importlib.import_module(f"petvr.world.layouts.{kind}")
    clips = cast(kind, layout.names(_sizes(kind, sizes), seed), seed)
    return [
        replace(clip, captions=tuple(layout.tell(clip.scene, generator(seed, kind, clip.id, "captions"))))
        for clip in clips
    ]


def _sizes(kind: str, sizes: Mapping[str, int]) -> dict[str, int]:
    for key, value in sizes.items():
        if key not in SPLITS:
            raise unknown("split", key, SPLITS, where=f"world {kind}: sizes")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise PetvrError(f"world {kind}: sizes.{key} is {value!r}; allowed: a whole number from 0 on")
    return {split: sizes.get(split, 0) for split in SPLITS}


def _is(path: Path, order: dict) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: found.get(key) for key in order} == order
    except (OSError, ValueError, AttributeError):
        return False


def _clear(videos: Path, mine: Path) -> None:
    """Remove the videos that an earlier order put here, by its own list; a folder of real data has no such list."""
    if not mine.exists():
        if any(videos.glob("*")):
            raise PetvrError(f"{videos}: holds videos that no generated world left there; choose another folder")
        return
    for name in json.loads(mine.read_text(encoding="utf-8"))["files"]:
        (videos / name).unlink(missing_ok=True)


def _render(jobs: list[tuple[Scene, Path]], workers: int, what: str, progress: bool) -> None:
    if not jobs:
        return
    shown = Progress(what, len(jobs), progress)
    if workers <= 1:
        for job in jobs:
            _write(job)
            shown.step()
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for _ in pool.imap_unordered(_write, jobs, chunksize=4):
            shown.step()


def _write(job: tuple[Scene, Path]) -> None:
    video.write(*job)


def _record(clip: Clip, file: str) -> dict:
    return {
        "split": clip.split,
        "file": file,
        "seconds": clip.scene.seconds,
        "fps": str(clip.scene.fps),
        "frames": clip.scene.frames,
        "twin": clip.twin or None,
        "pair": clip.pair or None,
        "captions": [{"text": each.text, "temporal": temporal(each, clip.scene)} for each in clip.captions],
        "scene": {**asdict(clip.scene), "fps": str(clip.scene.fps)},
    }


def _hard_pairs(clips: list[Clip]) -> dict[str, list[dict]]:
    """Every pair once, under its split."""
    found: dict[str, list[dict]] = {split: [] for split in SPLITS}
    for clip in clips:
        if clip.twin and not any(clip.id in pair["videos"] for pair in found[clip.split]):
            found[clip.split].append({"videos": [clip.id, clip.twin], "kind": clip.pair})
    return found
