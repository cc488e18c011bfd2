"""The parts of an index: what an earlier build left that still holds, and what is new, encoded."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from petvr.data.frames.build import VideoItem
from petvr.data.frames.progress import Step, video_progress
from petvr.errors import PetvrError
from petvr.library.index_manifest import MANIFEST
from petvr.library.index_part import IndexPart
from petvr.library.text_video import TextVideoModel
from petvr.library.video_files import Record, record_of

PART_VIDEOS = 4096  # of a part; what a killed job loses at most


def build_parts(
    model: TextVideoModel,
    wanted: Mapping[str, VideoItem],
    folder: Path | None,
    sentences: Sequence[str] | None,
    workers: int,
    progress: bool,
) -> list[IndexPart]:
    """Of all wanted videos; in `folder`, each is written as soon as it is whole."""
    parts = _kept_parts(folder, model.digest, wanted) if folder else []
    known = {record["video"] for part in parts for record in part.records}
    known |= {file for part in parts for file in part.problems}
    todo = [item for video, item in wanted.items() if video not in known]
    with video_progress(progress, "index")(len(todo)) as step:
        for start in range(0, len(todo), PART_VIDEOS):
            part = _encoded(model, todo[start : start + PART_VIDEOS], sentences, workers, step)
            if folder:
                part.write(new_part_folder(folder), model.digest)
            parts.append(part)
    return parts


def _encoded(
    model: TextVideoModel, items: Sequence[VideoItem], sentences: Sequence[str] | None, workers: int, step: Step
) -> IndexPart:
    vectors = np.empty((len(items), model.model.adapted.embed_dim), np.float16)
    features: dict[str, np.ndarray] = {}
    present = np.zeros(len(items), bool)
    problems: dict[str, Record] = {}
    for rows, given, errors in model.encode_batches(items, sentences, None, workers):
        for number, error in errors.items():
            reason = str(error).removeprefix(f"{items[number].path}: ")
            problems[items[number].video] = record_of(items[number]) | {"reason": reason}
            step(problem=f"{items[number].path}: {reason}")
        if not rows:
            continue
        present[rows] = True
        vectors[rows] = model.video_vectors(given)
        for name, tensor in ({} if model.one_vector else given).items():
            array = (tensor if tensor.dtype == torch.bool else tensor.half()).cpu().numpy()
            if name not in features:
                features[name] = np.zeros((len(items), *array.shape[1:]), array.dtype)
            features[name][rows] = array
        for number in rows:
            if not all(np.isfinite(one[number]).all() for one in (vectors, *features.values())):
                raise PetvrError(
                    f"{items[number].path}: its features are no numbers in float16; the model has diverged"
                )
            step()
    whole = IndexPart(vectors, features, [record_of(item) for item in items], problems)
    return whole if present.all() else whole.rows(np.flatnonzero(present).tolist())


def _kept_parts(folder: Path, digest: str, wanted: Mapping[str, VideoItem]) -> list[IndexPart]:
    """The parts of an earlier build that still hold; rows of files that are gone or have changed are taken out."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in folder.glob(".part-*"):  # of a process that was killed
        shutil.rmtree(path)
    current = {video: record_of(item) for video, item in wanted.items()}
    parts, known = [], set[str]()
    for path in sorted(folder.glob("part-*")):
        try:
            part = IndexPart.open(path, digest)
        except PetvrError:
            shutil.rmtree(path)  # half written, damaged or of another model: encoded again
            continue
        rows = [
            row
            for row, one in enumerate(part.records)
            if current.get(one["video"]) == one and one["video"] not in known
        ]
        problems = {file: one for file, one in part.problems.items()
                    if {**current.get(file, {}), "reason": one["reason"]} == one}  # fmt: skip
        known |= {part.records[row]["video"] for row in rows}
        if len(rows) < len(part.records) or problems != part.problems:
            part.problems = problems
            part = part.rows(rows)
            shutil.rmtree(path)
            if rows or problems:
                part.write(path, digest)
        if rows or problems:
            parts.append(part)
    return parts


def new_part_folder(folder: Path) -> Path:
    numbers = [int(path.name.removeprefix("part-")) for path in folder.glob("part-*")]
    return folder / f"part-{max(numbers, default=-1) + 1:05d}"
