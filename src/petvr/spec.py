"""A run, fully resolved: what `petvr train` needs to know and what decides whether a result is still valid.

No torch here: the workflow resolves all runs while it is parsed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Origin = Literal["paper", "code", "count", "guess", "config"]


class Source(BaseModel):
    """Where a value comes from; `where` names the section, table, file or the reason of a guess."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    origin: Origin
    where: str = ""


class Recipe(BaseModel):
    """How a paper trains and evaluates. Every field is set by the paper's recipe.yaml, each with its Source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # optimisation
    optimizer: Literal["bert_adam", "adamw"]
    lr_clip: float  # CLIP's own parameters
    lr_new: float  # parameters a method inserts
    lr_head: float  # parameters of the similarity
    weight_decay: float
    no_decay: Literal["none", "bias", "bias_and_layernorm"]  # names left out of weight decay
    betas: tuple[float, float]
    eps: float
    warmup: float  # share of all steps
    schedule: Literal["warmup_cosine", "warmup_cosine_restarted", "constant"]
    clip_global: float | None  # norm of all gradients together
    clip_tensor: float | None  # norm of each tensor's gradient
    epochs: int
    batch: int
    drop_last: bool
    precision: Literal["fp32", "bf16", "clip4clip_fp16", "mv_adapter_fp16", "cma_fp16"]  # petvr.training.precision
    # data
    frames: int
    words: int
    sampler: Literal["c4c_1fps_int", "round_1fps", "uniform_mid", "floor_uniform", "linspace_all"]
    captions: Literal["all_pairs", "one_per_video"]
    augment: Literal["none", "crop_flip"]
    data_order: Literal["by_seed", "fixed"]  # fixed: CLIP4Clip's sampler never looks at the run's seed
    # score and loss
    similarity: str  # a file of petvr.similarity
    similarity_setting: dict[str, Any]
    logit_scale: Literal["train", "frozen"]
    logit_scale_max: float  # exp(logit_scale) is clamped to this
    # evaluation
    evaluations_per_epoch: int
    selection: Literal["best_on_test", "last"]
    select_by: str  # e.g. "t2v/R@1"
    dsl: str  # named variant of dual-softmax reported beside the plain scores; "none" leaves it out
    dsl_temperature: float


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
    setting: dict[str, str | int | float | bool]
    variant: dict[str, str | int | float | bool] = {}  # recipe fields this cell alone sets; part of the id
    seed: int
    train: bool  # False: evaluated as it is, nothing is trained
    options: dict[str, str] = {}  # of the data set, e.g. {"didemo_key": "exact"}
    recipe: Recipe
    sources: dict[str, Source]  # "recipe.lr_new", "setting.tokens", "options.split" -> Source
    versions: dict[str, int]  # method file or part of petvr -> VERSION; a new VERSION makes old results stale

    @property
    def cell(self) -> str:
        """`vop/msrvtt-7k/vit-b-32/vop@tokens=4`"""
        named = method_id(self.method, self.setting | self.variant)
        return "/".join([self.paper, self.dataset, self.backbone, named])

    @property
    def id(self) -> str:
        """`vop/msrvtt-7k/vit-b-32/vop@tokens=4/seed-0`: also the folder under results/runs/"""
        return f"{self.cell}/seed-{self.seed}"

    def digest(self) -> str:
        """Changes exactly when something changes that a result depends on (not with sources or their wording)."""
        data = self.model_dump(mode="json", exclude={"sources"} if self.options else {"sources", "options"})
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def method_id(method: str, setting: dict[str, Any]) -> str:
    """`cross_modal_adapter@ds=16,r=8`: keys sorted, booleans as true/false; without settings the bare name."""
    if not setting:
        return method
    return method + "@" + ",".join(f"{key}={_text(setting[key])}" for key in sorted(setting))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
