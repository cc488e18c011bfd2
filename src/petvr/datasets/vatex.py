"""VATEX: ten-second clips of YouTube videos with ten English captions each, every caption a query (DATASETS §6).

Training on the 25,991 official training clips. The official 3,000 validation clips are split in two ways:

split  `hgr` tests on the 1,500 clips of HGR and has the other 1,500 for validation; `random1k5` tests on another 1,500
       (776 of HGR's validation, 724 of its test) and has no validation split. Cross-Modal Adapter says HGR, yet quotes
       numbers of CLIP2Video that belong to the random list, so both are to be had.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from petvr.datasets import readers
from petvr.datasets.base import Dataset, Split, distinct, from_lists, tidy
from petvr.errors import PetvrError

LISTS = {"hgr": {"train": "train_list.txt", "val": "val_list.txt", "test": "test_list.txt"}}
LISTS["random1k5"] = {"train": "train_list.txt", "test": "test1k5_sec_list.txt"}
TRAINING, VALIDATION = "vatex_training_v1.0.json", "vatex_validation_v1.0.json"
ID = re.compile(r"(.{11})_(\d{6})_(\d{6})")


class Vatex(Dataset):
    name = "vatex"
    folder = "vatex"
    kind = "multi"
    counts = {"train": (25_991, 259_910), "val": (1_500, 15_000), "test": (1_500, 15_000)}  # noqa: RUF012
    options = {"split": ("hgr", "random1k5")}  # noqa: RUF012
    why = {"split": ("paper", "Cross-Modal Adapter says HGR, but quotes CLIP2Video's random list")}  # noqa: RUF012

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(LISTS[self.chosen["split"]])

    def files(self, which: str) -> list[Path]:
        told = TRAINING if which == "train" else VALIDATION
        return [self.root / LISTS[self.chosen["split"]][which], self.root / told]

    def file_names(self, video: str) -> Iterable[str]:
        """The cut clip by its id; else the whole YouTube video by its own id, of which only the window is used."""
        yield from (video + extension for extension in self.extensions)
        if whole := _parts(video)[0]:
            yield from (whole + extension for extension in self.extensions)

    def window(self, video: str) -> tuple[float, float] | None:
        """None for a clip that was cut; the ten seconds of its id where only the whole video is there."""
        whole, start, end = _parts(video)
        if not whole or self.video_file(video).stem == video:
            return None
        return start, end

    def _read(self, which: str) -> Split:
        path, source = self.files(which)
        videos = distinct(readers.lines(path), path)
        told = self._captions(source)
        for video in videos:
            if not told.get(video):
                raise PetvrError(f"{source}: no English caption of '{video}', which {path.name} lists")
        return from_lists(which, videos, {video: [_text(t, source, video) for t in told[video]] for video in videos})

    @staticmethod
    def _captions(source: Path) -> dict[str, list[Any]]:
        told: dict[str, list[Any]] = {}
        for number, record in enumerate(readers.json_file(source, list)):
            where = f"record {number}"
            video = readers.field(record, "videoID", source, where)
            if video in told:
                raise PetvrError(f"{source}: {where}: '{video}' stands there twice")
            told[video] = readers.field(record, "enCap", source, where, list)
        return told


def _text(caption: Any, source: Path, video: str) -> str:
    if not isinstance(caption, str) or not caption.strip():
        raise PetvrError(f"{source}: '{video}': a caption of 'enCap' is empty or no text")
    return tidy(caption)


def _parts(video: str) -> tuple[str, float, float]:
    """YouTube's id, first and last second; an id of another form is taken as it is, without a window."""
    found = ID.fullmatch(video)
    return (found[1], float(found[2]), float(found[3])) if found else ("", 0.0, 0.0)
