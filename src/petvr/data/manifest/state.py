"""How far a data set is, and the one thing to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from petvr.data.datasets.base import Dataset
from petvr.data.datasets.video_state import VideoState
from petvr.data.manifest import files
from petvr.data.manifest.available import Verdict, halves, read_missing
from petvr.data.manifest.check import CheckedDataset, check_dataset
from petvr.data.manifest.rows import VideoRow
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import data_class


@dataclass(frozen=True)
class DatasetStatus:
    name: str
    annotations: tuple[int, int]  # files that are there, files that are needed
    videos: Mapping[str, tuple[int, int]]  # split -> (usable, official)
    left: Sequence[VideoRow]  # videos that cannot be used
    stores: tuple[int, int]  # frame stores that are built, that the configuration's runs read
    kind: str  # data class, "" where it cannot be told
    lock: str
    next: str  # one line
    problem: str = ""  # what is wrong with what is there


@dataclass(frozen=True)
class StatusRequest:
    """What the configuration says of a data set."""

    dataset: Dataset
    layout: Layout
    lock: Path
    download: Path  # the folder of download.json
    given: tuple[bool, bool]
    stores: Sequence[Path]
    verdict: Verdict
    make: str = ""  # the command that generates it, in a synthetic world


def dataset_status(asked: StatusRequest, step: Callable[[int, int], None] = lambda done, total: None) -> DatasetStatus:
    """Look at everything, as `petvr data check` does, and write nothing."""
    dataset = asked.dataset
    needed = dataset.annotation_files()
    annotations = (sum(path.exists() for path in needed), len(needed))
    built = (sum((store / "index.json").exists() for store in asked.stores), len(asked.stores))
    if not all(halves(dataset)):
        return DatasetStatus(dataset.name, annotations, _expected(asked), (), built, "", _locked(asked), _bring(asked))
    try:
        download_states = read_missing(asked.download)
        checked = check_dataset(dataset, asked.layout, asked.lock, download_states=download_states, step=step)
    except PetvrError as error:
        said = f"correct what stands above, then petvr data check {dataset.name}"
        return DatasetStatus(
            dataset.name, annotations, _expected(asked), (), built, "", _locked(asked), said, str(error)
        )
    videos = {
        split: (sum(row.ok for row in checked.rows if row.split == split), counts["official"])
        for split, counts in checked.summary.splits.items()
    }
    return DatasetStatus(
        dataset.name,
        annotations,
        videos,
        [row for row in checked.rows if not row.ok],
        built,
        data_class(videos["test"], videos.get("train", (0, 0))),
        _compared(checked),
        _next(asked, checked, built),
    )


def _expected(asked: StatusRequest) -> dict[str, tuple[int, int]]:
    """The official numbers, which a generated data set does not have."""
    official = {} if asked.make else asked.dataset.official or {}
    return {split: (0, videos) for split, (videos, _) in official.items()}


def _locked(asked: StatusRequest) -> str:
    return "frozen" if asked.lock.exists() else "–"


def _compared(checked: CheckedDataset) -> str:
    if checked.frozen is None:
        return "not frozen"
    return f"{len(checked.changes):,} differ" if checked.changes else checked.frozen.hash[:8]


def _bring(asked: StatusRequest) -> str:
    """What makes a data set that is not there, or not whole, be there."""
    dataset, (annotations, videos) = asked.dataset, halves(asked.dataset)
    if asked.make:
        return asked.make
    if asked.verdict.reason:
        return asked.verdict.more or asked.verdict.reason
    if not annotations and asked.given[0]:
        gone = ", ".join(path.name for path in dataset.annotation_files() if not path.exists())
        return f"put {gone} into {dataset.root}, or correct paths.{dataset.folder}"
    if not videos and asked.given[1]:
        return f"put the videos into {dataset.videos}, or correct paths.{dataset.folder}"
    by_hand = [source.by_hand for source in dataset.sources if not source.optional and not source.mirrors]
    return "; ".join([f"petvr download {dataset.name}", *by_hand])


def _next(asked: StatusRequest, checked: CheckedDataset, built: tuple[int, int]) -> str:
    name = asked.dataset.name
    if checked.changes:
        return f"petvr data check {name} names what differs from {asked.lock}; --accept takes it"
    try:
        known = files.read_summary(asked.layout, name)
    except PetvrError as error:
        return str(error)
    if known is not None and known != checked.summary:
        return f"petvr data check {name}: files changed since its manifest was written"
    again = sum(row.status is VideoState.RETRY_LATER for row in checked.rows)
    if again:
        return f"petvr download {name} tries {again:,} videos again"
    if built[0] < built[1]:
        return f"{asked.make or f'snakemake data_{name}'} decodes the videos"
    if checked.frozen is None and not asked.make:
        return f"petvr data freeze {name}, and commit {asked.lock}"
    return "ready"
