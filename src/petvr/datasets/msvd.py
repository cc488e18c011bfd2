"""MSVD: 1,970 short clips with 18 to 81 captions each; every caption is a query of its own (DATASETS §2).

Captions come from the JSON twin of the original pickle (captions_msvd.json), so that no foreign pickle is opened.
"""

from __future__ import annotations

from pathlib import Path

from petvr.datasets import readers
from petvr.datasets.base import EXTENSIONS, Dataset, Split, distinct, from_lists, tidy
from petvr.errors import PetvrError


class Msvd(Dataset):
    name = "msvd"
    folder = "msvd"
    kind = "multi"
    counts = {"train": (1_200, 48_774), "val": (100, 4_290), "test": (670, 27_763)}  # noqa: RUF012
    extensions = (".avi", ".mp4", *(e for e in EXTENSIONS if e not in (".avi", ".mp4")))

    def files(self, which: str) -> list[Path]:
        return [self.root / f"{which}_list.txt", self.root / "captions_msvd.json"]

    def _read(self, which: str) -> Split:
        path = self.root / f"{which}_list.txt"
        videos = distinct(readers.lines(path), path)
        source = self.root / "captions_msvd.json"
        data = readers.json_file(source, dict)
        captions = {}
        for video in videos:
            texts = [self._text(t, source, video) for t in readers.field(data, video, source, "top level", list)]
            if not texts:
                raise PetvrError(f"{source}: '{video}' has no caption")
            captions[video] = texts
        return from_lists(which, videos, captions)

    @staticmethod
    def _text(caption: object, source: Path, video: str) -> str:
        if not isinstance(caption, str) or not caption.strip():
            raise PetvrError(f"{source}: '{video}': a caption is empty or no text")
        return tidy(caption)
