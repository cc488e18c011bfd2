"""The pipeline's configuration: config.yaml, overlaid by the files of a profile, checked key by key.

No torch here: the workflow reads it while it is parsed, every `petvr` command when it starts.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from petvr.errors import PetvrError, unknown
from petvr.spec import Flag, Rate, Real, Seed, SettingOverride, Whole
from petvr.yaml_files import read_yaml_file, scalar


def _names(value: Any) -> Any:
    if value == "all" or (_is_list_of_names(value) and value):
        return value
    raise ValueError("must be all or a list of names, each once")


def _flag_or_names(value: Any) -> Any:
    if isinstance(value, bool) or _is_list_of_names(value):
        return value
    raise ValueError("must be true, false or a list of names, each once")


def _is_list_of_names(value: Any) -> bool:
    named = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return named and "all" not in value and len(set(value)) == len(value)


def _text(value: str) -> str:
    if value.strip():
        return value
    raise ValueError("must not be empty")


def _file_name(value: Any) -> Any:
    """An empty path would be the working folder, `~` a folder of that name; what no file system takes would be found
    out amid a run."""
    if isinstance(value, str | Path) and (not str(value).strip() or re.search("[\0-\x1f\x7f]", str(value))):
        raise ValueError("must be the name of a file or folder")
    if isinstance(value, str | Path) and Path(value).parts[:1] and Path(value).parts[0].startswith("~"):
        raise ValueError("`~` is not read as a home folder; write the whole path")
    if isinstance(value, str | Path) and any(len(os.fsencode(part)) > 255 for part in Path(value).parts):
        raise ValueError("a name of more than 255 bytes, which no file system takes")
    return value


def _folder_name(value: Any) -> Any:
    if isinstance(_file_name(value), str | Path):
        there = next((path for path in (Path(value), *Path(value).parents) if os.path.lexists(path)), Path())
        if not there.is_dir():
            raise ValueError("is there and is no folder" if there == Path(value) else f"{there} is no folder")
    return value


def _no_wildcard(value: Path) -> Path:
    if set("{}") & set(str(value)):
        raise ValueError("braces in a path that the workflow writes to are wildcards to Snakemake")
    return value


Text = Annotated[str, AfterValidator(_text)]
File = Annotated[Path, BeforeValidator(_file_name)]
Folder = Annotated[Path, BeforeValidator(_folder_name)]
WorkFolder = Annotated[Folder, AfterValidator(_no_wildcard)]  # what rules name as their output
Layers = dict[str, dict[str, Any]]  # place -> the keys and values it holds
Names = Annotated[Any, BeforeValidator(_names)]  # "all" or list[str]
Some = Annotated[Any, BeforeValidator(_flag_or_names)]  # bool or list[str]


SHIPPED = ("config.yaml", "workflow/demo.yaml")
PIPELINE = Path(__file__).parent / "pipeline"  # workflow, profiles and configuration as they are installed

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


def _store_address(value: str) -> str:
    if re.fullmatch(r"default|databricks|(https?|file|sqlite|postgresql|mysql|mssql)(\+\w+)?://\S.*", value):
        return value
    raise ValueError("must be default or what MLflow takes: http://HOST:PORT, sqlite:////FILE, postgresql://...")


class Tracking(_Section):
    uri: Annotated[str, AfterValidator(_store_address)] = "default"
    experiment: Text = "petvr"


class DatasetPaths(_Section):
    """Where the two halves of a data set lie; a half that is not named lies below `data` and may be downloaded.

    A path alone stands for {annotations: PATH, videos: PATH/videos}.
    """

    annotations: Folder | None = None
    videos: Folder | None = None

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

    captions: File
    paper: str = "rap"  # the one whose recipe trains the methods
    methods: list[str] = Field(default=CUSTOM_METHODS, min_length=1)
    backbone: str = "vit-b-32"
    tune: Flag = False  # rates are tuned for these videos (docs/tuning.md) instead of taken from the paper

    @model_validator(mode="before")
    @classmethod
    def _one_path(cls, value: Any) -> Any:
        return {"captions": value} if isinstance(value, str | Path) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}


def _dataset_name(value: str) -> str:
    if re.fullmatch("[a-z][a-z0-9]*", value) and value != "all":
        return value
    raise ValueError("the name of a data set must be lower-case letters and digits, a letter first, other than `all`")


def _backbone_name(value: str) -> str:
    if re.fullmatch("[a-z0-9-]+", value):
        return value
    raise ValueError("the name of a backbone must be lower-case letters, digits and hyphens")


class VideoIndex(_Section):
    """A folder of videos that `snakemake index_<name>` encodes, so that they can be searched."""

    videos: Folder
    model: str = Field(min_length=1)  # a run's id, a folder of `petvr export`, or a hub id
    shards: Whole = Field(default=1, gt=0, le=100_000)  # jobs
    sentences: File | None = None  # one a line, for methods that look at some while they read a video


class Downloads(_Section):
    """How data sets are brought (`petvr download`)."""

    parallel: Whole = Field(default=4, gt=0, le=32)  # transfers at once
    archives: Literal["delete", "keep"] = "delete"  # what happens to an archive once it is unpacked
    youtube_parallel: Whole = Field(default=2, gt=0, le=8)  # more gets an address blocked sooner
    youtube_cookies: File | None = None  # a cookie file in Netscape's format, used only where it is named here
    youtube_height: Whole = Field(default=480, ge=224, le=8640)  # tallest picture taken, in pixels


class FrameStores(_Section):
    """How frame stores are built: a folder of more videos than one job should decode is cut into shards."""

    videos_per_shard: Whole = Field(default=1000, gt=0, le=10**9)
    shards: dict[
        str, Annotated[Whole, Field(gt=0, le=100_000)]
    ] = {}  # folder -> jobs, where the number of videos does not say


class Sizes(_Section):
    """Videos per split of a generated data set."""

    train: Whole = Field(gt=0, le=10**7)
    val: Whole = Field(ge=0, le=10**7)
    test: Whole = Field(gt=1, le=10**7)


class TinyClip(_Section):
    """Training of the demo's CLIP on still images of the world."""

    steps: Whole = Field(gt=0, le=10**7)
    batch: Whole = Field(gt=1, le=10**6)
    lr: Rate = Field(gt=0)


