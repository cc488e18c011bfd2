"""`result.json`: the only contract between training and tables. Typed, versioned, written last and atomically."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from petvr import atomic
from petvr.array_files import read_array
from petvr.errors import PetvrError
from petvr.spec import RunSpec
from petvr.text_files import read_json, typed

SCHEMA_VERSION = 2  # 1: R@K by the mean place of tied candidates, nothing under `released`, no validation split
LOSS_POINTS = 200  # of a run's losses in figures and in MLflow, whose page draws some 300
Metrics = dict[str, float]  # "R@1", "R@5", "R@10", "RSum" in percent; "MdR", "MnR" as ranks from 1
Directions = dict[Literal["t2v", "v2t"], Metrics]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def metric_range(name: str) -> tuple[float, float]:
    """Between which a retrieval metric can lie: R@K and RSum in per cent, ranks from 1."""
    return (0, 300) if name == "RSum" else (0, 100) if "@" in name else (1, math.inf)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Evaluation(_Part):
    """The test split ranked once, tied candidates by their expected value. Epoch 0 is before any training."""

    epoch: Count
    step: Count
    train_loss: float | None  # mean over the steps since the last evaluation
    plain: Directions
    dsl: Directions | None = None  # with dual-softmax, where the recipe names a variant
    validation: Directions | None = None  # plain scores of the validation split, where the recipe selects by it
    released: dict[Literal["plain", "dsl"], Directions] = {}  # the same with ties as CLIP4Clip's code counts them

    @field_validator("plain", "dsl", "validation", "released", mode="after")
    @classmethod
    def _possible(cls, value: Any) -> Any:
        """Values no ranking gives are refused; NaN is left to the tables, which say where it stands."""
        nested = [value] if value else []
        while nested:
            for name, one in nested.pop().items():
                if isinstance(one, dict):
                    nested.append(one)
                elif math.isfinite(one):
                    low, high = metric_range(name)
                    if not low <= one <= high + 1e-6 or one > 1e12:
                        raise ValueError(f"{name} is {one:g}, possible: {low} to {high:g}")
        return value


def best_evaluation(evaluations: Sequence[Evaluation], select_by: str, rule: str = "best_on_test") -> int:
    """Index of the best evaluation by plain scores, never dual-softmax; of equal ones the later wins.

    rule: "best_on_test", or "best_on_val" where validation was recorded.

    Epoch 0, before any training, is never chosen where something was trained: a method that only harms must not show
    CLIP's own number (whether MV-Adapter, which evaluates it too, may choose it is not known).
    """
    way, metric = select_by.split("/")

    def value(index: int) -> float:
        """Larger is better: mean and median ranks change sign."""
        evaluation = evaluations[index]
        scores = evaluation.plain if rule == "best_on_test" else evaluation.validation
        number = (scores or {})["t2v" if way == "t2v" else "v2t"][metric]
        return -number if metric in ("MdR", "MnR") else number

    candidates = [index for index, evaluation in enumerate(evaluations) if evaluation.step > 0] or [0]
    return max(candidates, key=lambda index: (value(index), index))


def selected_evaluations(evaluations: Sequence[Evaluation], select_by: str) -> dict[str, int]:
    """Selection rule -> index: every rule is computed for every run, best_on_val where validation was recorded."""
    rules = ["best_on_test"]
    if all(evaluation.validation for evaluation in evaluations):
        rules.append("best_on_val")
    return {rule: best_evaluation(evaluations, select_by, rule) for rule in rules} | {"last": len(evaluations) - 1}


def suspicions(spec: RunSpec, evaluations: Sequence[Evaluation]) -> list[str]:
    """Why a run that trained may have measured nothing: each as what follows its name."""
    if not spec.train:
        return []
    losses = [one.train_loss for one in evaluations if one.train_loss is not None]
    said = []
    if all(one.step == 0 for one in evaluations):
        said.append("was evaluated before any training alone")
    if any(loss == 0 for loss in losses):
        said.append("has a loss of 0: no batch told a pair from another")
    if not all(math.isfinite(loss) for loss in losses):
        said.append("has a loss that is no number")
    if len(evaluations) > 1 and all(one.plain == evaluations[0].plain for one in evaluations):
        said.append("ranks alike at every evaluation: its training changed nothing")
    return said


def mean_losses(losses: Any, most: int = LOSS_POINTS) -> list[tuple[int, float]]:
    """Of an array with the loss of every step `most` means at most, each at its last step; NaN is left out."""
    wide = max(-(-len(losses) // most), 1)
    points = []
    for first in range(0, len(losses), wide):
        part = losses[first : first + wide]
        known = part[part == part].tolist()
        if known:
            points.append((first + len(part), math.fsum(known) / len(known)))
    return points


class Cost(_Part):
    trainable: Count  # numbers, not bytes
    total: Count
    trainable_by_part: dict[str, Count]  # "clip", "new", "head"
    flops_per_pair: Amount | None = None  # multiply-add = 2; forward and backward of one (video, caption)
    forward_flops: Amount | None = None  # of these the forward pass
    peak_memory_bytes: Count | None = None
    train_seconds: Amount
    eval_seconds: Amount
    pairs_per_second: Amount | None = None
    video_ms: Amount | None = None  # milliseconds of encoding one video and one text (petvr.training.evaluate)
    text_ms: Amount | None = None
    resumed: Count = 0  # how often the run was continued from a checkpoint
    compile_seconds: Amount | None = None  # of train_seconds; None: nothing was compiled
    prefix_blocks: Count | None = None  # of the vision tower, read from a cache; one more than it has: all of it
    texts_once: bool = False  # the text tower is frozen: every caption was encoded once, before the first step


class Data(_Part):
    """What the numbers stand on."""

    world: Literal["real", "synthetic"]
    digest: str  # of the split's ids and captions
    frames_digest: str  # of the frame store
    train_videos: Count
    train_videos_official: Count
    test_videos: Count
    test_videos_official: Count
    test_captions: Count
    validation: str = ""  # what the validation split is, in words; "" where the recipe does not select by it
    validation_videos: Count = 0
    missing: list[str] = []  # ids left out, those of the test split first
    why: dict[str, dict[str, int]] = {}  # split -> VideoState of what is left out -> videos
    manifest: str = ""  # identity of the data set: petvr.data.manifest.identity; "" where it was never checked
    frozen: bool = False  # a lock of that identity was there
    data_class: Literal["A", "B", "C", "D"] = "A"


# class -> largest share of (test, training) videos that may be missing
CLASS_LIMITS: dict[str, tuple[float, float]] = {"A": (0.0, 0.005), "B": (0.01, 0.02), "C": (0.05, 0.05)}


def data_class(test: tuple[int, int], train: tuple[int, int]) -> Literal["A", "B", "C", "D"]:
    """How comparable a number is to the paper's, from (present, official) videos; official 0 asks for nothing.

    A exact, B comparable (n/N in the caption), C marked and without a difference to the paper, D a subset that is
    never shown beside the paper's numbers. Dropping test videos removes distractors, so recall rises.
    """
    lost = [max(0.0, 1.0 - present / official) if official else 0.0 for present, official in (test, train)]
    for name, limits in CLASS_LIMITS.items():
        if all(part <= most + 1e-12 for part, most in zip(lost, limits, strict=True)):
            return name  # type: ignore[return-value]
    return "D"


class StoredFile(_Part):
    """A file that was written with the result and lies beside it."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> StoredFile:
        return cls(bytes=path.stat().st_size, sha256=atomic.file_sha256(path))


