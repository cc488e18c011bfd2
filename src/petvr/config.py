"""The pipeline's configuration: config.yaml, overlaid by the files of a profile, checked key by key.

No torch here: the workflow reads it while it is parsed, every `petvr` command when it starts.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from petvr.errors import PetvrError, unknown
from petvr.spec import SettingOverride


def _names(value: Any) -> Any:
    if value == "all" or (isinstance(value, list) and value and all(isinstance(name, str) for name in value)):
        return value
    raise ValueError("must be all or a list of names")


Names = Annotated[Any, BeforeValidator(_names)]  # "all" or list[str]


RENAMED = {  # key of an earlier version -> today's; still read
    "settings": "setting_overrides",
    "own": "custom_datasets",
    "chunk": "micro_batch",
    "prefix_gib": "feature_cache_gib",
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Overrides(_Section):
    """Recipe values that replace the papers' (their source becomes `config`); later ones win, in this order."""

    default: dict[str, Any] = {}
    papers: dict[str, dict[str, Any]] = {}
    datasets: dict[str, dict[str, Any]] = {}
    methods: dict[str, dict[str, Any]] = {}


class Tracking(_Section):
    uri: str = "default"
    experiment: str = "petvr"


class DatasetPaths(_Section):
    """Where the two halves of a data set lie; a half that is not named lies below `data` and may be downloaded.

    A path alone stands for {annotations: PATH, videos: PATH/videos}.
    """

    annotations: Path | None = None
    videos: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_path(cls, value: Any) -> Any:
        return {"annotations": value, "videos": Path(value) / "videos"} if isinstance(value, str | Path) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}


# untrained, fully trained, and the method of each paper
CUSTOM_METHODS = ["zero_shot", "full", "vop", "rap", "mv_adapter", "cross_modal_adapter"]


class CustomDataset(_Section):
    """A user's data set: a csv file with the columns video, caption, split, and what is trained on it.

    A path alone stands for {captions: PATH}.
    """

    captions: Path
    paper: str = "rap"  # the one whose recipe trains the methods
    methods: list[str] = Field(default=CUSTOM_METHODS, min_length=1)
    backbone: str = "vit-b-32"

    @model_validator(mode="before")
    @classmethod
    def _one_path(cls, value: Any) -> Any:
        return {"captions": value} if isinstance(value, str | Path) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}


def _dataset_name(value: str) -> str:
    if re.fullmatch("[a-z][a-z0-9]*", value):
        return value
    raise ValueError("the name of a data set must be lower-case letters and digits, a letter first")


class Downloads(_Section):
    """How data sets are brought (`petvr download`)."""

    parallel: int = Field(default=4, gt=0, le=32)  # transfers at once
    archives: Literal["delete", "keep"] = "delete"  # what happens to an archive once it is unpacked
    youtube_parallel: int = Field(default=2, gt=0, le=8)  # more gets an address blocked sooner
    youtube_cookies: Path | None = None  # a cookie file in Netscape's format, used only where it is named here
    youtube_height: int = Field(default=480, ge=224)  # tallest picture taken, in pixels


class FrameStores(_Section):
    """How frame stores are built: a folder of more videos than one job should decode is cut into shards."""

    videos_per_shard: int = Field(default=1000, gt=0)
    shards: dict[str, Annotated[int, Field(gt=0)]] = {}  # folder -> jobs, where the number of videos does not say


class Sizes(_Section):
    """Videos per split of a generated data set."""

    train: int = Field(gt=0)
    val: int = Field(ge=0)
    test: int = Field(gt=1)


class TinyClip(_Section):
    """Training of the demo's CLIP on still images of the world."""

    steps: int = Field(gt=0)
    batch: int = Field(gt=1)
    lr: float = Field(gt=0)


class World(_Section):
    """The synthetic world; absent in a run on the real data."""

    seed: int = 0
    sizes: dict[str, Sizes]
    tiny_clip: TinyClip


class Config(_Section):
    papers: Names = "all"
    tables: Names = "all"
    datasets: Names = "all"
    methods: Names = "all"
    seeds: list[int] = Field(min_length=1)
    optional: bool = False
    quoted: bool = False
    rule: Literal["paper", "best_on_test", "last"] = "paper"
    intervals: bool = False
    missing: Literal["record", "strict"] = "record"
    unavailable: Literal["skip", "stop"] = "skip"
    locks: Path = Path("locks")
    results: Path = Path("results")
    data: Path = Path("data")
    paths: dict[str, DatasetPaths] = {}
    options: dict[str, dict[str, str]] = {}  # data set -> option -> value (petvr.data.catalogue)
    custom_datasets: dict[Annotated[str, AfterValidator(_dataset_name)], CustomDataset] = {}
    download: Downloads = Downloads()
    frames: FrameStores = FrameStores()
    weights: dict[str, str]
    backbones: dict[str, str] = {}  # paper's backbone -> the one that is used (the demo: all -> tiny)
    recipe: Overrides = Overrides()
    setting_overrides: list[SettingOverride] = []
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_minutes: float = Field(default=10, gt=0)
    micro_batch: int | None = Field(default=None, gt=0)
    feature_cache_gib: float = Field(default=20.0, ge=0)
    tracking: Tracking = Tracking()
    world: World | None = None

    def folder(self, dataset_folder: str) -> Path:
        """Where a data set's annotation files lie: `paths` first, else below `data`."""
        return self._place(dataset_folder).annotations or self.data / dataset_folder

    def videos(self, dataset_folder: str) -> Path:
        """Where a data set's videos lie: `paths` first, else in `videos/` below `data`."""
        return self._place(dataset_folder).videos or self.data / dataset_folder / "videos"

    def given(self, dataset_folder: str) -> tuple[bool, bool]:
        """Whether the user says where the annotation files and where the videos are: those are never downloaded."""
        place = self._place(dataset_folder)
        return place.annotations is not None, place.videos is not None

    def _place(self, dataset_folder: str) -> DatasetPaths:
        return self.paths.get(dataset_folder, DatasetPaths())

    @property
    def tracking_uri(self) -> str:
        if self.tracking.uri != "default":
            return self.tracking.uri
        return f"sqlite:///{(self.results / 'mlflow' / 'mlflow.db').resolve()}"


