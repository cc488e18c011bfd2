"""The data sets of a configuration: the papers' and a user's own, where they lie, and which options are chosen.

No torch here: the workflow asks while it is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping

from petvr.config import Config
from petvr.data import datasets
from petvr.data.datasets import Dataset
from petvr.data.datasets.own import Own
from petvr.errors import PetvrError, unknown
from petvr.spec import Source


def names(config: Config) -> tuple[str, ...]:
    """The papers' data sets and those of `custom_datasets`."""
    return (*datasets.available(), *config.custom_datasets)


def load(config: Config, name: str) -> Dataset:
    """A data set where the configuration says that it lies, with the options it says. Nothing is read yet."""
    check(config)
    if name in config.custom_datasets:
        return Own(name, config.custom_datasets[name].captions)
    where = folder(config, name)
    return datasets.load(name, config.folder(where), config.videos(where), **config.options.get(name, {}))


def folder(config: Config, name: str) -> str:
    """The name under which its videos and frames are kept: `msrvtt` for both MSR-VTT splits."""
    if name not in names(config):
        raise unknown("data set", name, names(config))
    return name if name in config.custom_datasets else datasets.folder(name)


def sharing(config: Config, of: str) -> list[str]:
    """The data sets that lie in one folder: both MSR-VTT splits read one store of frames."""
    return [name for name in names(config) if folder(config, name) == of]


def options(config: Config, name: str) -> dict[str, tuple[str, Source]]:
    """What a run on this data set depends on besides its files: option -> chosen value, and who chose it."""
    if name not in datasets.available():
        return {}
    given, kind = config.options.get(name, {}), datasets.dataset_class(name)
    found = {}
    for key, allowed in kind.options.items():
        origin, where = kind.why[key]
        default = Source(origin=origin, where=where)
        chosen = Source(origin="config", where=f"options.{name}.{key}")
        found[key] = (given[key], chosen) if key in given else (allowed[0], default)
    return found


def all_options(config: Config) -> Mapping[str, dict[str, tuple[str, Source]]]:
    check(config)
    return {name: options(config, name) for name in datasets.available()}


def check(config: Config) -> None:
    """Raises PetvrError for unknown options, values and folders in `paths`, and for an own name that is taken."""
    for name, given in config.options.items():
        if name not in datasets.available():
            raise unknown(
                "data set", name, [n for n in datasets.available() if datasets.dataset_class(n).options], "options"
            )
        allowed = datasets.dataset_class(name).options
        for key, value in given.items():
            if key not in allowed:
                raise unknown("option", key, allowed, f"options.{name}")
            if value not in allowed[key]:
                raise unknown("value", value, allowed[key], f"options.{name}.{key}")
    folders = {datasets.folder(name) for name in datasets.available()}
    for key in config.paths:
        if key not in folders:
            raise unknown("folder of a data set", key, folders, "paths")
    taken = {*datasets.available(), *folders}
    for name in config.custom_datasets:
        if name in taken:
            raise PetvrError(
                f"custom_datasets.{name}: this name belongs to one of the papers' data sets; choose another"
            )
