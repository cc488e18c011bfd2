"""One data set's folders, what is in them, and what each source's state is before anything is downloaded."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from petvr import atomic
from petvr.data.datasets.base import Dataset
from petvr.data.datasets.source import Mirror, Source
from petvr.data.download.lock import FORMAT, Lock
from petvr.data.download.missing import Missing
from petvr.data.download.web import shown
from petvr.errors import PetvrError

Status = Literal["given", "there", "brought", "partly", "gated", "deferred", "failed", "changed", "absent"]
GOOD = ("given", "there", "brought")
WORK = ".download"  # unfinished work, in the root and in the folder of videos, so that moving is renaming


@dataclass
class State:
    """A source as download.json tells it; `absent` stands only in lists: nothing there, and nothing tried yet."""

    key: str
    gives: str
    status: Status
    reason: str = ""
    next: str = ""
    mirror: str | None = None
    files: tuple[str, ...] = ()
    optional: bool = field(default=False)


@dataclass
class Place:
    """The data sets of one folder (both MSR-VTT splits lie in one).

    root, videos: where the annotation files and the videos are. state: where petvr keeps its own three files.
    given: whether the user named root, videos in `paths`; nothing is written there.
    """

    folder: str
    datasets: Sequence[Dataset]
    root: Path
    videos: Path
    state: Path
    given: tuple[bool, bool] = (False, False)

    def __post_init__(self) -> None:
        self.lock = Lock(self.state / "download.lock.json")
        self.missing = Missing(self.state / "missing.json")

    @property
    def mark(self) -> Path:
        return self.state / "download.json"

    @property
    def done(self) -> Path:
        """The output of the workflow's rule."""
        return self.state / "download.done"

    @property
    def sources(self) -> list[Source]:
        """Of all data sets in the folder, annotation files first."""
        found = {source.key: source for dataset in self.datasets for source in dataset.sources}
        return sorted(found.values(), key=lambda source: source.gives != "annotations")

    @functools.cached_property
    def wanted(self) -> dict[str, Dataset]:
        """Every video of every split. Raises PetvrError where the annotation files are not there or not whole."""
        return {
            video: dataset
            for dataset in self.datasets
            for which in dataset.splits
            for video in dataset.split(which).videos
        }

    def absent(self) -> list[str]:
        """The videos of the splits that have no file."""
        return [video for video, dataset in self.wanted.items() if not dataset.video_file(video).exists()]

    def helper(self, source: Source) -> bool:
        """Whether a file only says where the videos are: whoever has the videos does not need it."""
        read = {path.name for dataset in self.datasets for path in dataset.annotation_files()}
        return source.gives == "annotations" and not read & set(source.names)

    def to_bring(self, fill: bool) -> bool:
        """Whether videos are still to be brought."""
        videos = [source for source in self.sources if source.gives == "videos" and not source.optional]
        return any(look(self, source, fill).status == "absent" for source in videos)

    def waits(self, error: PetvrError) -> str:
        """Why the videos cannot be told yet: annotation files that are not there, or one that is not right."""
        lacking = [path.name for one in self.datasets for path in one.annotation_files() if not path.exists()]
        return "waits for the annotation files" if lacking else f"waits for a right annotation file: {error}"

    def any_video(self) -> bool:
        """Whether the folder of videos holds anything that is not petvr's own."""
        try:
            with os.scandir(self.videos) as entries:
                return any(not entry.name.startswith(".") for entry in entries)
        except OSError:
            return False

    def write(self, states: Sequence[State]) -> None:
        """The mark. Absent sources are those that a call left alone (annotations only, optional)."""
        atomic.write_json(
            self.mark,
            {
                "format": FORMAT,
                "folder": self.folder,
                "root": str(self.root),
                "videos": str(self.videos),
                "complete": all(state.status in GOOD for state in states if not state.optional),
                "sources": [_told(state) for state in states],
            },
        )


def _told(state: State) -> dict[str, Any]:
    told = asdict(state)
    del told["optional"]
    return {**told, "files": list(state.files)}


def name_of(mirror: Mirror) -> str:
    """How a mirror is called in the lock and in messages."""
    return shown(mirror.url) if mirror.url else mirror.kind


def look(place: Place, source: Source, fill: bool = False) -> State:
    """What is there of a source, without any network; status `absent` where it has to be brought."""
    lacking = [name for name in source.names if not (place.root / name).is_file()]
    optional = source.optional or bool(lacking and place.helper(source) and not place.to_bring(fill))
    state = State(source.key, source.gives, "absent", files=source.names, optional=optional)
    state.next = f"petvr download {place.folder}" if source.mirrors else source.by_hand
    return _annotations(place, source, state) if source.gives == "annotations" else _videos(place, source, state, fill)


def _annotations(place: Place, source: Source, state: State) -> State:
    lacking = [name for name in source.names if not (place.root / name).is_file()]
    if place.given[0]:
        state.status, state.next = "given", ""
        if lacking and state.optional:
            state.status = "absent"
        elif lacking:
            state.status, state.reason = "failed", f"{place.root}: no {', '.join(lacking)}"
            state.next = f"put it there, or remove paths.{place.folder}.annotations from the configuration"
    elif not lacking:
        came = {name for name in place.lock.files if any(name == mirror.url for mirror in source.mirrors)}
        state.status, state.next = ("brought" if came else "there"), ""
        state.mirror = next(iter(came), None)
    else:
        state.reason = f"no {', '.join(lacking)}"
    return state


def _videos(place: Place, source: Source, state: State, fill: bool) -> State:
    state.mirror = place.lock.came_from(source.key)
    filled = any(place.lock.came_from(one.key) for one in place.sources) or (place.videos / WORK).exists()
    if place.given[1]:
        state.status, state.next = "given", ""
        if not place.any_video():
            state.status, state.reason = "failed", f"{place.videos}: no videos there"
            state.next = f"put them there, or remove paths.{place.folder}.videos from the configuration"
        return state
    try:
        absent = place.absent() if place.any_video() else list(place.wanted)
    except PetvrError as error:
        state.reason = place.waits(error)
        return state
    total = len(place.wanted)
    if place.lock.complete(source.key):
        others = [one for one in place.sources if one.gives == "videos" and not one.optional]
        taken = sum(not place.missing.videos.get(video) for video in absent)
        if taken and all(place.lock.complete(one.key) for one in others) and place.missing.path.exists():
            state.reason = f"{taken:,} videos were taken away since they were brought"
        else:
            state.status, state.next, state.reason = "brought", "", _lost(place, source.key)
        return state
    if not absent:
        state.status, state.next = ("brought" if state.mirror else "there"), ""
    elif place.any_video() and not filled and not fill and len(absent) < total:
        state.status = "partly"
        state.reason = f"{total - len(absent):,} of {total:,} videos were put there by someone"
        state.next = f"petvr download {place.folder} --fill brings the other {len(absent):,}"
    else:
        state.reason = f"{total - len(absent):,} of {total:,} videos there"
    return state


def _lost(place: Place, key: str) -> str:
    """How many videos of a source are gone for good; "" for none."""
    gone = place.missing.count("missing_permanent", key)
    return f"{gone:,} videos are gone for good (missing.json)" if gone else ""