def load_config(files: Sequence[str | Path] = ()) -> Config:
    """Read config.yaml and lay `files` over it (mappings merge, everything else replaces), as Snakemake does.

    `demo` stands for workflow/demo.yaml. Inside a rule the workflow's configuration arrives in PETVR_CONFIG.
    """
    inherited = os.environ.get("PETVR_CONFIG")
    if inherited and not files:
        return validate_config(json.loads(inherited), ["PETVR_CONFIG"])
    paths = [Path("config.yaml"), *(Path("workflow/demo.yaml") if str(f) == "demo" else Path(f) for f in files)]
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _overlay(merged, _read(path))
    return validate_config(merged, paths)


def rename_old_keys(values: dict[str, Any], files: Sequence[str | Path] = ("config.yaml",)) -> dict[str, Any]:
    """`values`, merged from `files` and a command line, under today's keys; one line on stderr for each old one.

    Later files win whichever name they use. Raises PetvrError where one of them has both names of a key.
    """
    if not RENAMED.keys() & values.keys():
        return values
    layers = {str(path): _read(Path(path)) for path in files if Path(path).is_file()}
    of_files: dict[str, Any] = {}
    for layer in layers.values():
        of_files = _overlay(of_files, layer)
    rest = {key: value for key, value in values.items() if key not in of_files or of_files[key] != value}
    merged: dict[str, Any] = {}
    for file, layer in {**layers, "--config" if layers else str(files[0]): rest}.items():
        for old in [key for key in RENAMED if key in layer]:
            if RENAMED[old] in layer:
                raise PetvrError(f"{file}: {old} and {RENAMED[old]} are one key, allowed: {RENAMED[old]} alone")
            print(f"petvr: {file}: the key {old} is now called {RENAMED[old]}", file=sys.stderr)
        merged = _overlay(merged, _under_new_names(layer))
    return merged


def _under_new_names(values: dict[str, Any]) -> dict[str, Any]:
    return {RENAMED.get(key, key): value for key, value in values.items()}


def validate_config(values: dict[str, Any], files: Sequence[str | Path] = ("config.yaml",)) -> Config:
    """Raises PetvrError with the file that holds the wrong key, the key, and what is allowed."""
    values = rename_old_keys(values, files)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        # a misspelt key is often reported as a missing one as well: say what stands there first
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        keys = [str(key) for key in first["loc"]]
        given_keys = keys[:-1] if first["type"] == "missing" else keys
        file = next((f for f in reversed(files) if _holds(f, given_keys)), files[0])
        if first["type"] == "extra_forbidden":
            raise unknown("key", ".".join(keys), _siblings(keys), str(file)) from error
        given = "" if first["type"] == "missing" else f", not {first['input']!r}"
        raise PetvrError(f"{file}: {'.'.join(keys)}: {first['msg'].removeprefix('Value error, ')}{given}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PetvrError(
            f"{path}: no such configuration file (run petvr in the folder that holds config.yaml)"
        ) from error
    except yaml.YAMLError as error:
        raise PetvrError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise PetvrError(f"{path}: must hold keys and values, not {type(values).__name__}")
    return values


def _overlay(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _holds(file: str | Path, keys: list[str]) -> bool:
    if not Path(file).is_file():
        return False
    values: Any = _under_new_names(_read(Path(file)))
    for key in keys:
        if isinstance(values, dict) and key in values:
            values = values[key]
        elif isinstance(values, list) and key.isdigit() and int(key) < len(values):
            values = values[int(key)]
        else:
            return False
    return True


def _siblings(keys: list[str]) -> list[str]:
    """The keys allowed where the last of `keys` stands, written as the user would write them."""
    section: Any = Config
    for key in keys[:-1]:
        field = section.model_fields.get(key) if section else None
        kinds = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        section = inner or section
    return [".".join([*keys[:-1], name]) for name in section.model_fields]


if __name__ == "__main__":  # python -m petvr.config: write the schema that editors read
    print(json.dumps(Config.model_json_schema(), indent=1))
