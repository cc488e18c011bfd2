"""One data set's folders, what is in them, and what each source's state is before anything is downloaded."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.data.datasets.base import Dataset
from petvr.data.datasets.source import DownloadSource, Mirror
from petvr.data.datasets.video_state import VideoState
from petvr.data.download.lock import FORMAT, DownloadLock
from petvr.data.download.missing import MissingVideos
from petvr.data.download.source_state import SourceState
from petvr.data.download.web import shown
from petvr.errors import PetvrError

WORK = ".download"  # unfinished work, in the root and in the folder of videos, so that moving is renaming


@dataclass
class SourceReport:
    """A source as download.json tells it; `absent` stands only in lists: nothing there, and nothing tried yet."""

    key: str
    gives: str
    status: SourceState
    reason: str = ""
    next: str = ""
    mirror: str | None = None
    files: tuple[str, ...] = ()
    optional: bool = field(default=False)


@dataclass
class DatasetFolder:
    """The data sets of one folder (both MSR-VTT splits lie in one).

    root, videos: where the annotation files and the videos are. state: where petvr keeps its own three files.
    user_provided: whether the user named root, videos in `paths`; nothing is written there.
    """

    name: str
    datasets: Sequence[Dataset]
    root: Path
    videos: Path
    state: Path
    user_provided: tuple[bool, bool] = (False, False)

    def __post_init__(self) -> None:
        self.lock = DownloadLock(self.state / "download.lock.json")
        self.missing = MissingVideos(self.state / "missing.json")

    @property
    def mark(self) -> Path:
        return self.state / "download.json"

    @property
    def done(self) -> Path:
        """The output of the workflow's rule."""
        return self.state / "download.done"

    @property
    def sources(self) -> list[DownloadSource]:
        """Of all data sets in the folder, annotation files first."""
        by_key = {source.key: source for dataset in self.datasets for source in dataset.sources}
        return sorted(by_key.values(), key=lambda source: source.gives != "annotations")

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

    def helper(self, source: DownloadSource) -> bool:
        """Whether a file only says where the videos are: whoever has the videos does not need it."""
        read = {path.name for dataset in self.datasets for path in dataset.annotation_files()}
        return source.gives == "annotations" and not read & set(source.names)

    def to_bring(self, fill: bool) -> bool:
        """Whether videos are still to be brought."""
        videos = [source for source in self.sources if source.gives == "videos" and not source.optional]
        return any(inspect_source(self, source, fill).status is SourceState.ABSENT for source in videos)

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

    def write(self, reports: Sequence[SourceReport]) -> None:
        """The mark. Absent sources are those that a call left alone (annotations only, optional)."""
        atomic.write_json(
            self.mark,
            {
                "format": FORMAT,
                "folder": self.name,
                "root": str(self.root),
                "videos": str(self.videos),
                "complete": all(report.status.settled for report in reports if not report.optional),
                "sources": [_as_json(report) for report in reports],
            },
        )


def _as_json(report: SourceReport) -> dict[str, Any]:
    fields = asdict(report)
    del fields["optional"]
    return {**fields, "files": list(report.files)}


def name_of(mirror: Mirror) -> str:
    """How a mirror is called in the lock and in messages."""
    return shown(mirror.url) if mirror.url else mirror.kind


def inspect_source(folder: DatasetFolder, source: DownloadSource, fill: bool = False) -> SourceReport:
    """What is there of a source, without any network; status `absent` where it has to be brought."""
    lacking = [name for name in source.names if not (folder.root / name).is_file()]
    optional = source.optional or bool(lacking and folder.helper(source) and not folder.to_bring(fill))
    report = SourceReport(source.key, source.gives, SourceState.ABSENT, files=source.names, optional=optional)
    report.next = f"petvr download {folder.name}" if source.mirrors else source.by_hand
    if source.gives == "annotations":
        return _inspect_annotations(folder, source, report)
    return _inspect_videos(folder, source, report, fill)


def _inspect_annotations(folder: DatasetFolder, source: DownloadSource, report: SourceReport) -> SourceReport:
    lacking = [name for name in source.names if not (folder.root / name).is_file()]
    if folder.user_provided[0]:
        report.status, report.next = SourceState.USER_PROVIDED, ""
        if lacking and report.optional:
            report.status = SourceState.ABSENT
        elif lacking:
            report.status, report.reason = SourceState.FAILED, f"{folder.root}: no {', '.join(lacking)}"
            report.next = f"put it there, or remove paths.{folder.name}.annotations from the configuration"
    elif not lacking:
        addresses = {name for name in folder.lock.files if any(name == mirror.url for mirror in source.mirrors)}
        report.status, report.next = (SourceState.DOWNLOADED if addresses else SourceState.PRESENT), ""
        report.mirror = next(iter(addresses), None)
    else:
        report.reason = f"no {', '.join(lacking)}"
    return report


def _inspect_videos(folder: DatasetFolder, source: DownloadSource, report: SourceReport, fill: bool) -> SourceReport:
    report.mirror = folder.lock.came_from(source.key)
    filled = any(folder.lock.came_from(one.key) for one in folder.sources) or (folder.videos / WORK).exists()
    if folder.user_provided[1]:
        report.status, report.next = SourceState.USER_PROVIDED, ""
        if not folder.any_video():
            report.status, report.reason = SourceState.FAILED, f"{folder.videos}: no videos there"
            report.next = f"put them there, or remove paths.{folder.name}.videos from the configuration"
        return report
    try:
        absent = folder.absent() if folder.any_video() else list(folder.wanted)
    except PetvrError as error:
        report.reason = folder.waits(error)
        return report
    total = len(folder.wanted)
    if folder.lock.complete(source.key):
        others = [one for one in folder.sources if one.gives == "videos" and not one.optional]
        taken = sum(not folder.missing.videos.get(video) for video in absent)
        if taken and all(folder.lock.complete(one.key) for one in others) and folder.missing.path.exists():
            report.reason = f"{taken:,} videos were taken away since they were brought"
        else:
            report.status, report.next, report.reason = SourceState.DOWNLOADED, "", _removed_text(folder, source.key)
        return report
    if not absent:
        report.status, report.next = (SourceState.DOWNLOADED if report.mirror else SourceState.PRESENT), ""
    elif folder.any_video() and not filled and not fill and len(absent) < total:
        report.status = SourceState.PARTIAL
        report.reason = f"{total - len(absent):,} of {total:,} videos were put there by someone"
        report.next = f"petvr download {folder.name} --fill brings the other {len(absent):,}"
    else:
        report.reason = f"{total - len(absent):,} of {total:,} videos there"
    return report


def _removed_text(folder: DatasetFolder, key: str) -> str:
    """How many videos of a source were removed where they came from; "" for none."""
    count = folder.missing.count(VideoState.REMOVED, key)
    return f"{count:,} videos {VideoState.REMOVED.english} (missing.json)" if count else ""
