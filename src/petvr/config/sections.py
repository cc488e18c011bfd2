"""The sections of config.yaml: what stands below its keys, each value with its bounds and its default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from petvr.config.values import File, Folder, StoreAddress, Text
from petvr.spec import Flag, Rate, Seed, Whole


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Overrides(_Section):
    """Recipe values that replace the papers' (their source becomes `config`); later ones win, in this order."""

    default: dict[str, Any] = {}
    papers: dict[str, dict[str, Any]] = {}
    datasets: dict[str, dict[str, Any]] = {}
    methods: dict[str, dict[str, Any]] = {}


class Tracking(_Section):
    uri: StoreAddress = "default"
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


LOWEST_RATE = 1e-12  # what is far below moves no number in float32


class RateRanges(_Section):
    """Lowest and highest rate tried; trials lie between in equal steps of the logarithm, both ends included."""

    lr_clip: Range = [1e-7, 1e-3]
    lr_new: Range = [1e-6, 1e-2]
    lr_head: Range = [1e-6, 1e-2]

    @model_validator(mode="after")
    def _rising(self) -> RateRanges:
        for name, (low, high) in self:
            if not LOWEST_RATE <= low < high:
                raise ValueError(f"{name} must be two rates, {LOWEST_RATE:g} to 1, the lower first")
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
