"""Some thousand videos of an index on disk: their vectors, and of each a line that says which file it is.

<index>/part-00000/vectors.npy   float16 [n, E], one row a video, memory-mapped
                   frames.npy, mask.npy, patches.npy   what the towers give, where the score is not one product
                   videos.jsonl, lines.npy   a record a video, and where each begins: nothing of it is read at the start
                   part.json     which model, the files that could not be read, and checksums; written last

Every file is compared with its checksum when it is first opened as it lies there; then its dates are remembered.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from petvr import atomic
from petvr.array_files import read_array
from petvr.errors import PetvrError, first_line
from petvr.library.video_files import Record
from petvr.result import StoredFile
from petvr.text_files import read_json, say_once, typed

SAID_FROM = 2**30  # bytes from which reading them is said
PART, VECTORS, RECORDS, LINES = "part.json", "vectors.npy", "videos.jsonl", "lines.npy"


class RecordFile(Sequence[Record]):
    """The lines of videos.jsonl, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / RECORDS
        self.starts = read_array(folder / LINES, "r")
        if self.starts.ndim != 1 or self.starts.dtype != np.int64 or not len(self.starts):
            raise PetvrError(f"{folder / LINES}: {self.starts.shape} of {self.starts.dtype}; make this index again")
        with open(self.path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            self.text = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        if int(self.starts[-1]) != size:
            raise PetvrError(f"{folder / RECORDS}: {size} bytes, {self.starts[-1]} were written; make this index again")

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: Any) -> Any:
        line = self.text[int(self.starts[number]) : int(self.starts[number + 1])]
        try:
            record = json.loads(line)
            if isinstance(record["video"], str) and isinstance(record["file"], str):
                return record
            raise TypeError("'video' and 'file' are not both texts")
        except (ValueError, KeyError, TypeError) as error:
            raise PetvrError(
                f"{self.path}: line {number + 1} is damaged ({error!r:.80}); make this index again"
            ) from error

    def __iter__(self) -> Iterator[Record]:
        return (self[number] for number in range(len(self)))


def _with_reason(record: Record) -> Record:
    if isinstance(record.get("reason"), str):
        return record
    raise ValueError("no 'reason' in it")


@dataclass(frozen=True)
class PartFacts:
    """part.json."""

    model: str
    videos: int
    features: list[str]
    problems: dict[str, Annotated[Record, AfterValidator(_with_reason)]]
    files: dict[str, StoredFile] = field(default_factory=dict)  # none in an index of an earlier petvr


@dataclass
class IndexPart:
    """`features` is empty where vectors are all that a score needs. problems: file -> its record, with `reason`."""

    vectors: np.ndarray
    features: dict[str, np.ndarray]
    records: Sequence[Record]
    problems: dict[str, Record] = field(default_factory=dict)
    has_checksums: bool = True

    def rows(self, which: Sequence[int]) -> IndexPart:
        """The same with some of its videos."""
        chosen = {name: array[which] for name, array in self.features.items()}
        return IndexPart(self.vectors[which], chosen, [self.records[row] for row in which], self.problems)

    def write(self, folder: Path, model_digest: str) -> None:
        """A whole folder at once."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            part = Path(temporary, "part")
            part.mkdir()
            for name, array in {"vectors": self.vectors, **self.features}.items():
                np.save(part / f"{name}.npy", array, allow_pickle=False)
            lines = [json.dumps(record).encode() + b"\n" for record in self.records]
            (part / RECORDS).write_bytes(b"".join(lines))
            np.save(part / LINES, np.cumsum([0, *map(len, lines)], dtype=np.int64), allow_pickle=False)
            names = sorted(path.name for path in part.iterdir())
            files = {
                name: {"bytes": (part / name).stat().st_size, "sha256": sha256}
                for name, sha256 in atomic.remembered_sha256(part, names).items()
            }
            facts = {"model": model_digest, "videos": len(self.records), "features": sorted(self.features)}
            atomic.write_json(part / PART, atomic.sealed({**facts, "problems": self.problems, "files": files}))
            if folder.exists():
                shutil.rmtree(folder)
            os.rename(part, folder)

    @classmethod
    def open(cls, folder: Path, model_digest: str, *, again: bool = False) -> IndexPart:
        """Memory-mapped. Raises PetvrError for one that is damaged or of another model. again: every byte is read."""
        facts = typed(PartFacts, atomic.unsealed(read_json(folder / PART, dict), folder / PART), folder / PART)
        if facts.model != model_digest:
            raise PetvrError(f"{folder}: made by another model than the index; make this index again")
        # copy on write: torch takes no array that may not be written
        arrays = {name: read_array(folder / f"{name}.npy", "c") for name in ["vectors", *facts.features]}
        try:
            records = RecordFile(folder)
        except (OSError, ValueError) as error:
            raise PetvrError(f"{folder}: damaged ({first_line(error)}); make this index again") from error
        vectors = arrays.pop("vectors")
        if any(array.ndim == 0 for array in arrays.values()) or vectors.dtype != np.float16 or vectors.ndim != 2:
            raise PetvrError(f"{folder}: damaged (its arrays are not those of an index); make this index again")
        rows = {len(vectors), len(records), facts.videos, *map(len, arrays.values())}
        if len(rows) != 1:
            raise PetvrError(f"{folder}: damaged (its files have different numbers of videos); make this index again")
        _require_unaltered(folder, facts.files, again)
        return cls(vectors, arrays, records, facts.problems, bool(facts.files))


def open_parts(folder: Path, names: Sequence[str], model_digest: str, again: bool) -> list[IndexPart]:
    """What has to be read for its checksums is said where it takes some time."""
    unread = [folder / name for name in names if again or not (folder / name / atomic.REMEMBERED).exists()]
    size = sum(path.stat().st_size for part in unread for path in part.glob("*.npy"))
    if size >= SAID_FROM:
        say_once(f"{folder}: checking {size / 1e9:.0f} GB{'' if again else ' once, as they are new here'}")
    return [IndexPart.open(folder / name, model_digest, again=again) for name in names]


def _require_unaltered(folder: Path, files: Mapping[str, StoredFile], again: bool) -> None:
    try:
        digests = atomic.remembered_sha256(folder, files, again=again) if files else {}
    except OSError as error:
        raise PetvrError(f"{folder}: cannot be read: {error}") from error
    for name, stored in files.items():
        if digests[name] != stored.sha256:
            raise PetvrError(f"{folder / name}: altered or damaged since it was written; make this index again")
