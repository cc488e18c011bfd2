"""The pipeline's configuration: config.yaml, overlaid by the files of a profile, checked key by key.

No torch here: the workflow reads it while it is parsed, every `petvr` command when it starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from petvr.config.layers import Layers, merged_values, place_of, read_layers
from petvr.config.sections import (
    CustomDataset,
    DatasetPaths,
    Downloads,
    FrameStores,
    Overrides,
    Tracking,
    Tuning,
    VideoIndex,
    World,
)
from petvr.config.values import BackboneName, DatasetName, Folder, Names, Some, Text, WorkFolder
from petvr.errors import PetvrError, mistake_in_words, unknown
from petvr.spec import Flag, Real, Seed, SettingOverride, Whole

SHIPPED = ("config.yaml", "workflow/demo.yaml")
PIPELINE = Path(__file__).parents[1] / "pipeline"  # workflow, profiles and configuration as they are installed


class Config(BaseModel, extra="forbid", frozen=True):
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
    custom_datasets: dict[DatasetName, CustomDataset] = {}
    indexes: dict[DatasetName, VideoIndex] = {}
    download: Downloads = Downloads()
    frames: FrameStores = FrameStores()
    weights: dict[BackboneName, Text]
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
    def snakemake(self) -> str:
        """How the workflow is called with a configuration like this one."""
        return f"snakemake {'--profile demo' if self.world else '--cores all'}"

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
        place = place_of(keys[:-1] if first["type"] == "missing" else keys, layers)
        if first["type"] == "extra_forbidden":
            raise unknown("key", ".".join(keys), _siblings(keys), place) from error
        raise PetvrError(f"{place}: {'.'.join(keys)}: {mistake_in_words(first)}") from error


def _siblings(keys: list[str]) -> list[str]:
    """The keys allowed where the last of `keys` stands, written as the user would write them."""
    section: Any = Config
    for key in keys[:-1]:
        field = section.model_fields.get(key) if section else None
        kinds = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        section = inner or section
    return [".".join([*keys[:-1], name]) for name in section.model_fields]
