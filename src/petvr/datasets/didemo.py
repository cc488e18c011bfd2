"""DiDeMo: 10,464 Flickr videos; all descriptions of a video, joined by blanks, are its one paragraph (DATASETS §4).

Only seconds 0 to 31 of a video are used, as in CLIP4Clip. Two choices are options because papers differ or do not say:

paragraph_order  `file` joins in the order of the annotation file (CLIP4Clip); `time` sorts by the first and last
                 five-second chunk most annotators chose (earlier chunk on a tie; the exact rule is a guess).
didemo_key       `exact` takes only descriptions under exactly the listed file name (CLIP4Clip; loses 71 of val's 4,180
                 and 89 of test's 4,021); `flickr_id` joins the names of one video by `<user>_<flickr id>`, loses none.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from petvr.datasets import readers
from petvr.datasets.base import EXTENSIONS, Dataset, Split, distinct, from_lists, listing, tidy
from petvr.errors import PetvrError

WINDOW = (0.0, 31.0)


def flickr_id(name: str) -> str:
    """`12345678@N01_123456_abcdef.mp4` -> `12345678@N01_123456`, the part that names of one video share."""
    return "_".join(name.split("_")[:2])


class Didemo(Dataset):
    name = "didemo"
    folder = "didemo"
    kind = "paragraph"
    counts = {"train": (8_392, 8_392), "val": (1_065, 1_065), "test": (1_004, 1_004)}  # noqa: RUF012
    options = {"paragraph_order": ("file", "time"), "didemo_key": ("exact", "flickr_id")}  # noqa: RUF012
    why = dict.fromkeys(options, ("code", "CLIP4Clip's loader; no paper says"))

    def files(self, which: str) -> list[Path]:
        return [self.root / f"{which}_list.txt", self.root / f"{which}_data.json"]

    def window(self, video: str) -> tuple[float, float]:
        return WINDOW

    def video_file(self, video: str) -> Path:
        """By the listed name, the name with .mp4 behind it, the Flickr id, or any other name of the same Flickr id."""
        path = super().video_file(video)
        if path.name in (present := listing(str(self.videos))):
            return path
        other = _by_flickr_id(present).get(flickr_id(video))
        return self.videos / other if other else path

    def file_names(self, video: str) -> Iterable[str]:
        if self.chosen["didemo_key"] == "exact":
            yield from (video, f"{video}.mp4")
            yield from (_stem(video) + extension for extension in EXTENSIONS)
        yield from (flickr_id(video) + extension for extension in EXTENSIONS)

    def _read(self, which: str) -> Split:
        path = self.root / f"{which}_list.txt"
        listed = distinct(readers.lines(path), path)
        key = flickr_id if self.chosen["didemo_key"] == "flickr_id" else str
        videos = list(dict.fromkeys(key(name) for name in listed))
        source = self.root / f"{which}_data.json"
        told = self._descriptions(source, key)
        # a listed name without any description (possible under `exact` only in foreign copies) has no paragraph
        videos = [video for video in videos if video in told]
        if not videos:
            raise PetvrError(f"{source}: describes none of the videos of {path.name}")
        return from_lists(which, videos, {video: [" ".join(told[video])] for video in videos})

    def _descriptions(self, source: Path, key: Any) -> dict[str, list[str]]:
        found = collections.defaultdict(list)
        for number, record in enumerate(readers.json_file(source, list)):
            where = f"record {number}"
            text = tidy(readers.field(record, "description", source, where))
            if not text:
                continue
            order: tuple[int, ...] = ()
            if self.chosen["paragraph_order"] == "time":
                order = _chunk(readers.field(record, "times", source, where, list), source, where)
            found[key(readers.field(record, "video", source, where))].append((order, text))
        # sorting is stable: under `file` every key is equal
        return {video: [t for _, t in sorted(items, key=lambda item: item[0])] for video, items in found.items()}


def _chunk(times: list[Any], source: Path, where: str) -> tuple[int, int]:
    """The [first, last] chunk that most annotators chose; the earliest of those chosen equally often."""
    try:
        votes = collections.Counter((int(first), int(last)) for first, last in times)
    except (TypeError, ValueError) as error:
        raise PetvrError(f"{source}: {where}: 'times' must be pairs of chunk numbers") from error
    if not votes:
        raise PetvrError(f"{source}: {where}: 'times' is empty")
    return min(votes, key=lambda pair: (-votes[pair], pair))


@functools.lru_cache(maxsize=4)
def _by_flickr_id(names: frozenset[str]) -> dict[str, str]:
    """Flickr id -> one of its files: the first in alphabetical order, so that every machine takes the same."""
    return {flickr_id(_stem(name)): name for name in sorted(names, reverse=True)}


def _stem(name: str) -> str:
    """The name without its last extension; some official names end in a bare dot."""
    return name.rpartition(".")[0] or name
