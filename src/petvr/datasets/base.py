"""What every data set offers: splits of videos and captions, and where a video's file is."""

from __future__ import annotations

import abc
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from petvr.datasets.source import Source, Watch
from petvr.errors import PetvrError, unknown

EXTENSIONS = (".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp", ".flv")
WORLD_MARK = "world.json"  # written by the synthetic world beside the annotation files


@dataclass(frozen=True)
class Split:
    """Videos and captions of one split; `captions[i]` describes `videos[owner[i]]`."""

    name: str
    videos: tuple[str, ...]
    captions: tuple[str, ...]
    owner: tuple[int, ...]

    def digest(self) -> str:
        """A hash of ids, captions and owners in their order: equal exactly when training would see the same data."""
        text = json.dumps([self.name, self.videos, self.captions, self.owner], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def captions_of(self, video: str) -> tuple[str, ...]:
        index = self.videos.index(video)
        return tuple(caption for caption, owner in zip(self.captions, self.owner, strict=True) if owner == index)

    def keep(self, videos: Iterable[str]) -> Split:
        """The split without the videos that are not in `videos` and without their captions; order is kept.

        For a run on what a frame store could read; that videos are missing has to be said where this is called.
        """
        wanted = set(videos)
        kept = tuple(video for video in self.videos if video in wanted)
        place = {video: index for index, video in enumerate(kept)}
        pairs = [(c, place[self.videos[o]]) for c, o in zip(self.captions, self.owner, strict=True)
                 if self.videos[o] in place]  # fmt: skip
        return Split(self.name, kept, tuple(c for c, _ in pairs), tuple(o for _, o in pairs))


class Dataset(abc.ABC):
    """A data set on disk. Subclasses say which files they need and read one split.

    root: the folder with the annotation files under their official names and `videos/`.
    official: (videos, captions) per split that the real data must have (DATASETS §0.1); None where `root` holds a
    synthetic world (marked by a file world.json), whose sizes are the demo's own.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    kind: ClassVar[Literal["single", "multi", "paragraph"]]
    counts: ClassVar[dict[str, tuple[int, int]]]
    options: ClassVar[dict[str, tuple[str, ...]]] = {}
    extensions: ClassVar[tuple[str, ...]] = EXTENSIONS
    sources: ClassVar[tuple[Source, ...]] = ()

    def __init__(self, root: Path, **options: Any):
        self.root = Path(root)
        for key, value in options.items():
            if key not in self.options:
                raise unknown(f"option of data set {self.name}", key, self.options)
            if value not in self.options[key]:
                raise unknown(f"value of {self.name}'s {key}", value, self.options[key])
        self.chosen = {key: options.get(key, allowed[0]) for key, allowed in self.options.items()}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that exist; MSR-VTT has no validation split."""
        return tuple(self.counts)

    @property
    def synthetic(self) -> bool:
        return (self.root / WORLD_MARK).exists()

    @property
    def official(self) -> dict[str, tuple[int, int]] | None:
        return None if self.synthetic else dict(self.counts)

    def split(self, which: Literal["train", "val", "test"]) -> Split:
        """Read one split. Raises PetvrError naming the annotation file and key that is missing or malformed."""
        if which not in self.counts:
            raise unknown(f"split of {self.name}", which, self.counts)
        return self._read(which)

    def video_file(self, video: str) -> Path:
        """The file of `video` under root/videos; where none exists, the path that is expected first."""
        present = listing(str(self.root / "videos"))
        for name in self.file_names(video):
            if name in present:
                return self.root / "videos" / name
        return self.root / "videos" / next(iter(self.file_names(video)))

    def file_names(self, video: str) -> Iterable[str]:
        """File names this video may have, the expected one first."""
        return (video + extension for extension in self.extensions)

    def window(self, video: str) -> tuple[float, float] | None:
        """The seconds of the video to use; None is all of it."""
        return None

    def links(self, source: str) -> Iterable[tuple[str, str]]:
        """(file name below `videos`, address) of each video of a source of kind `links`; the annotation files are
        there when this is called. A data set that declares such a source has to say.
        """
        raise PetvrError(f"data set '{self.name}' does not say where the videos of its source '{source}' are")

    def youtube(self, video: str) -> Watch | None:
        """The YouTube video a clip is from, and its seconds; None where the data set is not from YouTube."""
        return None

    @abc.abstractmethod
    def annotation_files(self) -> list[Path]:
        """Every annotation file that some split needs."""

    @abc.abstractmethod
    def _read(self, which: str) -> Split:
        """The split from the official files; `which` is known to be one of `splits`."""


def listing(folder: str) -> frozenset[str]:
    """The names in a folder, read again only when the folder changed: looking up 10,000 videos is one listing."""
    try:
        stamp = os.stat(folder).st_mtime_ns
    except OSError:
        return frozenset()
    return _names(folder, stamp)


@functools.lru_cache(maxsize=8)
def _names(folder: str, stamp: int) -> frozenset[str]:
    return frozenset(os.listdir(folder))


def from_lists(name: str, videos: Sequence[str], captions: dict[str, list[str]]) -> Split:
    """A split from a list of videos and each one's captions; videos without captions have to be left out before."""
    texts = [(caption, index) for index, video in enumerate(videos) for caption in captions[video]]
    return Split(name, tuple(videos), tuple(text for text, _ in texts), tuple(index for _, index in texts))


def squeeze(text: str) -> str:
    """Runs of white space, newlines included, become one blank; none at the edges."""
    return " ".join(text.split())


def distinct(values: Sequence[str], path: Path) -> Sequence[str]:
    """`values`, or PetvrError where one occurs twice: an index into them would then mean two videos."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise PetvrError(f"{path}: video '{value}' is listed twice")
        seen.add(value)
    if not values:
        raise PetvrError(f"{path}: lists no video")
    return values
