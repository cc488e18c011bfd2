"""A user's own videos: one csv file with the columns video, caption and split, and no code.

    video,caption,split
    clips/a.mp4,a dog runs over a field,train
    clips/a.mp4,a brown dog is running,train
    /other/disk/b.mp4,"someone cooks, then eats",test

A path is relative to the csv file's folder or absolute; it is also the video's id. Several rows of one video are its
captions, each a query of its own. `split` is train, val or test. Further columns are left alone.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from pathlib import Path
from typing import Literal

from petvr.data.datasets import readers
from petvr.data.datasets.base import Dataset, Split, from_lists, normalise_text
from petvr.errors import PetvrError, unknown

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
        return self.root / video

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
    """Every row checked. Rows are numbered as a spreadsheet does: the header is row 1."""
    first: dict[str, tuple[int, str]] = {}
    rows = []
    for number, row in enumerate(readers.csv_table(path, COLUMNS), start=2):
        video, caption, split = ((row[column] or "").strip() for column in COLUMNS)
        for column, value in zip(COLUMNS, (video, caption, split), strict=True):
            if not value:
                raise PetvrError(f"{path}: row {number}: '{column}' is empty")
        if split not in SPLITS:
            raise unknown("split", split, SPLITS, f"{path}: row {number}")
        if not video.isprintable():
            raise PetvrError(f"{path}: row {number}: the path {video!r} holds unprintable characters")
        video = os.path.normpath(video)
        before, its = first.setdefault(video, (number, split))
        if its != split:
            raise PetvrError(
                f"{path}: row {number}: '{video}' is in split '{split}' here and in '{its}' in row {before}; "
                "a video belongs to one split"
            )
        rows.append((video, normalise_text(caption), split))
    if not rows:
        raise PetvrError(f"{path}: holds no row below the header")
    return tuple(rows)
