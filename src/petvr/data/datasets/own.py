"""A user's own videos: one csv file with the columns video, caption and split, and no code.

    video,caption,split
    clips/a.mp4,a dog runs over a field,train
    clips/a.mp4,a brown dog is running,train
    /other/disk/b.mp4,"someone cooks, then eats",test

A path is relative to the csv file's folder or absolute; it is also the video's id. Several rows of one video are its
captions, each a query of its own; a row that stands there twice counts once. `split` is train, val or test. Further
columns are left alone. Semicolons or tabs may separate the columns.
"""

from __future__ import annotations

import functools
import os
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Literal

from petvr.data.datasets.base import Dataset, Split, from_lists, nearest_file, normalise_text
from petvr.errors import PetvrError, unknown
from petvr.text_files import read_table, say_once

COLUMNS = ("video", "caption", "split")
SPLITS = ("train", "val", "test")
Row = tuple[str, str, str]  # video, caption, split


class Own(Dataset):
    """The data set `name` that the csv file `file` describes.

    There are no official counts. Without training rows the train split is empty, which is enough for methods that
    train nothing; the test split must have a row.
    """

    counts = {}  # noqa: RUF012

    def __init__(self, name: str, file: Path):
        self.file = Path(file)
        self.name = self.title = self.folder = name
        super().__init__(self.file.parent, self.file.parent)

    @property
    def kind(self) -> Literal["single", "multi"]:
        """How the test split is ranked: several captions of any test video make it multi."""
        captions = Counter(self.split("test").caption_video)
        return "multi" if max(captions.values()) > 1 else "single"

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(name for name in SPLITS if name != "val" or any(row[2] == "val" for row in self._rows()))

    @property
    def synthetic(self) -> bool:
        return False

    @property
    def official(self) -> None:
        return None

    def files(self, which: str) -> list[Path]:
        return [self.file]

    def annotation_files(self) -> list[Path]:
        return [self.file]

    def video_file(self, video: str) -> Path:
        return nearest_file(self.root, video)

    def _read_split(self, which: str) -> Split:
        captions: dict[str, list[str]] = {}
        for video, caption, split in self._rows():
            if split == which:
                captions.setdefault(video, []).append(caption)
        if which == "test" and not captions:
            raise PetvrError(f"{self.file}: no row has the split 'test', so there is nothing to search in")
        return from_lists(which, list(captions), captions)

    def _rows(self) -> tuple[Row, ...]:
        try:
            stamp = self.file.stat().st_mtime_ns
        except OSError:
            stamp = 0  # read anyway, for its message
        return _parsed(self.file, stamp)


@functools.lru_cache(maxsize=8)
def _parsed(path: Path, stamp: int) -> tuple[Row, ...]:
    """Every row checked, each once. A video has one spelling and one split, whatever links lead to it."""
    known: dict[str, tuple[str, object]] = {}  # as written -> below the csv file's folder, and what it is
    first: dict[object, tuple[int, str, str]] = {}  # what tells a video from any other -> its first row, split, name
    rows: dict[Row, int] = {}
    repeats: list[tuple[int, int]] = []
    for number, row in read_table(path, COLUMNS).items():
        written, caption, split = (row[column] for column in COLUMNS)
        where = f"{path}: row {number}"
        if split not in SPLITS:
            raise unknown("split", split, SPLITS, where)
        if not written.isprintable():
            raise PetvrError(f"{where}: the path {written!r} holds unprintable characters")
        if written not in known:
            video = _video_name(path, written)
            known[written] = video, _identity(path.parent, video)
        video, identity = known[written]
        before, its, name = first.setdefault(identity, (number, split, video))
        if its != split:
            raise PetvrError(
                f"{where}: '{written}' is in split '{split}' here and in '{its}' in row {before}"
                f"{'' if name == video else f' (there as {name!r})'}; a video belongs to one split"
            )
        if name != video:
            raise PetvrError(f"{where}: '{written}' is the video of row {before}, there as '{name}'; spell it alike")
        earlier = rows.setdefault((video, normalise_text(caption), split), number)
        if earlier != number:
            repeats.append((number, earlier))
    if not rows:
        raise PetvrError(f"{path}: holds no row below the header")
    if repeats:
        say_once(f"{path}: {len(repeats):,} row(s) repeat an earlier one and count once; row {repeats[0][0]} is row "
                 f"{repeats[0][1]}")  # fmt: skip
    return tuple(rows)


def _video_name(path: Path, written: str) -> str:
    """Without `./`; backslashes are separators of folders unless a file has them in its name."""
    if "\\" in written and not (path.parent / written).exists():
        say_once(f"{path}: backslashes in paths are read as /, e.g. {written}")
        written = written.replace("\\", "/")
    return os.path.normpath(written)


def _identity(folder: Path, video: str) -> object:
    """The file behind links and decomposed letters; of one that is not there its name with composed letters."""
    file = nearest_file(folder, video)
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return unicodedata.normalize("NFC", os.path.realpath(file))
    return stat.st_dev, stat.st_ino
