"""A data set of a list and a few videos, whose sources each test declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from petvr import text_files
from petvr.data.datasets.base import Dataset, Split
from petvr.data.datasets.source import DownloadSource, Watch

NAMES = ("a", "b", "c", "d")
LIST = "\n".join(NAMES).encode()
CLIPS = {f"{name}.mp4": name.encode() * 5_000 for name in NAMES}


class Small(Dataset):
    name = "small"
    folder = "small"
    kind = "single"
    counts = {"test": (4, 4)}  # noqa: RUF012
    addresses: Callable[[str], Iterable[tuple[str, str]]]

    def files(self, which: str) -> list[Path]:
        return [self.root / "list.txt"]

    def links(self, source: str) -> Iterable[tuple[str, str]]:
        return self.addresses(source)

    def youtube(self, video: str) -> Watch:
        return Watch(f"id-{video}", 10.0, 20.0)

    def _read_split(self, which: str) -> Split:
        videos = tuple(text_files.read_lines(self.root / "list.txt"))
        return Split(which, videos, videos, tuple(range(len(videos))))


def small(root: Path, sources: tuple[DownloadSource, ...], videos: Path | None = None) -> Small:
    dataset = Small(root, videos)
    dataset.sources = sources  # type: ignore[misc]
    return dataset
