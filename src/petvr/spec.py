"""A run, fully resolved: what `petvr train` needs to know and what decides whether a result is still valid.

No torch here: the workflow resolves all runs while it is parsed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# main_paper: of VoP's text, where the one at hand is its supplement; count: only meets a printed size
Origin = Literal["paper", "main_paper", "code", "count", "guess", "config"]
Value = str | int | float | bool


class Source(BaseModel):
    """Where a value comes from; `where` names the section, table, file or the reason of a guess."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    origin: Origin
    where: str = ""


class Recipe(BaseModel):
    """How a paper trains and evaluates. Every field is set by the paper's recipe.yaml, each with its Source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # optimisation
    optimizer: Literal["bert_adam", "adamw"] = Field(description="bert_adam: CLIP4Clip's, without bias correction")
    lr_clip: float = Field(description="learning rate of CLIP's own parameters")
    lr_new: float = Field(description="learning rate of the parameters a method inserts")
    lr_head: float = Field(description="learning rate of the similarity's parameters")
    weight_decay: float = Field(description="decoupled from the gradient, in both optimisers")
    no_decay: Literal["none", "bias", "bias_and_layernorm"] = Field(description="names left out of weight decay")
    betas: tuple[float, float] = Field(description="of Adam")
    eps: float = Field(description="of Adam")
    warmup: float = Field(description="share of all steps in which the rate grows from zero")
    schedule: Literal["warmup_cosine", "warmup_cosine_restarted", "constant"] = Field(
        description="after the warm-up; restarted: the cosine begins at the end of the warm-up"
    )
    clip_global: float | None = Field(description="largest norm of all gradients together; null: not clipped")
    clip_tensor: float | None = Field(description="largest norm of each tensor's gradient; null: not clipped")
    epochs: int = Field(description="passes over the training split")
    batch: int = Field(description="pairs of a video and a caption in a step")
    drop_last: bool = Field(description="leave out the last batch of an epoch where it is smaller")
    precision: Literal["fp32", "bf16", "clip4clip_fp16", "mv_adapter_fp16", "cma_fp16"] = Field(
        description="arithmetic of a step (petvr.training.precision)"
    )
    # data
    frames: int = Field(description="frames of a video")
    words: int = Field(description="tokens of a caption, start and end included")
    sampler: Literal["c4c_1fps_int", "round_1fps", "uniform_mid", "floor_uniform", "linspace_all"] = Field(
        description="which frames of a video are taken (petvr.data.frames.samplers)"
    )
    captions: Literal["all_pairs", "one_per_video"] = Field(description="pairs of an epoch")
    augment: Literal["none", "crop_flip"] = Field(description="of training frames; one draw per video")
    data_order: Literal["by_seed", "fixed"] = Field(
        description="fixed: CLIP4Clip's sampler never looks at the run's seed"
    )
    # score and loss
    similarity: str = Field(description="a file of petvr.similarity")
    similarity_setting: dict[str, Any] = Field(description="its settings; what is not named keeps its default")
    logit_scale: Literal["train", "frozen"] = Field(description="whether CLIP's temperature trains")
    logit_scale_max: float = Field(description="exp(logit_scale) is clamped to this")
    # evaluation
    evaluations_per_epoch: int = Field(description="how often the test split is ranked in an epoch")
    selection: Literal["best_on_test", "last"] = Field(description="which evaluation a table shows")
    select_by: str = Field(description="direction and metric that chooses the best, e.g. t2v/R@1")
    dsl: str = Field(description="variant of dual-softmax reported beside the plain scores; none leaves it out")
    dsl_temperature: float = Field(description="of dual-softmax")

    def model_choices(self, train: bool) -> dict[str, Any]:
        """Its part of what a model is built with; where nothing trains the logit scale does not either."""
        return {
            "similarity": self.similarity,
            "similarity_setting": self.similarity_setting,
            "frames": self.frames,
            "words": self.words,
            "train_logit_scale": train and self.logit_scale == "train",
        }


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
    seed: int
    train: bool  # False: evaluated as it is, nothing is trained
    options: dict[str, str] = {}  # of the data set, e.g. {"didemo_key": "exact"}
    recipe: Recipe
    sources: dict[str, Source]  # "recipe.lr_new", "setting.tokens", "similarity.tau", "options.split" -> Source
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
        described = {"sources", "defaults"} if self.options else {"sources", "defaults", "options"}
        data = self.model_dump(mode="json", exclude=described)
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def method_id(method: str, setting: dict[str, Any]) -> str:
    """`cross_modal_adapter@ds=16,r=8`: keys sorted, booleans as true/false; without settings the bare name."""
    if not setting:
        return method
    return method + "@" + ",".join(f"{key}={_text(setting[key])}" for key in sorted(setting))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