SMALLEST_FIRST_RUNG = 0.2  # share of the training: earlier rungs judge who starts fast
KEPT_SHARE = 3  # a rung keeps a third of its trials at least


Range = Annotated[list[Rate], Field(min_length=2, max_length=2)]


class RateRanges(_Section):
    """Lowest and highest rate tried; trials lie between in equal steps of the logarithm, both ends included."""

    lr_clip: Range = [1e-7, 1e-3]
    lr_new: Range = [1e-6, 1e-2]
    lr_head: Range = [1e-6, 1e-2]

    @model_validator(mode="after")
    def _rising(self) -> RateRanges:
        for name, (low, high) in self:
            if not 0 < low < high:
                raise ValueError(f"{name} must be two rates above 0, the lower first")
        return self


class Tuning(_Section):
    """How many trials every method gets, when they are judged, and between which rates they lie (docs/tuning.md)."""

    seed: Seed = 1  # of all trials; no final run has it
    trials: Whole = Field(default=9, ge=2, le=1000)
    rungs: list[Rate] = Field(default=[0.2, 0.6, 1], min_length=1)  # shares of the recipe's epochs, the last is 1
    keep: list[Annotated[Whole, Field(ge=1)]] = [3, 1]  # trials that go on to the second rung, the third, ...
    rates: RateRanges = RateRanges()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Trials of each rung."""
        return (self.trials, *self.keep)

    @model_validator(mode="after")
    def _fair(self) -> Tuning:
        rungs = self.rungs
        if sorted(set(rungs)) != rungs or rungs[-1] != 1 or rungs[0] < SMALLEST_FIRST_RUNG:
            raise ValueError(f"rungs must rise from {SMALLEST_FIRST_RUNG:g} or more to 1")
        if len(self.keep) != len(rungs) - 1:
            raise ValueError(f"keep must have {len(rungs) - 1} numbers, one for each rung but the first")
        for before, after in zip(self.sizes, self.keep, strict=False):
            if not before / KEPT_SHARE <= after < before:
                raise ValueError(f"keep: of {before} trials {after} go on, allowed: a third or more, and not all")
        return self


class World(_Section):
    """The synthetic world; absent in a run on the real data."""

    seed: Seed = 0
    sizes: dict[str, Sizes]
    tiny_clip: TinyClip


class Config(_Section):
    papers: Names = "all"
    tables: Names = "all"
    datasets: Names = "all"
    methods: Names = "all"
    seeds: list[Seed] = Field(min_length=1)
    optional: Some = False  # or the names (`used_in`) of some: [rap/figure_1_top]
    quoted: Flag = False
    rule: Literal["paper", "best_on_test", "best_on_val", "last"] = "paper"
    intervals: Flag = False
    against: dict[str, Text] = {}  # table -> name of the row that others are compared with
    missing: Literal["record", "strict"] = "record"
    unavailable: Literal["skip", "stop"] = "skip"
    rehearsal: Literal["stop", "anyway", "skip"] = "stop"
    locks: Folder = Path("locks")
    results: WorkFolder = Path("results")
    data: WorkFolder = Path("data")
    paths: dict[str, DatasetPaths] = {}
    options: dict[str, dict[str, str]] = {}  # data set -> option -> value (petvr.data.catalogue)
    custom_datasets: dict[Annotated[str, AfterValidator(_dataset_name)], CustomDataset] = {}
    indexes: dict[Annotated[str, AfterValidator(_dataset_name)], VideoIndex] = {}
    download: Downloads = Downloads()
    frames: FrameStores = FrameStores()
    weights: dict[Annotated[str, AfterValidator(_backbone_name)], Text]
    backbones: dict[str, str] = {}  # paper's backbone -> the one that is used (the demo: all -> tiny)
    recipe: Overrides = Overrides()
    setting_overrides: list[SettingOverride] = []
    tuning: Tuning = Tuning()
    tune: Literal["guesses"] | None = None  # guesses: a second variant of each row whose guessed rates are tuned
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_minutes: Real = Field(default=10, gt=0, le=10**6)
    deterministic: Flag = True
    compile: Flag = False
    activation_checkpointing: Flag = False
    micro_batch: Whole | None = Field(default=None, gt=0, le=1_048_576)
    feature_cache_gib: Real = Field(default=20.0, ge=0, le=10**6)
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


def load_config(files: Sequence[str | Path] = (), needed: bool = True) -> Config:
    """Read config.yaml and lay `files` over it (mappings merge, everything else replaces), as Snakemake does.

    `demo` stands for workflow/demo.yaml. Inside a rule the workflow's configuration arrives in PETVR_CONFIG. Where the
    folder has no config.yaml and none is `needed`, the one that is installed stands for it.
    """
    inherited = os.environ.get("PETVR_CONFIG")
    if inherited and not files:
        try:
            return validate_config({"PETVR_CONFIG": json.loads(inherited)})
        except (ValueError, RecursionError) as error:
            raise PetvrError(f"PETVR_CONFIG: not what the workflow writes there ({error}); unset it") from error
    named = ["config.yaml", *("workflow/demo.yaml" if str(file) == "demo" else file for file in files)]
    if not needed:
        named = [PIPELINE / file if file in SHIPPED and not Path(file).exists() else file for file in named]
    return validate_config(read_layers(named))


def read_layers(
    files: Sequence[str | Path], more: Mapping[str, Any] | None = None, more_from: str = "--config"
) -> Layers:
    """File -> its keys and values under today's names, later ones win; last what Snakemake has from elsewhere.

    Says one line on stderr for each key of an earlier version. Raises PetvrError where one place has both names of it.
    """
    layers: Layers = {str(file): _read(Path(file)) for file in files}
    if more is not None:
        layers[more_from] = {key: _resolved(value) for key, value in more.items()}
    for place, layer in layers.items():
        for old in [key for key in RENAMED if key in layer]:
            if RENAMED[old] in layer:
                raise PetvrError(f"{place}: {old} and {RENAMED[old]} are one key, allowed: {RENAMED[old]} alone")
            print(f"petvr: {place}: the key {old} is now called {RENAMED[old]}", file=sys.stderr)
            layer[RENAMED[old]] = layer.pop(old)
    return layers


def merged_values(layers: Layers) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers.values():
        merged = _overlay(merged, layer)
    return merged


def validate_config(layers: Layers) -> Config:
    """Raises PetvrError with the place that holds the wrong key, the key, and what is allowed."""
    for place, layer in layers.items():
        if not isinstance(layer, dict):
            raise PetvrError(f"{place}: must hold keys and values, not {type(layer).__name__}")
    try:
        return Config.model_validate(merged_values(layers))
    except ValidationError as error:
        # a misspelt key is often reported as a missing one as well: say what stands there first
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        keys = [str(key) for key in first["loc"] if key != "[key]"]
        place = _place_of(keys[:-1] if first["type"] == "missing" else keys, layers)
        if first["type"] == "extra_forbidden":
            raise unknown("key", ".".join(keys), _siblings(keys), place) from error
        given = "" if first["type"] == "missing" else f", not {first['input']!r:.80}"
        raise PetvrError(f"{place}: {'.'.join(keys)}: {first['msg'].removeprefix('Value error, ')}{given}") from error


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        hint = "run petvr in the folder that holds it; petvr init FOLDER makes one"
        raise PetvrError(f"{path}: no such configuration file ({hint})")
    values = read_yaml_file(path)
    if not isinstance(values, dict):
        raise PetvrError(f"{path}: must hold keys and values, not {type(values).__name__}")
    return values


def _resolved(value: Any) -> Any:
    """Snakemake leaves every word inside a list or mapping of --config a text: `seeds=[0]` is ['0'] to it."""
    if isinstance(value, Mapping):
        return {key: _resolved(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_resolved(one) for one in value]
    return scalar(value) if isinstance(value, str) else value


def _overlay(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _place_of(keys: list[str], layers: Layers) -> str:
    """The last layer that holds the key, or the most of the way to it."""
    ways = [keys[:length] for length in range(len(keys), 0, -1)]
    held = (name for way in ways for name, layer in reversed(layers.items()) if _holds(layer, way))
    return next(held, next(iter(layers)))


def _holds(layer: Any, keys: list[str]) -> bool:
    for key in keys:
        if isinstance(layer, dict) and key in (named := {str(name): value for name, value in layer.items()}):
            layer = named[key]
        elif isinstance(layer, list) and key.isdigit() and int(key) < len(layer):
            layer = layer[int(key)]
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
