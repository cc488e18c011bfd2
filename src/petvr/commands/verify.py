"""`petvr verify`: read everything below results again, whole, and name what is not as it was written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout

KINDS = ("weights", "manifests", "frames", "runs", "tuning", "state", "indexes")
Check = tuple[str, Path, Callable[[], None]]  # what it is, where it lies, what raises PetvrError for a fault


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=KINDS, help="one kind alone")
    parser.epilog = "exit code: 0 all is as it was written, 1 something is not (one line each), 2 bad input"


def run(args: argparse.Namespace, config: Config) -> int:
    from rich.console import Console
    from rich.progress import track

    layout = Layout(config.results)
    if not layout.results.is_dir():
        raise PetvrError(f"{layout.results}: no such results folder")
    checks = [check for check in _checks(layout) if args.only in (None, check[0])]
    faults, notes = list[str](), list[str]()
    watched = track(checks, "verify", console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
    for _, path, check in watched:
        try:
            check()
        except _Earlier:
            notes.append(str(path))
        except PetvrError as error:
            faults.append(str(error) if str(path) in str(error) else f"{path}: {error}")
        except Exception as error:  # whatever a damaged file makes a library say
            faults.append(f"{path}: cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:200]})")
    print(*faults, sep="\n", end="\n" if faults else "")
    if notes:
        print(f"{len(notes)} of an earlier petvr, which noted no checksums, e.g. {notes[0]}")
    kinds = {kind: sum(one[0] == kind for one in checks) for kind in dict.fromkeys(one[0] for one in checks)}
    looked_at = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing there"
    print(f"{layout.results}: {looked_at}: {f'{len(faults)} faults' if faults else 'all as it was written'}")
    return 1 if faults else 0


class _Earlier(Exception):
    """Readable, and without a checksum to compare it with."""


def _checks(layout: Layout) -> Iterator[Check]:
    results = layout.results
    for folder in sorted(path for path in (results / "weights").glob("*") if path.is_dir()):
        yield "weights", folder, partial(_check_weights, folder)
    for path in sorted((results / "manifests").glob("*.json")):
        yield "manifests", path, partial(_check_manifest, layout, path)
    for path in sorted((results / "frames").rglob("index.json")):
        yield "frames", path.parent, partial(_check_frames, path.parent)
    for path in sorted(layout.runs.rglob("seed-*")):
        if path.is_dir():
            yield "runs", path, partial(_check_run, layout, path)
    for path in sorted((results / "state").rglob("step-*.safetensors")):
        yield "state", path, partial(_check_state, path)
    for path in sorted((results / "tuning").rglob("*.json")):
        yield "tuning", path, partial(_check_tuning, path)
    for path in sorted((results / "indexes").rglob("index.json")):
        if (path.parent.parent / path.name).exists():  # a shard of it
            continue
        yield "indexes", path.parent, partial(_check_index, path.parent)


def _check_weights(folder: Path) -> None:
    from petvr.clip.config import GEOMETRIES
    from petvr.clip.weights import RECORD, check_weights, digest

    check_weights(folder, GEOMETRIES.get(folder.name))
    digest(folder, whole=True)
    if not (folder / RECORD).exists():
        raise _Earlier


def _check_manifest(layout: Layout, path: Path) -> None:
    from petvr.data.manifest.files import read_summary

    read_summary(layout, path.stem)
    if b'"seal"' not in path.read_bytes():
        raise _Earlier


def _check_frames(store: Path) -> None:
    """Every frame, whatever is remembered of them."""
    from petvr.data.frames.index import FrameIndex
    from petvr.data.frames.stored_frames import StoredFrames, damaged_frames

    index = FrameIndex.read(store)
    if bad := damaged_frames(StoredFrames(store, index), index):
        raise PetvrError("; ".join(f"{video}: {why}" for video, why in bad.items()))


def _check_run(layout: Layout, folder: Path) -> None:
    from petvr.result import Result

    path = folder / "result.json"
    if not path.exists():  # under way, or failed: `petvr cells` says which
        return
    result = Result.read(path)
    run_id = folder.relative_to(layout.runs).as_posix()
    if result.id != run_id:
        raise PetvrError(f"{path}: holds the result of {result.id}")
    for name in result.files:
        if name != "adapter.safetensors" or (folder / name).exists():  # large ones may be deleted
            result.check_file(folder, name)
    if not result.files:
        raise _Earlier


def _check_state(path: Path) -> None:
    from petvr.training.checkpoint import read_checkpoint

    read_checkpoint(path, {})


def _check_tuning(path: Path) -> None:
    from petvr.atomic import unsealed
    from petvr.result import TrialRecord
    from petvr.text_files import read_json

    if path.name.startswith("decision-"):
        unsealed(read_json(path, dict), path, required=True)
    else:
        TrialRecord.read(path)


def _check_index(folder: Path) -> None:
    from petvr.library.video_index import Index

    index = Index.load(folder, again=True)
    list(index.videos)
    if not all(part.has_checksums for part in index.parts):
        raise _Earlier
