"""ActivityNet Captions: 14,926 long videos; all sentences of a video, joined by blanks, are its one paragraph.

Whole videos are used. Training on `train`, test on the first annotation of the validation videos, val_1 (DATASETS §5).

paragraph_order  `file` joins in the order of the annotation file, as CLIP4Clip does (95 % of the paragraphs are in
                 time order anyway); `time` sorts by the sentences' start and end.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from petvr.datasets import readers
from petvr.datasets.base import Dataset, Split, distinct, from_lists, tidy
from petvr.errors import PetvrError

FILES = {"train": "train.json", "test": "val_1.json"}
PREFIX = "v_"


class Activitynet(Dataset):
    name = "activitynet"
    folder = "activitynet"
    kind = "paragraph"
    counts = {"train": (10_009, 10_009), "test": (4_917, 4_917)}  # noqa: RUF012
    options = {"paragraph_order": ("file", "time")}  # noqa: RUF012
    why = {"paragraph_order": ("code", "CLIP4Clip's loader; no paper says")}  # noqa: RUF012

    def files(self, which: str) -> list[Path]:
        return [self.root / FILES[which]]

    def file_names(self, video: str) -> Iterable[str]:
        """With the `v_` of the annotation (official archives) and without it (downloads by YouTube's own id)."""
        for name in (video, video.removeprefix(PREFIX)):
            yield from (name + extension for extension in self.extensions)

    def _read(self, which: str) -> Split:
        path = self.root / FILES[which]
        told = {video: self._sentences(entry, video, path) for video, entry in readers.json_file(path, dict).items()}
        videos = distinct(list(told), path)
        return from_lists(which, videos, {video: [" ".join(told[video])] for video in videos})

    def _sentences(self, entry: Any, video: str, path: Path) -> list[str]:
        given = readers.field(entry, "sentences", path, f"'{video}'", list)
        if self.chosen["paragraph_order"] == "time":
            given = [given[index] for index in _by_time(entry, video, path, len(given))]
        if not all(isinstance(sentence, str) for sentence in given):
            raise PetvrError(f"{path}: '{video}': 'sentences' holds something that is no text")
        sentences = [text for text in map(tidy, given) if text]
        if not sentences:
            raise PetvrError(f"{path}: '{video}' has no sentence")
        return sentences


def _by_time(entry: Any, video: str, path: Path, count: int) -> list[int]:
    """Indices of the sentences by (start, end); the few reversed pairs of the published file are turned."""
    stamps = readers.field(entry, "timestamps", path, f"'{video}'", list)
    try:
        spans = [tuple(sorted((float(start), float(end)))) for start, end in stamps]
    except (TypeError, ValueError) as error:
        raise PetvrError(f"{path}: '{video}': 'timestamps' must be pairs of seconds") from error
    if len(spans) != count:
        raise PetvrError(f"{path}: '{video}': {len(spans)} timestamps for {count} sentences")
    return sorted(range(count), key=spans.__getitem__)
