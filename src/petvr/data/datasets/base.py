"""What every data set offers: splits of videos and captions, and where a video's file is."""

from __future__ import annotations

import abc
import functools
import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from petvr.data.datasets.source import DownloadSource, Watch
from petvr.errors import PetvrError, unknown
from petvr.spec import Origin

EXTENSIONS = (".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp", ".flv")
SPLITS = ("train", "val", "test")
KINDS = ("single", "multi", "paragraph")  # of captions: Dataset.kind
WORLD_MARK = "world.json"  # written by the synthetic world beside the annotation files


@dataclass(frozen=True)
class Split:
    """Videos and captions of one split; `captions[i]` describes `videos[caption_video[i]]`."""

    name: str
    videos: tuple[str, ...]
    captions: tuple[str, ...]
    caption_video: tuple[int, ...]

    def digest(self) -> str:
        """A hash of ids and captions in their order: equal exactly when training would see the same data."""
        text = json.dumps([self.name, self.videos, self.captions, self.caption_video], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def captions_of(self, video: str) -> tuple[str, ...]:
        index = self.videos.index(video)
        return tuple(text for text, its in zip(self.captions, self.caption_video, strict=True) if its == index)

    def keep(self, videos: Iterable[str]) -> Split:
        """The split without the videos that are not in `videos` and without their captions; order is kept.

        For a run on what a frame store could read; that videos are missing has to be said where this is called.
        """
        wanted = set(videos)
        kept = tuple(video for video in self.videos if video in wanted)
        index = {video: number for number, video in enumerate(kept)}
        videos = [self.videos[its] for its in self.caption_video]
        pairs = [(text, index[video]) for text, video in zip(self.captions, videos, strict=True) if video in index]
        return Split(self.name, kept, tuple(text for text, _ in pairs), tuple(its for _, its in pairs))


@dataclass(frozen=True)
class Validation:
    """What a run that selects its epoch on it is evaluated on, and which training videos it leaves out for that."""

    split: Split
    left_out: frozenset[str]
    kind: str  # in words


class Dataset(abc.ABC):
    """A data set on disk. Subclasses say which files they need and read one split.

    root: the folder with the annotation files under their official names.
    videos: the folder with the video files; root/videos unless told otherwise.
    official: (videos, captions) per split that the real data must have (docs/data_policy.md); None where `root` holds a
    synthetic world (marked by a file world.json), whose sizes are the demo's own.
    options: choices that change what is read, each with its values, the default first; `why` says who made the default.
    """

    name: str
    title: str  # as tables print it
    folder: str  # under the data root; data sets of one folder share their videos
    position: ClassVar[int] = 1000  # its place in lists; of equal ones the first by name
    counts: ClassVar[dict[str, tuple[int, int]]]  # split -> videos and captions
    clips: ClassVar[int] = 0  # videos in its folder, where these are not just those of its splits
    original_bytes: ClassVar[int] = 0  # of its videos, where the originals are not what `sources` bring
    options: ClassVar[dict[str, tuple[str, ...]]] = {}
    why: ClassVar[dict[str, tuple[Origin, str]]] = {}  # option -> where its default comes from
    held_out_kind: ClassVar[str] = "held out of training, one video in twenty"
    held_out_sha256: ClassVar[str] = ""  # of the videos that `validation` takes out of training, where it does
    uncertain: ClassVar[frozenset[str]] = frozenset()  # splits whose number of videos only one user reported
    extensions: ClassVar[tuple[str, ...]] = EXTENSIONS
    sources: ClassVar[tuple[DownloadSource, ...]] = ()

    @property
    @abc.abstractmethod
    def kind(self) -> Literal["single", "multi", "paragraph"]:
        """Whether a test video has one caption, several (each is a query), or one paragraph of all its sentences."""

    @classmethod
    def number_of_clips(cls) -> int:
        return cls.clips or sum(videos for videos, _ in cls.counts.values())

    @classmethod
    def video_bytes(cls) -> int:
        """Of all its videos as they are downloaded, an estimate."""
        sources = [source for source in cls.sources if source.gives == "videos" and not source.optional]
        return cls.original_bytes or sum(source.about_bytes or 0 for source in sources)

    def __init__(self, root: Path, videos: Path | None = None, **options: Any):
        self.root = Path(root)
        self.videos = self.root / "videos" if videos is None else Path(videos)
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
    def mark(self) -> Path:
        return self.root / WORLD_MARK

    @property
    def synthetic(self) -> bool:
        return self.mark.exists()

    @property
    def official(self) -> dict[str, tuple[int, int]] | None:
        return None if self.synthetic else dict(self.counts)

    def split(self, which: str) -> Split:
        """Read one split. Raises PetvrError naming the annotation file and key that is missing or malformed."""
        self.require_split(which)
        return self._read_split(which)

    def require_split(self, which: str) -> None:
        if which not in self.splits:
            raise unknown(f"split of {self.name}", which, self.splits)

    def validation(self) -> Validation:
        """The split `val`; without one, training videos that a fixed rule takes out: see `held_out`.

        Raises PetvrError where real data do not give the list that is known.
        """
        if "val" in self.splits:
            return Validation(self.split("val"), frozenset(), "a split of its own")
        train = self.split("train")
        ids, kind = self.held_out(train.videos)
        sha256 = hashlib.sha256("\n".join(ids).encode()).hexdigest()
        if self.official is not None and self.held_out_sha256 not in ("", sha256):
            raise PetvrError(
                f"{self.files('train')[0]}: the {len(ids)} videos held out for validation are not those that belong to "
                f"{self.name} (sha256 {sha256}, expected {self.held_out_sha256})"
            )
        kept = train.keep(ids)
        return Validation(replace(kept, name="val"), frozenset(ids), kind)

    def held_out(self, training: Sequence[str]) -> tuple[list[str], str]:
        """The list `held_out/<folder>.txt`; where there is none, or for a generated world, one video in twenty
        by the order of the sha256 of their ids: the same for all runs and machines.
        """
        path, known = Path(__file__).parent / "held_out" / f"{self.folder}.txt", set(training)
        listed = path.read_text(encoding="utf-8").split() if self.held_out_sha256 and path.exists() else []
        if ids := [video for video in listed if video in known]:
            return ids, self.held_out_kind
        order = sorted(training, key=lambda video: hashlib.sha256(video.encode()).hexdigest())
        return order[: max(1, round(len(order) / 20))], Dataset.held_out_kind

    def complete(self, which: str) -> Split:
        """The split, which for real data must have exactly the official numbers of videos and captions.

        Raises PetvrError with the file and both numbers. A lack here is a wrong annotation file, never a lost video.
        """
        split = self.split(which)
        if self.official is None or which not in self.official:
            return split
        videos, captions = self.official[which]
        for path, count, wanted, what in (
            (self.files(which)[0], len(split.videos), videos, "videos"),
            (self.files(which)[-1], len(split.captions), captions, "captions"),
        ):
            if count != wanted and not (what == "videos" and which in self.uncertain):
                raise PetvrError(
                    f"{path}: the {which} split of {self.name} has {count:,} {what} here, officially it has {wanted:,}"
                )
        return split

    def video_file(self, video: str) -> Path:
        """The file of `video` below `videos`; where none exists, the path that is expected first.

        First under its expected names; then, whatever the case of its suffix and however its letters are composed, in
        `videos` and two levels of folders below. Raises PetvrError where two files there have its name.
        """
        names = list(self.file_names(video))
        present: dict[str, frozenset[str]] = {}  # a folder is looked at once, whatever the number of names
        for name in names:
            inner, _, leaf = name.rpartition("/")
            if inner not in present:
                present[inner] = listing(os.path.join(self.videos, inner))
            if leaf in present[inner]:
                return self.videos / name
        for name in names:
            files = self._by_stem.get(_normal(name.rpartition("/")[2]).rpartition(".")[0], [])
            if len(files) > 1:
                raise PetvrError(
                    f"{self.videos}: '{video}' of {self.name} is there twice: {files[0]}, {files[1]}; leave one"
                )
            if files:
                return self.videos / files[0]
        return self.videos / names[0]

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """Name without its suffix, letters composed -> the video files below `videos` that have it."""
        by_stem: dict[str, list[str]] = {}
        for file in files_below(str(self.videos)):
            stem, dot, suffix = _normal(file.rpartition("/")[2]).rpartition(".")
            if dot + suffix in EXTENSIONS:
                by_stem.setdefault(stem, []).append(file)
        return by_stem

    def file_names(self, video: str) -> Iterable[str]:
        """File names this video may have below `videos`, the expected one first."""
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

    def annotation_files(self) -> list[Path]:
        """Every annotation file that some split needs."""
        return list(dict.fromkeys(path for which in self.splits for path in self.files(which)))

    @abc.abstractmethod
    def files(self, which: str) -> list[Path]:
        """The annotation files of one split: the one that lists its videos first, the one with the captions last."""

    @abc.abstractmethod
    def _read_split(self, which: str) -> Split:
        """The split from the official files; `which` is known to be one of `splits`."""


def listing(folder: str) -> frozenset[str]:
    """The names in a folder, read again only when the folder changed: looking up 10,000 videos is one listing."""
    try:
        stamp = os.stat(folder).st_mtime_ns
    except OSError:
        return frozenset()
    return _names(folder, stamp)


def files_below(folder: str) -> list[str]:
    """The files in a folder and in two levels of folders below, as paths from it, sorted; none where it is not."""
    files: list[str] = []
    inside = [""]
    for _ in range(3):
        deeper: list[str] = []
        for inner in inside:
            try:
                entries = list(os.scandir(os.path.join(folder, inner)))
            except OSError:
                continue
            for entry in entries:
                # .download: work that is not finished; a name that is no UTF-8 could be written nowhere
                if not entry.name.startswith(".") and entry.name.isprintable():
                    (deeper if entry.is_dir() else files).append(os.path.join(inner, entry.name))
        inside = deeper
    return sorted(files)


def _normal(name: str) -> str:
    """Letters composed, the suffix in lower case."""
    stem, dot, suffix = unicodedata.normalize("NFC", name).rpartition(".")
    return f"{stem}{dot}{suffix.lower()}"


def nearest_file(root: Path, path: str) -> Path:
    """`root / path`; of a part that is not there the one name that differs in composed letters or its suffix's case."""
    if os.path.lexists(root / path):
        return root / path
    file = root
    for part in Path(path).parts:
        if not os.path.lexists(file / part):
            alike = [name for name in listing(str(file)) if _normal(name) == _normal(part)]
            part = alike[0] if len(alike) == 1 else part
        file = file / part
    return file


@functools.lru_cache(maxsize=512)  # LSMDC has a folder per film
def _names(folder: str, stamp: int) -> frozenset[str]:
    return frozenset(os.listdir(folder))


def from_lists(name: str, videos: Sequence[str], captions: dict[str, list[str]]) -> Split:
    """A split from a list of videos and each one's captions; videos without captions have to be left out before."""
    texts = [(caption, index) for index, video in enumerate(videos) for caption in captions[video]]
    return Split(name, tuple(videos), tuple(text for text, _ in texts), tuple(index for _, index in texts))


def normalise_text(text: str) -> str:
    """Runs of white space, newlines included, become one blank, none at the edges; accents composed (Unicode NFC).

    NFC because copies of a file that passed through some file systems and tools come back decomposed: the words, and
    so a split's digest, must not depend on that. It changes no character of the published files; curly quotes and
    other signs stay, since CLIP's own text cleaning (petvr.clip.tokenizer) is the one place that turns them.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def require_unique(values: Sequence[str], path: Path) -> Sequence[str]:
    """`values`, or PetvrError where one occurs twice (an index into them would then mean two videos) or is no name."""
    for value, times in Counter(values).items():
        if times > 1:
            raise PetvrError(f"{path}: video '{safe_file_name(value, path)}' is listed twice")
        safe_file_name(value, path)
    if not values:
        raise PetvrError(f"{path}: lists no video")
    return values


def safe_file_name(video: str, path: Path) -> str:
    """`video`, or PetvrError where an annotation file names a video that would lie outside its folder."""
    if "/" in video or "\\" in video or not video.isprintable() or video in (".", ".."):
        raise PetvrError(f"{path}: {video!r} cannot be the name of a video: it holds a path or unprintable characters")
    return video
