"""The data sets: one file each, from the official annotation files to splits of videos and captions. No torch here.

A data set is added by one file beside this one that defines a subclass of `base.Dataset`, with its name, title, counts
and sources: nothing else has to know of it. (The demo's synthetic world generates it where world/layouts has a file.)

dataset = load_dataset("msvd", Path("data/msvd"))
dataset.split("test").captions
"""

from __future__ import annotations

import functools
import inspect
import re
from pathlib import Path
from typing import Any

from petvr.data.datasets.base import KINDS, SPLITS, Dataset, Split
from petvr.errors import PetvrError, unknown
from petvr.registry import import_file

__all__ = ["Dataset", "Split", "available", "dataset_class", "folder", "load_dataset", "titles"]


NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]*"  # it stands in ids of runs and in paths


@functools.cache
def _classes() -> dict[str, type[Dataset]]:
    """Found by file: every named Dataset that a module beside this one defines, by `position`, then by name."""
    classes: dict[str, type[Dataset]] = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        module = import_file(f"{__name__}.{path.stem}", path)
        for kind in vars(module).values():
            if not isinstance(kind, type) or not issubclass(kind, Dataset) or kind is Dataset:
                continue
            if not (name := vars(kind).get("name")):
                if "title" in vars(kind) or "folder" in vars(kind):  # a user's own has none of them before it is read
                    raise PetvrError(f"{path}: {kind.__name__} does not say its name")
                continue
            if classes.setdefault(name, kind) is not kind:
                raise PetvrError(f"{path}: data set '{name}' is defined in {classes[name].__module__} as well")
            _require_complete(kind, f"{path}: data set '{name}'")
    return dict(sorted(classes.items(), key=lambda item: (item[1].position, item[0])))


def _require_complete(kind: type[Dataset], where: str) -> None:
    """PetvrError for what it does not say, or says so that nobody understands it."""
    facts = [key for key in ("title", "folder", "counts") if not hasattr(kind, key)]
    code = sorted(key for key in kind.__abstractmethods__ if key != "kind")
    if lacking := [*facts, *(["kind"] if "kind" in kind.__abstractmethods__ else []), *(f"{key}()" for key in code)]:
        raise PetvrError(f"{where} does not say its {', '.join(lacking)}")
    captions = inspect.getattr_static(kind, "kind")
    if isinstance(captions, str) and captions not in KINDS:
        raise unknown("kind", captions, KINDS, where)
    counts = kind.counts
    if not isinstance(counts, dict) or not all(
        isinstance(sizes, tuple) and [type(size) for size in sizes] == [int, int] for sizes in counts.values()
    ):
        raise PetvrError(f"{where}: counts: {counts!r:.60} given, allowed: {{split: (videos, captions)}}")
    for split in counts:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS, f"{where}: counts")
    if "test" not in counts:  # one that nobody trains on may lack the others
        raise PetvrError(f"{where}: counts: lacks test")
    for key in ("name", "folder"):
        if not re.fullmatch(NAME, value := str(getattr(kind, key))):
            raise PetvrError(
                f"{where}: {key}: {value!r} given, allowed: letters, digits, _ and -, as in a folder's name"
            )


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
