"""The data sets of a configuration: the papers' and a user's own, where they lie, and which options are chosen.

No torch here: the workflow asks while it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from petvr.config import Config
from petvr.data import datasets
from petvr.data.datasets import Dataset
from petvr.data.datasets.own import Own
from petvr.data.frames import decode, preprocess, samplers
from petvr.data.manifest import available
from petvr.errors import PetvrError, unknown
from petvr.layout import Layout
from petvr.spec import RunSpec, Source
from petvr.text_files import read_json

CLIP_IMAGE = 224  # side of the frames the public backbones read, in pixels
PUBLISHED = ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch16", "openai/clip-vit-large-patch14")


def dataset_names(config: Config) -> tuple[str, ...]:
    """The papers' data sets and those of `custom_datasets`."""
    return (*datasets.available(), *config.custom_datasets)


def chosen_datasets(config: Config) -> list[str]:
    """The data sets the configuration asks for, of those that exist."""
    return [name for name in dataset_names(config) if config.datasets == "all" or name in config.datasets]


def open_dataset(config: Config, name: str) -> Dataset:
    """A data set where the configuration says that it lies, with the options it says. Nothing is read yet."""
    check_datasets(config)
    if name in config.custom_datasets:
        return Own(name, config.custom_datasets[name].captions)
    where = folder_of(config, name)
    return datasets.load_dataset(name, config.folder(where), config.videos(where), **config.options.get(name, {}))


def has_own_validation(config: Config, name: str) -> bool:
    """Whether a user's captions name a split `val`; a file that is absent or wrong is told where it is read for use."""
    try:
        return "val" in open_dataset(config, name).splits
    except PetvrError:
        return False


def folder_of(config: Config, name: str) -> str:
    """The name under which its videos and frames are kept: `msrvtt` for both MSR-VTT splits."""
    if name not in dataset_names(config):
        raise unknown("data set", name, dataset_names(config))
    return name if name in config.custom_datasets else datasets.folder(name)


def datasets_in(config: Config, of: str) -> list[str]:
    """The data sets that lie in one folder: both MSR-VTT splits read one store of frames."""
    return [name for name in dataset_names(config) if folder_of(config, name) == of]


def chosen_options(config: Config, name: str) -> dict[str, tuple[str, Source]]:
    """What a run on this data set depends on besides its files: option -> chosen value, and who chose it."""
    if name not in datasets.available():
        return {}
    given, kind = config.options.get(name, {}), datasets.dataset_class(name)
    options = {}
    for key, allowed in kind.options.items():
        origin, where = kind.why[key]
        default = Source(origin=origin, where=where)
        chosen = Source(origin="config", where=f"options.{name}.{key}")
        options[key] = (given[key], chosen) if key in given else (allowed[0], default)
    return options


def all_options(config: Config) -> Mapping[str, dict[str, tuple[str, Source]]]:
    check_datasets(config)
    return {name: chosen_options(config, name) for name in datasets.available()}


def check_datasets(config: Config) -> None:
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


def availability(config: Config, name: str) -> available.Verdict:
    """Whether a data set is there, and if it cannot be had, why. A few file names are looked at, nothing is read."""
    if name in config.custom_datasets:
        # a csv file that is named and absent is an error
        return available.Verdict(config.custom_datasets[name].captions.exists())
    folder = datasets.folder(name)
    if config.world is not None:
        if folder in config.world.sizes:
            return available.Verdict(True)
        return available.Verdict(False, "not in this world", f"world.sizes in the configuration has no {folder}")
    if Layout(config.results).manifest(name).exists():
        return available.Verdict(True)  # it was there once: the frames may have outlived the videos
    return available.verdict(open_dataset(config, name), config.given(folder), download_folder(config, name))


def is_generated(config: Config, name: str) -> bool:
    """Whether its videos are those of the synthetic world."""
    return config.world is not None and name not in config.custom_datasets


def given_by_user(config: Config, name: str) -> tuple[bool, bool]:
    """Whether the user says where the annotation files and where the videos are: those are never downloaded."""
    return (True, True) if name in config.custom_datasets else config.given(folder_of(config, name))


