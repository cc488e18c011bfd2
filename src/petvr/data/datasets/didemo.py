"""DiDeMo: 10,464 Flickr videos; all descriptions of a video, joined by blanks, are its one paragraph.

Only seconds 0 to 31 of a video are used, as in CLIP4Clip. Two choices are options because papers differ or do not say:

paragraph_order  `file` joins in the order of the annotation file (CLIP4Clip); `time` sorts by the first and last
                 five-second chunk most annotators chose (earlier chunk on a tie; the exact rule is a guess).
didemo_key       `exact` takes only descriptions under exactly the listed file name (CLIP4Clip; loses 71 of val's 4,180
                 and 89 of test's 4,021); `flickr_id` joins the names of one video by `<user>_<flickr id>`, loses none.
"""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from petvr import text_files
from petvr.data.datasets.base import EXTENSIONS, Dataset, Split, from_lists, listing, normalise_text, require_unique
from petvr.data.datasets.source import DownloadSource, Mirror
from petvr.errors import PetvrError

WINDOW = (0.0, 31.0)
LM = "https://github.com/LisaAnne/LocalizingMoments/raw/master/data/"
CE = "https://raw.githubusercontent.com/albanie/collaborative-experts/7eb3b9d/misc/datasets/didemo/"
AWS = "https://multimedia-commons.s3-us-west-2.amazonaws.com/data/videos/mp4/{}/{}/{}.mp4"
HASHES = "yfcc100m_hash.txt"


def _file(base: str, name: str, size: int | None, md5: str | None, sha256: str | None = None) -> DownloadSource:
    mirror = Mirror(base + name, size=size, md5=md5, sha256=sha256)
    return DownloadSource(name, "annotations", (mirror,), about_bytes=size or 8_180_000)


SOURCES = (
    _file(LM, "train_data.json", None, None),
    _file(
        LM,
        "val_data.json",
        1_111_448,
        "bf8218b4421b74642214ab3e84423b15",
        "b0364cc256553332feb19d46bcc4cd2b09774949fe6c0b25e7ed0ff3c6aefebb",
    ),
    _file(
        LM,
        "test_data.json",
        1_068_934,
        "309072a37a329ee45d66e44b1b55e1e6",
        "1891c04ec48b3d364c739594b2b6413806b74bd9027c092d896e7ebb930ff1cd",
    ),
    _file(CE, "train_list.txt", 328_110, "8c7b0b7e43da5aa591d668c980e0cfaa"),
    _file(CE, "val_list.txt", 41_682, "2d01edd0f77bf7f4ad7f5a6b0c52e970"),
    _file(CE, "test_list.txt", 39_146, "f86b7148857ece3455ef8aa82746b05c"),
    _file(
        LM,
        HASHES,
        450_463,
        "c2ecac87782e22f383ba30f7cb5e4b73",
        "481d9aaf020624d5915200bcf4752fb46d3e1931167e8b46715a5f342577cc4d",
    ),
    DownloadSource(
        "videos",
        "videos",
        (
            Mirror(kind="links", note="the author's way, mp4 on AWS; reported inactive in 2022"),
            Mirror(
                "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/datasets/didemo/didemo_videos.tar.gz",
                "tar",
                note="LAVIS",
            ),
        ),
        by_hand="copies at the pages hold the 10,464 videos; any of a video's official names will be found",
        pages=(
            "https://huggingface.co/datasets/friedrichor/DiDeMo",
            "https://data.ciirc.cvut.cz/public/projects/LisaAnne/",
            "https://huggingface.co/datasets/simplecloud/data",
            "https://huggingface.co/datasets/WHB139426/Grounded-VideoLLM",
        ),
        about_bytes=59_000_000_000,
    ),
)


def flickr_id(name: str) -> str:
    """`12345678@N01_123456_abcdef.mp4` -> `12345678@N01_123456`, the part that names of one video share."""
    return "_".join(name.split("_")[:2])


class Didemo(Dataset):
    name = "didemo"
    title = "DiDeMo"
    position = 5
    folder = "didemo"
    kind = "paragraph"
    counts = {"train": (8_392, 8_392), "val": (1_065, 1_065), "test": (1_004, 1_004)}  # noqa: RUF012
    clips = 10_464
    options = {"paragraph_order": ("file", "time"), "didemo_key": ("exact", "flickr_id")}  # noqa: RUF012
    sources = SOURCES
    why = dict.fromkeys(options, ("code", "CLIP4Clip's loader; no paper says"))

    def files(self, which: str) -> list[Path]:
        return [self.root / f"{which}_list.txt", self.root / f"{which}_data.json"]

    def window(self, video: str) -> tuple[float, float]:
        return WINDOW

    def video_file(self, video: str) -> Path:
        """By the listed name, the name with .mp4 behind it, the Flickr id, or any other name of the same Flickr id."""
        path = super().video_file(video)
        if os.path.lexists(path):
            return path
        other = _by_flickr_id(listing(str(self.videos))).get(flickr_id(video))
        return self.videos / other if other else path

    def file_names(self, video: str) -> Iterable[str]:
        if self.chosen["didemo_key"] == "exact":
            yield from (video, f"{video}.mp4")
            yield from (_stem(video) + extension for extension in EXTENSIONS)
        yield from (flickr_id(video) + extension for extension in EXTENSIONS)

    def links(self, source: str) -> Iterable[tuple[str, str]]:
        """`yfcc100m_hash.txt` has a Flickr id and the name of its file on AWS per line (the separator is a guess)."""
        path = self.root / HASHES
        hashes = {}
        for number, line in text_files.numbered_lines(path):
            match line.split():
                case [name, value] if value.isalnum():
                    hashes[name.split("_")[1] if "_" in name else name] = value
                case _:
                    raise PetvrError(f"{path}: line {number} is no pair of Flickr id and hash")
        for which in self.splits:
            for video in self.split(which).videos:
                if hashed := hashes.get(flickr_id(video).partition("_")[2]):
                    yield f"{video}.mp4", AWS.format(hashed[:3], hashed[3:6], hashed)

    def _read_split(self, which: str) -> Split:
        path = self.root / f"{which}_list.txt"
        listed = require_unique(text_files.read_lines(path), path)
        key = flickr_id if self.chosen["didemo_key"] == "flickr_id" else str
        videos = list(dict.fromkeys(key(name) for name in listed))
        source = self.root / f"{which}_data.json"
        descriptions = self._descriptions(source, key)
        # a listed name without any description (possible under `exact` only in foreign copies) has no paragraph
        videos = [video for video in videos if video in descriptions]
        if not videos:
            raise PetvrError(f"{source}: describes none of the videos of {path.name}")
        return from_lists(which, videos, {video: [" ".join(descriptions[video])] for video in videos})

    def _descriptions(self, source: Path, key: Any) -> dict[str, list[str]]:
        described, empty = collections.defaultdict(list), []
        for number, record in enumerate(text_files.read_json(source, list)):
            where = f"record {number}"
            text = normalise_text(text_files.json_field(record, "description", source, where))
            if not text:
                empty.append(number)
                continue
            order: tuple[int, ...] = ()
            if self.chosen["paragraph_order"] == "time":
                order = _chunk(text_files.json_field(record, "times", source, where, list), source, where)
            described[key(text_files.json_field(record, "video", source, where))].append((order, text))
        if empty:
            text_files.say_once(
                f"{source}: {len(empty):,} empty description(s) left out, the first in record {empty[0]}"
            )
        # sorting is stable: under `file` every key is equal
        return {video: [t for _, t in sorted(items, key=lambda item: item[0])] for video, items in described.items()}


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
