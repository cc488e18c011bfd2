"""Manifests on disk: a parquet file per split with every video, and a JSON summary that the workflow waits for.

The summary holds nothing that a second look at the same files would change, so that writing it again asks for no run.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from petvr import atomic
from petvr.data.datasets.video_state import VideoState
from petvr.data.manifest import identity
from petvr.data.manifest.rows import VideoRow, table
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.text_files import read_json, typed

FORMAT = 1


def _is_split(counts: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(counts.get("digest"), str):
        raise ValueError("no 'digest' in it")
    for name in ("videos", "official", "captions", str(VideoState.OK)):
        if type(counts.get(name)) is not int or counts[name] < 0:
            raise ValueError(f"'{name}' must be a whole number from 0 on")
    return counts


@dataclass(frozen=True)
class Summary:
    """What `results/manifests/<dataset>.json` says."""

    dataset: str
    presence: str  # see petvr.data.manifest.identity
    splits: dict[
        str, Annotated[dict[str, Any], AfterValidator(_is_split)]
    ]  # name -> videos, official, captions, digest, ok
    left_out: dict[str, dict[str, str]]  # split -> video -> status, of those that are absent or plainly no video


def summary(
    name: str, splits: Mapping[str, str], official: Mapping[str, tuple[int, int]], rows: list[VideoRow]
) -> Summary:
    """splits: name -> `Split.digest()`; official: name -> (videos, captions), what is listed where it is silent."""
    counts: dict[str, dict[str, Any]] = {}
    left_out: dict[str, dict[str, str]] = {}
    for split, digest in splits.items():
        mine = [row for row in rows if row.split == split]
        counts[split] = {
            "videos": len(mine),
            "official": max(official.get(split, (0, 0))[0], len(mine)),
            "captions": sum(row.captions for row in mine),
            "digest": digest,
            **_sorted(Counter(row.status for row in mine)),
        }
        left_out[split] = {row.video: str(row.status) for row in sorted(mine, key=lambda row: row.video) if not row.ok}
    return Summary(name, identity.presence(name, splits, rows), counts, left_out)


def _sorted(counts: Counter[VideoState]) -> dict[str, int]:
    return {str(state): counts[state] for state in VideoState if counts[state] or state is VideoState.OK}


def write_manifest(layout: Layout, name: str, rows: list[VideoRow], summary: Summary) -> None:
    """All parquet files, then the summary."""
    write_rows(layout, name, rows)
    content = atomic.sealed({"format": FORMAT, **vars(summary)})
    path = layout.manifest(name)
    if _json(path) != content:  # else its time stays too, and no run has a reason to start
        atomic.write_json(path, content)


def write_rows(layout: Layout, name: str, rows: list[VideoRow]) -> None:
    import pyarrow
    from pyarrow import parquet

    for split in dict.fromkeys(row.split for row in rows):
        with atomic.replacing(layout.manifest_rows(name, split)) as temporary:
            parquet.write_table(pyarrow.table(table([row for row in rows if row.split == split]), _schema()), temporary)


def _schema() -> Any:
    import pyarrow

    whole, real = ("bytes", "mtime_ns", "frames", "captions"), ("start", "end", "fps", "duration")
    kinds = dict.fromkeys(whole, pyarrow.int64()) | dict.fromkeys(real, pyarrow.float64())
    return pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in VideoRow.__dataclass_fields__])


def read_rows(layout: Layout, name: str, splits: Iterable[str]) -> list[VideoRow]:
    """Rows of an earlier manifest; none where it was never written or cannot be read."""
    from pyarrow import ArrowException, parquet

    rows: list[VideoRow] = []
    for split in splits:
        try:
            data = parquet.read_table(layout.manifest_rows(name, split)).to_pydict()
            data["status"] = [VideoState(status) for status in data["status"]]
            rows += [VideoRow(**dict(zip(data, values, strict=True))) for values in zip(*data.values(), strict=True)]
        except (OSError, ArrowException, TypeError, KeyError, ValueError):
            continue  # it only saves reading files again
    return rows


def read_summary(layout: Layout, name: str) -> Summary | None:
    """The summary; None where the data set was never checked or was checked by an older petvr.

    Raises PetvrError for one that was damaged or altered since.
    """
    path = layout.manifest(name)
    if not os.path.lexists(path):
        return None
    try:
        data = atomic.unsealed(read_json(path, dict), path)
        if data.get("format", 0) == 0:
            return None
        if data["format"] != FORMAT:
            raise PetvrError(f"{path}: format {data['format']!r:.40}, this petvr reads {FORMAT}")
        return typed(Summary, data, path)
    except PetvrError as error:
        raise PetvrError(f"{error}; write it anew: petvr data check {name}") from error


def _json(path: Path) -> Any:
    try:
        return read_json(path, dict)
    except PetvrError:
        return None