def is_present(config: Config, name: str) -> bool:
    """Whether its annotation files are there and its folder of videos holds anything."""
    return available.present(open_dataset(config, name))


def manifest_inputs(config: Config, name: str) -> list[Path]:
    """What a manifest depends on: the world's mark; else the annotation files, or the mark of the download that brings
    them. What came by download stays with its mark, so that a second call asks for the same inputs as the first.
    """
    dataset = open_dataset(config, name)
    if is_generated(config, name):
        return [dataset.root / "world.json"]
    mark = download_folder(config, name) / "download.done"
    annotations, videos = given_by_user(config, name)
    downloaded = not (annotations and videos) and (mark.exists() or not is_present(config, name))
    files = [file for file in dataset.annotation_files() if file.exists()]
    return (files if annotations or not downloaded else []) + ([mark] if downloaded else [])


def download_folder(config: Config, name: str) -> Path:
    """Where downloads of a data set leave their marks, also if `paths` names another place for its files."""
    return config.data / folder_of(config, name)


def lock_file(config: Config, name: str) -> Path:
    """Where a data set's frozen state lies; it need not be there."""
    return config.locks / f"{name}.json"


def frame_store(config: Config, run: RunSpec) -> Path:
    """The folder of the frame store a run reads."""
    folder = folder_of(config, run.dataset)
    recipe, size = run.recipe, image_size(config, run.backbone)
    return Layout(config.results).frames(folder, recipe.sampler, recipe.frames, size, recipe.picture)


def frame_shards(config: Config, folder: str) -> int:
    """In how many jobs a folder's videos are decoded: told by official or generated counts, never by files."""
    if folder in config.frames.shards:
        return config.frames.shards[folder]
    counts = [0]  # of a user's own videos nobody knows before they are read
    if config.world is not None:
        counts += [sizes.train + sizes.test for name, sizes in config.world.sizes.items() if name == folder]
    else:
        classes = [datasets.dataset_class(name) for name in datasets.available() if datasets.folder(name) == folder]
        counts += [sum(one.counts[split][0] for split in ("train", "test")) for one in classes]
    return max(1, -(-max(counts) // config.frames.videos_per_shard))


def image_size(config: Config, backbone: str) -> int:
    """Side in pixels of the pictures a backbone reads: by its source, else by the weights that were brought."""
    brought = Layout(config.results).weights(backbone)
    return _size_by_source(config, backbone) or _image_size_of(brought) or CLIP_IMAGE


def weights_first(config: Config, backbones: Iterable[str]) -> list[Path]:
    """Weights that must be there before a frame is decoded: only they tell the size of the pictures they read."""
    silent = [name for name in dict.fromkeys(backbones) if not _size_by_source(config, name)]
    return [Layout(config.results).weights(name) / "model.safetensors" for name in silent]


def _size_by_source(config: Config, backbone: str) -> int | None:
    """From the config.json of a local source or the name of another; None where neither tells."""
    if backbone == "tiny":
        from petvr.world import IMAGE_SIZE

        return IMAGE_SIZE
    source = config.weights.get(backbone, "")
    if source in PUBLISHED:
        return CLIP_IMAGE
    if source and Path(source).is_dir():
        return _image_size_of(Path(source))
    named = re.search(r"-(\d{3})(px)?(\.pt)?$", source)
    return int(named[1]) if named else None


def _image_size_of(weights: Path) -> int | None:
    """What config.json says; None where it says nothing that can be read: `petvr weights` then tells why."""
    try:
        config = read_json(weights / "config.json", dict)
        size = {**(config.get("vision_config") or {}), **(config.get("vision_config_dict") or {})}.get("image_size")
    except (PetvrError, AttributeError, TypeError):
        return None
    return size if type(size) is int and size > 0 else None


def frame_versions() -> dict[str, int]:
    """What the pixels of a frame store depend on besides the videos."""
    parts = {"samplers": samplers, "decode": decode, "preprocess": preprocess}
    return {f"frames/{name}": module.VERSION for name, module in parts.items()}
