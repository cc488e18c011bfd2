"""A run, fully resolved: what `petvr train` needs to know and what decides whether a result is still valid.

No torch here: the workflow resolves all runs while it is parsed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import types
import typing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from petvr.errors import PetvrError

# main_paper: VoP's text, of which its supplement alone is at hand to be checked; count: only meets a printed size;
# protocol: our own choice for a comparison of ours, with its reason; tuned: chosen on validation among the trials of
# petvr.tuning
Origin = Literal["paper", "main_paper", "code", "count", "guess", "config", "protocol", "tuned"]
Value = str | int | float | bool
MOST_SEEDS = 2**32 - 1
MOST_THREADS = 1_024  # more end the process in native code
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


def _real(value: Any) -> Any:
    """YAML 1.1, which Snakemake reads, takes 1e-4 for a text; true is no number."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    if type(value) not in (int, float):
        raise ValueError("must be a number")
    return value


Real = Annotated[float, BeforeValidator(_real), Field(allow_inf_nan=False)]
Rate = Annotated[Real, Field(ge=0, le=1)]
Norm = Annotated[Real, Field(gt=0, le=1e6)]
Beta = Annotated[Real, Field(ge=0, lt=1)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Seed = Annotated[Whole, Field(ge=0, le=MOST_SEEDS)]
SelectionMetric = Literal[
    "t2v/R@1", "t2v/R@5", "t2v/R@10", "t2v/RSum", "t2v/MdR", "t2v/MnR",
    "v2t/R@1", "v2t/R@5", "v2t/R@10", "v2t/RSum", "v2t/MdR", "v2t/MnR",
]  # fmt: skip


class Source(BaseModel):
    """Where a value comes from; `where` names the section, table, file or the reason of a guess."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    origin: Origin
    where: str = ""


class Recipe(BaseModel):
    """How a paper trains and evaluates. Every field is set by the paper's recipe.yaml, each with its Source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # what a value may be is said here alone; `allowed_values` has it in words
    # optimisation
    optimizer: Literal["bert_adam", "adamw", "adam"] = Field(
        description="bert_adam: CLIP4Clip's, without bias correction; adam: torch's, weight decay in the gradient"
    )
    lr_clip: Rate = Field(description="learning rate of CLIP's own parameters")
    lr_new: Rate = Field(description="learning rate of the parameters a method inserts")
    lr_head: Rate = Field(description="learning rate of the similarity's parameters")
    weight_decay: Rate = Field(description="decoupled from the gradient, but in adam")
    no_decay: Literal["none", "bias", "bias_and_layernorm"] = Field(description="names left out of weight decay")
    betas: tuple[Beta, Beta] = Field(description="of Adam")
    eps: Real = Field(gt=0, le=1, description="of Adam")
    warmup: Beta = Field(description="share of all steps in which the rate grows from zero")
    schedule: Literal["warmup_cosine", "warmup_cosine_restarted", "constant"] = Field(
        description="after the warm-up; restarted: the cosine begins at the end of the warm-up"
    )
    clip_global: Norm | None = Field(description="largest norm of all gradients together; null: not clipped")
    clip_tensor: Norm | None = Field(description="largest norm of each tensor's gradient; null: not clipped")
    epochs: Whole = Field(ge=1, le=10_000, description="passes over the training split")
    batch: Whole = Field(
        ge=2, le=1_048_576, description="pairs of a video and a caption in a step; each is told from the others"
    )
    drop_last: Flag = Field(description="leave out the last batch of an epoch where it is smaller")
    precision: Literal["fp32", "tf32", "bf16", "clip4clip_fp16", "mv_adapter_fp16", "cma_fp16"] = Field(
        description="arithmetic of a step (petvr.training.precision)"
    )
    # data
    frames: Whole = Field(ge=1, le=1_024, description="frames of a video")
    words: Whole = Field(ge=3, le=77, description="tokens of a caption, start and end included; CLIP has 77 positions")
    sampler: Literal["c4c_1fps_int", "round_1fps", "uniform_mid", "floor_uniform", "linspace_all"] = Field(
        description="which frames of a video are taken (petvr.data.frames.samplers)"
    )
    picture: Literal["crop", "stretch", "crop_aliased"] = Field(
        default="crop",  # of results from before there was a choice
        description="a frame to a square: crop, shorter side and centre crop by PIL; stretch, both sides at once; "
        "crop_aliased, as crop without antialiasing, as X-Pool's code resizes tensors",
    )
    captions: Literal["all_pairs", "one_per_video"] = Field(description="pairs of an epoch")
    augment: Literal["none", "crop_flip"] = Field(description="of training frames; one draw per video")
    data_order: Literal["by_seed", "fixed"] = Field(
        description="fixed: CLIP4Clip's sampler never looks at the run's seed"
    )
    # score and loss
    similarity: str = Field(description="a file of petvr.similarity")
    similarity_setting: dict[str, Any] = Field(description="its settings; what is not named keeps its default")
    logit_scale: Literal["train", "frozen", "none"] = Field(
        description="whether CLIP's temperature trains; none: 1 stands for it (Cross-Modal Adapter, equations 9 and 10)"
    )
    logit_scale_max: Real = Field(ge=1, le=10_000, description="exp(logit_scale) is clamped to this")
    # evaluation
    evaluations_per_epoch: Whole = Field(
        ge=0, le=1_000, description="how often the test split is ranked in an epoch; 0: once, at the very end"
    )
    selection: Literal["best_on_test", "best_on_val", "last"] = Field(
        description="which evaluation a table shows; best_on_val: the best on the validation split, without which the "
        "run then trains"
    )
    select_by: SelectionMetric = Field(description="direction and metric that chooses the best, e.g. t2v/R@1")
    dsl: Literal["none", "camoe", "emcl", "ts2net"] = Field(
        description="variant of dual-softmax reported beside the plain scores; none leaves it out"
    )
    dsl_temperature: Real = Field(gt=0, le=1e6, description="of dual-softmax")

    def model_choices(self, train: bool) -> dict[str, Any]:
        """Its part of what a model is built with; where nothing trains the logit scale does not either."""
        return {
            "similarity": self.similarity,
            "similarity_setting": self.similarity_setting,
            "frames": self.frames,
            "words": self.words,
            "train_logit_scale": train and self.logit_scale == "train",
        }


def picture_suffix(picture: str) -> str:
    """How the name of a store of such frames ends; empty for the usual ones."""
    return "" if picture == "crop" else f"-{picture}"


def checked_value(key: str, value: Any, where: str) -> Any:
    """A value of the recipe field `key`, in its type. PetvrError, which begins with `where`, says what is allowed."""
    try:
        return _adapter(key).validate_python(value)
    except ValidationError as error:
        raise value_error(key, value, where) from error


@functools.cache
def _adapter(key: str) -> TypeAdapter[Any]:
    field = Recipe.model_fields[key]
    kind: Any = Annotated[field.annotation, field]
    return TypeAdapter(kind)


def value_error(key: str, value: Any, where: str) -> PetvrError:
    return PetvrError(f"{where}: {key}: {value!r:.60} given, allowed: {allowed_values(key)}")


def allowed_values(key: str) -> str:
    """What a recipe field may be, in words: `a number, 0 to 1`."""
    field = Recipe.model_fields[key]
    return _in_words(field.annotation, field.metadata)


def _in_words(kind: Any, metadata: list[Any]) -> str:
    if typing.get_origin(kind) is Annotated:
        inner, *more = typing.get_args(kind)
        return _in_words(inner, [*more, *metadata])
    if typing.get_origin(kind) is Literal:
        return ", ".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"{len(typing.get_args(kind))} values, each {_in_words(typing.get_args(kind)[0], [])}"
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return f"{_in_words(typing.get_args(kind)[0], metadata)} or null"
    names = {float: "a number", int: "a whole number", bool: "true, false", str: "a name"}
    bounds: dict[str, Any] = {}
    for one in metadata:
        for part in getattr(one, "metadata", [one]):
            bounds |= {name: getattr(part, name) for name in ("ge", "gt", "le", "lt") if hasattr(part, name)}
    low = f"{bounds['ge']:g}" if "ge" in bounds else f"more than {bounds['gt']:g}" if "gt" in bounds else ""
    high = f" to {int(bounds['le']):,}" if "le" in bounds else f" to below {bounds['lt']:g}" if "lt" in bounds else ""
    return names.get(kind, "keys and values") + (f", {low}{high}" if low or high else "")


class SettingOverride(BaseModel):
    """The setting `key` of `method` is `used` wherever a table has `printed`, e.g. where a narrower CLIP needs it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    key: str
    printed: bool | int | float | str
    used: bool | int | float | str


class RunSpec(BaseModel):
    """One training or evaluation job: a cell of a table with a seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    dataset: str
    backbone: str
    method: str  # e.g. "vop" or a composition "vop_f+vop_p"
    setting: dict[str, Value]
    defaults: dict[str, Value] = {}  # in force though nobody names them: "setting.k", "setting.asa.k", "similarity.tau"
    variant: dict[str, Value] = {}  # recipe fields this cell alone sets; part of the id
    # "recipe.lr_new", "setting.rank" -> what tuning chose, None: nothing yet; no part of the id
    tuned: dict[str, Value | None] = {}
    seed: Seed
    train: bool  # False: evaluated as it is, nothing is trained
    options: dict[str, str] = {}  # of the data set, e.g. {"didemo_key": "exact"}
    recipe: Recipe
    sources: dict[str, Source]  # "recipe.lr_new", "setting.tokens", "similarity.tau", "options.split" -> Source
    versions: dict[str, int]  # method file or part of petvr -> VERSION; a new VERSION makes old results stale

    @property
    def cell(self) -> str:
        """`vop/msrvtt-7k/vit-b-32/vop@tokens=4`"""
        setting = {key: value for key, value in self.setting.items() if f"setting.{key}" not in self.tuned}
        named = method_id(self.method, setting | self.variant)
        return "/".join([self.paper, self.dataset, self.backbone, named])

    @property
    def id(self) -> str:
        """`vop/msrvtt-7k/vit-b-32/vop@tokens=4/seed-0`: also the folder under results/runs/"""
        return f"{self.cell}/seed-{self.seed}"

    def values(self) -> dict[str, Any]:
        """Every value in force by the key of its source: settings, the similarity's, the recipe, options."""
        recipe = self.recipe.model_dump(mode="json")
        named = {f"setting.{key}": value for key, value in self.setting.items()}
        named |= {f"similarity.{key}": value for key, value in recipe.pop("similarity_setting").items()}
        named |= {key: value for key, value in self.defaults.items() if key not in named}
        named |= {f"recipe.{key}": value for key, value in recipe.items()}
        return named | {f"options.{key}": value for key, value in self.options.items()}

    def digest(self) -> str:
        """Changes exactly when something changes that a result depends on (not with sources or their wording).

        Defaults are the method's file's, whose version is part of it.
        """
        return _digest(self._digested())

    def protocol_digest(self) -> str:
        """As `digest`, of all but what tuning chooses: the same whatever it chose, or before it has."""
        data = self._digested()
        for key in self.tuned:
            part, _, name = key.partition(".")
            data[part].pop(name, None)
        return _digest(data | ({"tuned": sorted(self.tuned)} if self.tuned else {}))

    @property
    def undecided(self) -> bool:
        """Whether a value is left to tuning, which has not chosen it yet."""
        return None in self.tuned.values()

    def _digested(self) -> dict[str, Any]:
        described = {"sources", "defaults"} if self.options else {"sources", "defaults", "options"}
        data = self.model_dump(mode="json", exclude=described)
        if self.recipe.picture == "crop":  # so that digests from before there was a choice stay
            del data["recipe"]["picture"]
        if not self.undecided:  # what is chosen stands in its place
            del data["tuned"]
        return data


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def method_id(method: str, setting: dict[str, Any]) -> str:
    """`cross_modal_adapter@ds=16,r=8`: keys sorted, booleans as true/false; without settings the bare name."""
    if not setting:
        return method
    return method + "@" + ",".join(f"{key}={_text(setting[key])}" for key in sorted(setting))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
