"""MSVD: 1,970 short clips with 18 to 81 captions each; every caption is a query of its own.

The captions are had in two files, either of which will do: captions_msvd.json (X-Pool's copy: lower case, no signs),
and raw-captions.pkl, the pickle in CLIP4Clip's archive, which is read without ever being unpickled (safe_pickle.py
beside this file). Where both lie there the JSON is read, and the two must hold the same words for every video.

Videos are `<YouTube id>_<start>_<end>.avi`. Where the usual table youtube_mapping.txt lies beside the captions, files
named `vid<number>` after it are found as well.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from petvr import text_files
from petvr.data.datasets import safe_pickle
from petvr.data.datasets.base import (
    EXTENSIONS,
    Dataset,
    Split,
    from_lists,
    normalise_text,
    require_unique,
    safe_file_name,
)
from petvr.data.datasets.source import DownloadSource, Mirror
from petvr.errors import PetvrError

JSON, PICKLE, MAPPING = "captions_msvd.json", "raw-captions.pkl", "youtube_mapping.txt"
LARGEST = 50_000_000  # letters of all captions together; the published ones have three million
Captions = dict[str, list[str]]
C4C = "https://github.com/ArrowLuo/CLIP4Clip/releases/download/v0.0/msvd_data.zip"
CE = "https://raw.githubusercontent.com/albanie/collaborative-experts/7eb3b9d/misc/datasets/msvd/"
XPOOL = "https://raw.githubusercontent.com/layer6ai-labs/xpool/bc88718/data/MSVD/captions_msvd.json"


def _list(name: str, size: int, md5: str, sha256: str) -> DownloadSource:
    """Copies elsewhere differ in the last newline alone."""
    mirrors = (Mirror(CE + name, size=size, md5=md5, sha256=sha256), Mirror(C4C, "zip"))
    return DownloadSource(name, "annotations", mirrors)


SOURCES = (
    _list(
        "train_list.txt",
        21_852,
        "d53bc3c66dd41aef0a39bbca083dff99",
        "223a750f33fcec3c5fcb1894123564e67286edd1e9f9473be97930340027d659",
    ),
    _list(
        "val_list.txt",
        1_794,
        "a22d7feb76999db7e08077fcfed05373",
        "0e6b31c93757d25115f04e1974bcdc7962b3fce17832b397f6e83e9ff096881b",
    ),
    _list(
        "test_list.txt",
        12_186,
        "1fb5050a4a101994ad9e44ec2fabc6f5",
        "95eacd1fddb1d88cd7144267913ef02d0ecb8cc94a88bc484035433a2d8f9c7a",
    ),
    DownloadSource(
        JSON,
        "annotations",
        (
            Mirror(
                XPOOL,
                size=3_099_287,
                md5="906ab119853c405c0db08fcbdeade907",
                sha256="11bc68e8441438121c1c7321526ef1d1fc6553d3b801baef1cca1d3429e306b1",
            ),
        ),
    ),
    DownloadSource(PICKLE, "annotations", (Mirror(C4C, "zip"),), about_bytes=10_000_000, optional=True),
    DownloadSource(
        "videos",
        "videos",
        (Mirror("https://www.cs.utexas.edu/users/ml/clamp/videoDescription/YouTubeClips.tar", "tar"),),
        by_hand="copies at the pages hold the 1,970 clips as .avi files",
        pages=("https://huggingface.co/datasets/friedrichor/MSVD", "https://huggingface.co/datasets/VLM2Vec/MSVD"),
        about_bytes=1_700_000_000,
    ),
)


class Msvd(Dataset):
    name = "msvd"
    title = "MSVD"
    position = 3
    folder = "msvd"
    kind = "multi"
    counts = {"train": (1_200, 48_774), "val": (100, 4_290), "test": (670, 27_763)}  # noqa: RUF012
    sources = SOURCES
    extensions = (".avi", ".mp4", *(e for e in EXTENSIONS if e not in (".avi", ".mp4")))

    def files(self, which: str) -> list[Path]:
        """Of the two caption files those that are there, the one that is read last; the JSON where none is."""
        there = [self.root / name for name in (PICKLE, JSON) if (self.root / name).exists()]
        return [self.root / f"{which}_list.txt", *(there or [self.root / JSON])]

    def file_names(self, video: str) -> Iterable[str]:
        yield from super().file_names(video)
        if other := self._numbers().get(video):
            yield from super().file_names(other)

    def _read_split(self, which: str) -> Split:
        path, *sources = self.files(which)
        videos = require_unique(text_files.read_lines(path), path)
        copies = [(source, _captions(source, _hash(source))) for source in sources]
        for source, captions in copies:
            for video in videos:
                if not captions.get(video):
                    raise PetvrError(f"{source}: no caption of '{video}', which {path.name} lists")
        if len(copies) == 2:
            _agree(videos, *copies)
        return from_lists(which, videos, copies[-1][1])

    def _numbers(self) -> dict[str, str]:
        path = self.root / MAPPING
        return _mapping(path, path.stat().st_mtime_ns) if path.exists() else {}


def _hash(source: Path) -> str:
    try:
        with open(source, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""  # reading it says what is wrong


@functools.lru_cache(maxsize=4)
def _captions(source: Path, content: str) -> Captions:
    """id -> captions of either file; kept, because all three splits read the same one."""
    if source.suffix == ".json":
        data = text_files.read_json(source, dict)
    else:
        data = safe_pickle.read_pickle(source)
        if not isinstance(data, dict):
            raise PetvrError(f"{source}: holds a {type(data).__name__}, expected a dict of ids")
    budget = LARGEST
    captions: Captions = {}
    for video, listed in data.items():
        if not isinstance(listed, list):
            raise PetvrError(f"{source}: '{video!s:.40}' holds a {type(listed).__name__}, expected a list of captions")
        texts = captions[str(video)] = []
        for caption in listed:
            words = [caption] if isinstance(caption, str) else caption  # the pickle has a list of words
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise PetvrError(f"{source}: '{video!s:.40}': a caption is neither text nor a list of words")
            budget -= 1 + sum(1 + len(word) for word in words)
            if budget < 0:  # a small pickle may repeat one list without end
                raise PetvrError(f"{source}: more than {LARGEST:,} letters of captions, which is no caption file")
            text = normalise_text(" ".join(words))
            if not text:
                raise PetvrError(f"{source}: '{video!s:.40}': a caption is empty")
            texts.append(text)
    return captions


def _agree(videos: Iterable[str], one: tuple[Path, Captions], other: tuple[Path, Captions]) -> None:
    """Same words, in any order of captions; case and signs do not count, because the JSON has none."""
    for video in videos:
        first, second = (Counter(_letters(text) for text in captions[video]) for _, captions in (one, other))
        if first != second:
            text = next(iter((first - second) + (second - first)))
            raise PetvrError(
                f"{one[0]}: disagrees with {other[0].name} on '{video}' ({len(one[1][video])} and "
                f"{len(other[1][video])} captions, '{text:.40}' is in one alone); keep the one you trust"
            )


def _letters(text: str) -> str:
    return re.sub("[^a-z0-9]+", "", text.lower())


@functools.lru_cache(maxsize=4)
def _mapping(path: Path, stamp: int) -> dict[str, str]:
    """`<id> vid<number>` per line."""
    other_names = {}
    for number, line in text_files.numbered_lines(path):
        match line.split():
            case [video, other]:
                other_names[video] = safe_file_name(other, path)
            case parts:
                raise PetvrError(f"{path}: line {number} has {len(parts)} columns, expected 2 (id, other name)")
    return other_names