class Rehearsed(_Part):
    """What `petvr rehearse` had said when the run began."""

    digest: str
    go: bool
    refusals: list[str]  # what said no


class Provenance(_Part):
    petvr: str
    git_revision: str | None
    git_dirty: bool | None
    packages: dict[str, str]
    hardware: dict[str, Any]
    started: str  # ISO 8601, UTC
    finished: str
    spec_digest: str
    weights_digest: str
    rehearsal: Rehearsed | None = None  # None: nothing was rehearsed


class TrialRecord(_Part):
    """A trial of petvr.tuning at the end of a rung, judged on validation; it knows nothing of the test split."""

    id: str  # RunSpec.digest(): of method, data set, protocol, parameters and tuning seed
    spec: RunSpec
    rung: int  # from 0
    epoch: int
    first_step: int  # where the rung before ended
    step: int  # taken since the beginning; fewer than planned where the trial diverged before this rung
    train_loss: float | None  # mean over the rung's steps
    validation: Directions | None  # None where it diverged
    score: float | None  # mean RSum of both directions
    diverged: str = ""  # how one knows
    identity: dict[str, str]  # of what it stands on: spec, weights, frames, captions
    train_seconds: float  # since the beginning, on `hardware`
    eval_seconds: float  # of this rung's validation
    resumed: int = 0
    hardware: dict[str, Any]

    def write(self, path: Path) -> None:
        atomic.write_json(path, atomic.sealed(self.model_dump(mode="json")))

    @classmethod
    def read(cls, path: Path) -> TrialRecord:
        """Raises PetvrError with the file and the first wrong key."""
        return typed(cls, atomic.unsealed(read_json(path, dict), path, required=True), path)


