"""claims.yaml: what a paper says in words about its numbers, each claim with the rows it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from petvr.errors import PetvrError, unknown
from petvr.papers import schema
from petvr.papers.printed import Printed, PrintedKey
from petvr.papers.table import DIRECTIONS, METRICS

SCORES = ("difference", "margin", "best")
COSTS = ("parameters", "memory", "time")
ROUNDED = 0.1  # two numbers with one decimal differ from the printed difference by as much at most


class RowReference(NamedTuple):
    """`table_4/Ours @ epoch 5`: a row of a table, or what it was after an epoch."""

    table: str
    row: str
    epoch: int | None


class Claim(BaseModel):
    """What the paper says of its numbers, with the rows it is about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(description="unique in the paper")
    quote: str = Field(description="a few of the paper's words")
    where: str = Field(description="section or table")
    kind: Literal["difference", "margin", "best", "parameters", "memory", "time"] = Field(
        description="difference: a beats b by `size`, or at all; margin: a beats the best of `others` by `size`; best: "
        "a beats each of `others`; parameters, memory, time: a has `size` times, or less than `below` times, what b has"
    )
    a: str = Field(description="the row it is about: `table_4/Ours`, or `table_4/Ours @ epoch 5`")
    b: str = Field(default="", description="the row it is compared with")
    others: list[str] = Field(default=[], description="the rows it is compared with")
    dataset: str = Field(description="of both rows")
    metric: str = Field(default="", description="of a difference, a margin or a best: `t2v R@1`")
    size: float | None = Field(default=None, description="points, or the ratio of a to b")
    below: float | None = Field(default=None, description="what the ratio stays below")
    of: Literal["trainable", "total"] = Field(default="trainable", description="b's parameters that count")
    note: str = Field(default="", description="what a reader must know of it")

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        if self.kind in SCORES and not self.metric:
            raise ValueError(f"claim '{self.id}': a {self.kind} needs `metric`, e.g. t2v R@1")
        direction, _, metric = self.metric.partition(" ")
        if self.metric and (direction not in DIRECTIONS or metric not in METRICS):
            allowed = f"{' or '.join(DIRECTIONS)}, a blank, one of {', '.join(METRICS)}"
            raise ValueError(f"claim '{self.id}': metric '{self.metric}' given, allowed: {allowed}")
        if self.kind in ("margin", "best") and not self.others:
            raise ValueError(f"claim '{self.id}': kind {self.kind} needs `others`")
        if self.kind not in ("margin", "best") and not self.b:
            raise ValueError(f"claim '{self.id}': kind {self.kind} needs `b`")
        if self.kind in COSTS and (self.size is None) == (self.below is None):
            raise ValueError(f"claim '{self.id}': kind {self.kind} needs one of `size` and `below`")
        return self

    @property
    def rivals(self) -> list[str]:
        return self.others or [self.b]

    @property
    def sign(self) -> int:
        """-1 where less is better."""
        return -1 if METRICS.get(self.metric.rpartition(" ")[2]) == "min" else 1


class ClaimsFile(BaseModel):
    """claims.yaml: what the paper says in words about its numbers."""

    model_config = ConfigDict(extra="forbid")

    claims: list[Claim] = Field(description="in the order of the paper")


def row_reference(text: str) -> RowReference:
    row, _, epoch = text.partition(" @ epoch ")
    table, _, name = row.partition("/")
    return RowReference(table, name, int(epoch) if epoch else None)


def read_claims(file: Path, printed: dict[str, dict[PrintedKey, Printed]]) -> list[Claim]:
    """Raises PetvrError with the file for ids that stand twice and rows that the paper does not print."""
    claims = schema.read_yaml(file, ClaimsFile).claims
    rows = {(table, key[0], key[1]) for table, cells in printed.items() for key in cells}
    for number, claim in enumerate(claims):
        if claim.id in {other.id for other in claims[:number]}:
            raise PetvrError(f"{file}: claim '{claim.id}' stands there twice")
        for text in (claim.a, *claim.rivals):
            reference = row_reference(text)
            if (reference.table, reference.row, claim.dataset) not in rows:
                near = [f"{table}/{row}" for table, row, dataset in rows if dataset == claim.dataset]
                what = f"row with a printed number on {claim.dataset}"
                raise unknown(what, text, near, f"{file}: {claim.id}")
    return claims


def printed_difference(claim: Claim, printed: dict[str, dict[PrintedKey, Printed]]) -> float | None:
    """a minus the best rival in the paper's own tables, larger is better; None where a number is not printed."""
    if claim.kind not in SCORES or row_reference(claim.a).epoch is not None:
        return None
    direction, metric = claim.metric.split()
    values = []
    for text in (claim.a, *claim.rivals):
        table, row, _ = row_reference(text)
        number = printed[table].get((row, claim.dataset, direction, metric))
        if number is None or number.value is None:
            return None
        values.append(claim.sign * number.value)
    return round(values[0] - max(values[1:]), 6)


def own_tables(claim: Claim, printed: dict[str, dict[PrintedKey, Printed]]) -> Literal["agree", "contradict", "silent"]:
    """Whether the paper's tables bear the claim out."""
    difference = printed_difference(claim, printed)
    if difference is None:
        return "silent"
    if claim.size is None:
        return "agree" if difference > 0 else "contradict"
    return "agree" if abs(difference - claim.size) < ROUNDED / 2 + 1e-9 else "contradict"
