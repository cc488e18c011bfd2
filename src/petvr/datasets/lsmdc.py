"""LSMDC 2016: some 118,000 cut clips of 202 films, one sentence a row; 1,000 of them are the test (DATASETS §3).

The annotation files end in .csv and are tab-separated without a header or quoting. A training clip may have several
rows; each is a pair. The 7,408 validation rows are not the test split of any paper.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from petvr.datasets import readers
from petvr.datasets.base import EXTENSIONS, Dataset, Split, distinct, plain, tidy
from petvr.errors import PetvrError

FILES = {
    "train": "LSMDC16_annos_training.csv",
    "val": "LSMDC16_annos_val.csv",
    "test": "LSMDC16_challenge_1000_publictect.csv",  # the misspelling is the official name
}
COLUMNS = ("clip id", "start aligned", "end aligned", "start extracted", "end extracted", "sentence")
TIMES = re.compile(r"_\d\d\.\d\d\.\d\d\.\d{3}-\d\d\.\d\d\.\d\d\.\d{3}$")


def film(clip: str) -> str:
    """`1004_Some_Film_00.10.05.100-00.10.08.300` -> `1004_Some_Film`, the folder a clip lies in."""
    return TIMES.sub("", clip)


class Lsmdc(Dataset):
    name = "lsmdc"
    folder = "lsmdc"
    kind = "single"
    counts = {"train": (101_046, 101_079), "val": (7_408, 7_408), "test": (1_000, 1_000)}  # noqa: RUF012
    uncertain = frozenset({"train"})
    extensions = (".avi", ".mp4", *(e for e in EXTENSIONS if e not in (".avi", ".mp4")))

    def files(self, which: str) -> list[Path]:
        return [self.root / FILES[which]]

    def file_names(self, video: str) -> Iterable[str]:
        """In the film's folder as the official script leaves it; all clips in one folder as some copies have it."""
        yield from (f"{film(video)}/{video}{extension}" for extension in self.extensions)
        yield from (video + extension for extension in self.extensions)

    def _read(self, which: str) -> Split:
        path = self.root / FILES[which]
        rows = [self._row(line, number, path) for number, line in readers.numbered(path)]
        if which != "train":
            distinct([clip for clip, _ in rows], path)
        place = {clip: index for index, clip in enumerate(dict.fromkeys(clip for clip, _ in rows))}
        if not place:
            raise PetvrError(f"{path}: lists no video")
        return Split(which, tuple(place), tuple(text for _, text in rows), tuple(place[clip] for clip, _ in rows))

    @staticmethod
    def _row(line: str, number: int, path: Path) -> tuple[str, str]:
        parts = line.split("\t")
        if len(parts) != len(COLUMNS):
            raise PetvrError(
                f"{path}: line {number} has {len(parts)} columns, expected {len(COLUMNS)} "
                f"({', '.join(COLUMNS)}), separated by tabs"
            )
        clip, sentence = parts[0].strip(), tidy(parts[-1])
        if not clip or not sentence:
            raise PetvrError(f"{path}: line {number}: the {'sentence' if clip else 'clip id'} is empty")
        return plain(clip, path), sentence
