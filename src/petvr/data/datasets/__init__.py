"""The data sets: one file each, from the official annotation files to splits of videos and captions. No torch here.

A data set is added by one file beside this one that defines a subclass of `base.Dataset`, with its name, title, counts
and sources: nothing else has to know of it. (The demo's synthetic world generates it where world/layouts has a file.)

dataset = load_dataset("msvd", Path("data/msvd"))
dataset.split("test").captions
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

from petvr.data.datasets.base import Dataset, Split
from petvr.errors import PetvrError, unknown

__all__ = ["Dataset", "Split", "available", "dataset_class", "folder", "load_dataset", "titles"]


@functools.cache
def _classes() -> dict[str, type[Dataset]]:
    """Found by file: every named Dataset that a module beside this one defines, by `position`, then by name."""
    classes: dict[str, type[Dataset]] = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        for kind in vars(importlib.import_module(f"{__name__}.{path.stem}")).values():
            if not isinstance(kind, type) or not issubclass(kind, Dataset) or not (name := vars(kind).get("name")):
                continue
            if classes.setdefault(name, kind) is not kind:
                raise PetvrError(f"{path}: data set '{name}' is defined in {classes[name].__module__} as well")
            if lacking := [key for key in ("title", "folder", "counts") if not hasattr(kind, key)]:
                raise PetvrError(f"{path}: data set '{name}' does not say its {', '.join(lacking)}")
    return dict(sorted(classes.items(), key=lambda item: (item[1].position, item[0])))


def available() -> tuple[str, ...]:
    """The data sets that have a file here. A user's own are in petvr.data.catalogue."""
    return tuple(_classes())


def titles() -> dict[str, str]:
    """Name -> as tables print it."""
    return {name: kind.title for name, kind in _classes().items()}


def dataset_class(name: str) -> type[Dataset]:
    """The class of a data set. PetvrError for an unknown name."""
    if name not in _classes():
        raise unknown("data set", name, available())
    return _classes()[name]


def load_dataset(name: str, root: str | Path, videos: str | Path | None = None, **options: Any) -> Dataset:
    """The data set `name` whose annotation files lie directly in `root`, its videos in `videos` (root/videos).

    Nothing is read before a split is asked for. Options are the data set's own (`Dataset.options`), e.g. DiDeMo's
    `paragraph_order`. Raises PetvrError for an unknown name, option or value.
    """
    return dataset_class(name)(Path(root), Path(videos) if videos else None, **options)


def folder(name: str) -> str:
    """The data set's folder under the data root: `msrvtt` for both MSR-VTT splits."""
    return dataset_class(name).folder
