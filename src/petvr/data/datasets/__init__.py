"""The data sets: one file each, from the official annotation files to splits of videos and captions. No torch here.

dataset = load("msvd", Path("data/msvd"))
dataset.split("test").captions
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from petvr.data.datasets.base import Dataset, Split
from petvr.errors import unknown

_CLASSES = {
    "msrvtt-9k": ("msrvtt", "Msrvtt9k"),
    "msrvtt-7k": ("msrvtt", "Msrvtt7k"),
    "msvd": ("msvd", "Msvd"),
    "lsmdc": ("lsmdc", "Lsmdc"),
    "didemo": ("didemo", "Didemo"),
    "activitynet": ("activitynet", "Activitynet"),
    "vatex": ("vatex", "Vatex"),
}
NAMES = tuple(_CLASSES)
"""The data sets of the papers. A user's own are in petvr.data.catalogue."""

__all__ = ["NAMES", "Dataset", "Split", "folder", "load"]


def dataset_class(name: str) -> type[Dataset]:
    """The class of a data set. PetvrError for an unknown name."""
    if name not in _CLASSES:
        raise unknown("data set", name, NAMES)
    module, attribute = _CLASSES[name]
    return getattr(importlib.import_module(f"petvr.data.datasets.{module}"), attribute)


def load(name: str, root: str | Path, videos: str | Path | None = None, **options: Any) -> Dataset:
    """The data set `name` whose annotation files lie directly in `root`, its videos in `videos` (root/videos).

    Nothing is read before a split is asked for. Options are the data set's own (`Dataset.options`), e.g. DiDeMo's
    `paragraph_order`. Raises PetvrError for an unknown name, option or value.
    """
    return dataset_class(name)(Path(root), Path(videos) if videos else None, **options)


def folder(name: str) -> str:
    """The data set's folder under the data root: `msrvtt` for both MSR-VTT splits."""
    return dataset_class(name).folder
