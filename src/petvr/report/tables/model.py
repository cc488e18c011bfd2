"""What a table is before anything is measured: its rows, its columns, and what the paper printed there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from petvr.errors import PetvrError, unknown

DIRECTIONS = ("t2v", "v2t")
# metric -> (heading, decimals shown; None: as many as the size of the value asks for)
METRICS: dict[str, tuple[str, int | None]] = {
    "R@1": ("R@1", 1),
    "R@5": ("R@5", 1),
    "R@10": ("R@10", 1),
    "RSum": ("RSum", 1),
    "MdR": ("MdR", 1),
    "MnR": ("MnR", 1),
    "params_M": ("Params (M)", None),
    "params_percent": ("Params (%)", None),
    "memory_G": ("Memory (GiB)", 1),
    "gflops": ("GFLOPs", 1),
}
NOT_RUN = "not run"  # how the status of a cell begins whose data set cannot be had
DEFAULT_BEST = {"R@1": "max", "R@5": "max", "R@10": "max", "RSum": "max", "MdR": "min", "MnR": "min"}


@dataclass(frozen=True)
class Column:
    """One column: `params_M`, `t2v:R@1`, or with the data set in front (`didemo:t2v:R@1`)."""

    metric: str
    direction: str | None = None  # None: parameters, memory, compute
    dataset: str | None = None  # None: the row's own data set
    best: Literal["max", "min"] | None = None

    @property
    def key(self) -> str:
        return ":".join(part for part in (self.dataset, self.direction, self.metric) if part)

    @property
    def heading(self) -> str:
        return METRICS[self.metric][0]

    @classmethod
    def parse(cls, key: str, *, direction: str | None = None, best: dict[str, str] | None = None) -> Column:
        """From `[dataset:][t2v|v2t:]metric`; `direction` is taken where a retrieval metric names none.

        Raises PetvrError for a metric or a direction that does not exist.
        """
        best = DEFAULT_BEST if best is None else best
        *front, metric = key.split(":")
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS, f"column '{key}'")
        named = next((part for part in front if part in DIRECTIONS), None)
        dataset = next((part for part in front if part not in DIRECTIONS), None)
        ranked = metric in DEFAULT_BEST
        if ranked and (named or direction) not in DIRECTIONS:
            raise PetvrError(f"column '{key}': names no direction; allowed: {', '.join(DIRECTIONS)}")
        return cls(metric, (named or direction) if ranked else None, dataset, best.get(metric))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Printed:
    """A number as the paper prints it; `text` keeps its digits, `value` is None for a dash or a damaged cell."""

    value: float | None
    std: float | None = None
    text: str = ""
    remark: str = ""

    @property
    def decimals(self) -> int:
        return len(self.text.partition("±")[0].partition(".")[2]) if self.value is not None else 0


@dataclass(frozen=True)
class Planned:
    """A run that the table asks for; a result made under another `digest` is stale."""

    id: str
    digest: str | None = None


@dataclass(frozen=True)
class Want:
    """What a row asks for on one data set: runs by seed, or a `status` that says why nothing is run."""

    runs: dict[int, Planned] = field(default_factory=dict)
    status: str = ""  # "" is run here; else "reported only", "not implemented: ...", "not run: ...", ...
    note: str = ""  # e.g. the evidence that the printed values were copied
    scores: Literal["plain", "dsl"] = "plain"  # dsl: the row shows the scores with dual-softmax


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    wants: dict[str, Want]  # by data set, in the order of the columns
    note: str = ""
    group: str = ""  # heading above the row
    block: str = ""  # best and second best are marked within a block, per data set and column
    backbone: str = ""

    @property
    def dataset(self) -> str:
        """Its only data set, or the first of several."""
        return next(iter(self.wants), "")


@dataclass(frozen=True)
class TableModel:
    """A table of a paper with everything it asks for. `printed` is looked up by (index of the row, column key)."""

    paper: str
    table: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    printed: dict[tuple[int, str], Printed] = field(default_factory=dict)
    percent_of: dict[str, float] = field(default_factory=dict)  # backbone -> 100 % in the paper's way of counting
    guesses: tuple[tuple[str, str, str], ...] = ()  # (key, value, reason) beyond what the results themselves name
    dataset_titles: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.paper}/{self.table}"

    def dataset_title(self, name: str) -> str:
        return self.dataset_titles.get(name, name)