class Result(_Part):
    schema_version: int = SCHEMA_VERSION
    id: str
    spec: RunSpec
    evaluations: list[Evaluation]
    selected: dict[str, int]  # selection rule -> index into `evaluations`; every rule that the run can tell
    cost: Cost
    data: Data
    provenance: Provenance
    suspicious: list[str] = []  # see `suspicions`
    files: dict[str, StoredFile] = {}  # ranks.npz, adapter.safetensors, loss.npy; none in results of an earlier petvr

    @model_validator(mode="after")
    def _of_one_run(self) -> Result:
        if self.id != self.spec.id:
            raise ValueError(f"id {self.id:.80} belongs to another spec, of {self.spec.id:.80}")
        measured = [one.plain[way].keys() if way in one.plain else None for one in self.evaluations if one.plain
                    for way in ("t2v", "v2t")]  # fmt: skip
        if any(names is None or names != measured[0] for names in measured):
            raise ValueError("evaluations do not all have the same metrics in both directions")
        for rule, index in self.selected.items():
            if not 0 <= index < len(self.evaluations):
                raise ValueError(f"selected.{rule} is {index}, there are {len(self.evaluations)} evaluations")
        return self

    def check_file(self, folder: Path, name: str, content: bool = True) -> None:
        """Raises PetvrError where the file is not the one that was written with this result; its size always counts."""
        known, path = self.files.get(name), folder / name
        if known is None:
            return
        if not path.exists():
            raise PetvrError(f"{path}: no such file, it belongs to the result beside it; train it again")
        if path.stat().st_size != known.bytes:
            raise PetvrError(f"{path}: {path.stat().st_size} bytes, {known.bytes} were written with its result")
        if content and atomic.file_sha256(path) != known.sha256:
            raise PetvrError(f"{path}: altered or damaged since its result was written; train the run again")

    def at(self, rule: str) -> Evaluation:
        return self.evaluations[self.selected[rule]]

    def losses(self, folder: Path) -> list[tuple[int, float]]:
        """(step, mean loss since the point before) from the loss.npy of the run's folder; see `mean_losses`.

        Without that file, as of an earlier petvr, a point per evaluation. Raises PetvrError for one that is damaged.
        """
        if not (folder / "loss.npy").exists():
            return [(one.step, one.train_loss) for one in self.evaluations if one.train_loss is not None]
        self.check_file(folder, "loss.npy")
        losses = read_array(folder / "loss.npy")
        if losses.dtype.kind != "f" or losses.ndim > 2:
            raise PetvrError(f"{folder / 'loss.npy'}: shape {losses.shape} of {losses.dtype}; expected a loss a step")
        return mean_losses(losses.reshape(-1))

    def write(self, path: str | Path) -> None:
        atomic.write_json(path, atomic.sealed(self.model_dump(mode="json")))

    @classmethod
    def read(cls, path: str | Path) -> Result:
        """Raises PetvrError with the file and the first wrong key."""
        if not Path(path).exists():
            raise PetvrError(f"{path}: no such result")
        data = read_json(Path(path), dict, nan=True)
        version = data.get("schema_version", 1)
        if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
            raise PetvrError(f"{path}: schema version {version!r:.40}; this petvr reads 1 to {SCHEMA_VERSION}")
        return typed(cls, atomic.unsealed(data, path), path)
