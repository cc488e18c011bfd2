"""Writes a generated data set: annotation files, videos in parallel, and `world.json` when all of it is there."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from petvr.atomic import write_json, write_text
from petvr.data.datasets.base import SPLITS
from petvr.data.datasets.fingerprint import fingerprint
from petvr.errors import PetvrError, unknown
from petvr.text_files import read_json
from petvr.world import video
from petvr.world.caption_semantics import is_temporal
from petvr.world.clips import WorldClip, cast_clips
from petvr.world.layouts import load_layout
from petvr.world.progress import ProgressLine
from petvr.world.scene import Scene
from petvr.world.seeds import generator

VERSION = 2  # a new number makes every generated folder stale


def generate(
    kind: str, out: Path, *, sizes: Mapping[str, int], seed: int = 0, workers: int = 1, progress: bool = True
) -> Path:
    """See `petvr.world.generate`."""
    layout = load_layout(kind)
    sizes = _complete_sizes(kind, sizes)
    finished, own_files, videos = out / "world.json", out / ".world-files.json", out / "videos"
    order = {"version": VERSION, "kind": kind, "seed": int(seed), "sizes": sizes}
    if _has_order(_content(finished), order):
        return finished
    clips = plan_clips(kind, sizes, seed)
    scenes = {layout.file_name(clip.id): clip.scene for clip in clips}
    if not _has_order(_content(own_files), order):  # what lies in `out` belongs to another order: none of it is reused
        finished.unlink(missing_ok=True)
        _remove_own_videos(videos, own_files)
        write_json(own_files, {**order, "files": dict.fromkeys(scenes)})
    before = _content(own_files)["files"]
    written = before if isinstance(before, dict) else {}  # a list in folders of earlier versions
    jobs = [(scene, videos / name) for name, scene in scenes.items() if not _is_whole(videos / name, written.get(name))]
    _render_videos(jobs, workers, f"world {kind}", progress)
    written = {name: fingerprint(videos / name) for name in scenes}
    write_json(own_files, {**order, "files": written})
    for name, text in layout.annotation_texts(clips, seed).items():
        write_text(out / name, text)
    records = {clip.id: _clip_record(clip, layout.file_name(clip.id), written) for clip in clips}
    write_json(finished, {**order, "hard_pairs": _hard_pairs(clips), "clips": records})
    return finished


def plan_clips(kind: str, sizes: Mapping[str, int], seed: int) -> list[WorldClip]:
    """All clips of a data set with their captions; nothing is written."""
    layout = load_layout(kind)
    clips = cast_clips(kind, layout.STYLE, layout.clip_names(_complete_sizes(kind, sizes), seed), seed)
    return [
        replace(clip, captions=tuple(layout.caption_scene(clip.scene, generator(seed, kind, clip.id, "captions"))))
        for clip in clips
    ]


def _complete_sizes(kind: str, sizes: Mapping[str, int]) -> dict[str, int]:
    for key, value in sizes.items():
        if key not in SPLITS:
            raise unknown("split", key, SPLITS, where=f"world {kind}: sizes")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise PetvrError(f"world {kind}: sizes.{key} is {value!r}; allowed: a whole number from 0 on")
    return {split: sizes.get(split, 0) for split in SPLITS}


def _content(path: Path) -> dict[str, Any]:
    """Of a file that a generated folder holds; nothing where it is not there or damaged."""
    try:
        return read_json(path, dict)
    except PetvrError:
        return {}


def _has_order(content: Mapping[str, Any], order: Mapping[str, Any]) -> bool:
    return {key: content.get(key) for key in order} == order


def _is_whole(video: Path, written: str | None) -> bool:
    """There, and as it was written where an earlier call came to its end; each appears under its name when complete."""
    return video.exists() and written in (None, fingerprint(video))


def _remove_own_videos(videos: Path, own_files: Path) -> None:
    """Remove the videos that an earlier order put here, by its own list; a folder of real data has no such list."""
    names = _content(own_files).get("files")
    if names is None and any(videos.glob("*")):
        fault = f"{own_files} is damaged: remove both" if own_files.exists() else "choose another folder"
        raise PetvrError(f"{videos}: holds videos that no generated world left there, as far as is known; {fault}")
    for name in names or ():
        (videos / name).unlink(missing_ok=True)


def _render_videos(jobs: list[tuple[Scene, Path]], workers: int, what: str, progress: bool) -> None:
    if not jobs:
        return
    shown = ProgressLine(what, len(jobs), progress)
    if workers <= 1:
        for job in jobs:
            _write_video(job)
            shown.step()
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for _ in pool.imap_unordered(_write_video, jobs, chunksize=4):
            shown.step()


def _write_video(job: tuple[Scene, Path]) -> None:
    video.write_video(*job)


def _clip_record(clip: WorldClip, file: str, written: Mapping[str, str]) -> dict[str, Any]:
    scene = {**asdict(clip.scene), "fps": str(clip.scene.fps)}
    return {
        "split": clip.split,
        "file": file,
        "written": written[file],
        "shown": hashlib.blake2b(json.dumps([VERSION, scene]).encode(), digest_size=8).hexdigest(),
        "seconds": clip.scene.seconds,
        "fps": str(clip.scene.fps),
        "frames": clip.scene.frames,
        "twin": clip.twin or None,
        "pair": clip.pair or None,
        "captions": [{"text": each.text, "temporal": is_temporal(each, clip.scene)} for each in clip.captions],
        "scene": scene,
    }


def _hard_pairs(clips: list[WorldClip]) -> dict[str, list[dict]]:
    """Every pair once, under its split."""
    pairs: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for clip in clips:
        if clip.twin and not any(clip.id in pair["videos"] for pair in pairs[clip.split]):
            pairs[clip.split].append({"videos": [clip.id, clip.twin], "kind": clip.pair})
    return pairs
