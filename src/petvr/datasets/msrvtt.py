"""MSR-VTT: 10,000 clips with 20 captions each; training splits 9k and 7k, test split 1k-A (DATASETS §1).

Training: every caption of MSRVTT_data.json. Test: the one sentence per clip of MSRVTT_JSFUSION_test.csv. There is no
validation split: the papers choose their epoch on the test split, and say so or not.
"""

from __future__ import annotations

import collections
from pathlib import Path

from petvr.datasets import readers
from petvr.datasets.base import Dataset, Split, distinct, from_lists, tidy
from petvr.errors import PetvrError


class Msrvtt9k(Dataset):
    name = "msrvtt-9k"
    folder = "msrvtt"
    kind = "single"
    train_list = "MSRVTT_train.9k.csv"
    counts = {"train": (9_000, 180_000), "test": (1_000, 1_000)}  # noqa: RUF012

    def files(self, which: str) -> list[Path]:
        names = (self.train_list, "MSRVTT_data.json") if which == "train" else ("MSRVTT_JSFUSION_test.csv",)
        return [self.root / name for name in names]

    def _read(self, which: str) -> Split:
        return self._train() if which == "train" else self._test()

    def _train(self) -> Split:
        path = self.root / self.train_list
        videos = distinct([row["video_id"].strip() for row in readers.csv_rows(path, ("video_id",))], path)
        captions = self._captions()
        for video in videos:
            if video not in captions:
                raise PetvrError(f"{self.root / 'MSRVTT_data.json'}: no sentence of '{video}', which {path.name} lists")
        return from_lists("train", videos, captions)

    def _test(self) -> Split:
        path = self.root / "MSRVTT_JSFUSION_test.csv"
        rows = readers.csv_rows(path, ("video_id", "sentence"))
        videos = distinct([row["video_id"].strip() for row in rows], path)
        sentences = tuple(tidy(row["sentence"]) for row in rows)
        return Split("test", tuple(videos), sentences, tuple(range(len(videos))))

    def _captions(self) -> dict[str, list[str]]:
        path = self.root / "MSRVTT_data.json"
        data = readers.json_file(path, dict)
        found: dict[str, list[str]] = collections.defaultdict(list)
        for number, sentence in enumerate(readers.field(data, "sentences", path, "top level", list)):
            where = f"sentences[{number}]"
            caption = tidy(readers.field(sentence, "caption", path, where))
            if not caption:
                raise PetvrError(f"{path}: {where}: 'caption' is empty")
            found[readers.field(sentence, "video_id", path, where)].append(caption)
        return dict(found)


class Msrvtt7k(Msrvtt9k):
    """7,010 training clips: the official train and validation parts of the challenge; the test split is the same."""

    name = "msrvtt-7k"
    train_list = "MSRVTT_train.7k.csv"
    counts = {"train": (7_010, 140_200), "test": (1_000, 1_000)}  # noqa: RUF012
