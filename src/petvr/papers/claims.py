"""claims.yaml: what a paper says in words about its numbers, each claim with the rows it is about.

kind        what is claimed
difference  row a is better than row b by `size`, or better at all where no size is printed
margin      row a is better than the best of `others` by `size`
best        row a is better than every one of `others`
parameters  a trains `size` times (or less than `below` times) what b trains, or has (`of: total`)
memory, time  the same of a training's peak memory or duration
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, model_validator

from petvr.errors import PetvrError, unknown
from petvr.papers import schema
from petvr.papers.printed import Printed, PrintedKey

SCORES = ("difference", "margin", "best")
COSTS = ("parameters", "memory", "time")
LESS_IS_BETTER = ("MnR", "MdR")
ROUNDED = 0.1  # two numbers with one decimal differ from the printed difference by as much at most


class RowReference(NamedTuple):
    """`table_4/Ours @ epoch 5`: a row of a table, or what it was after an epoch."""

    table: str
    row: str
    epoch: int | None


class Claim(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    quote: str  # a few of the paper's words
    where: str  # section or table
    kind: Literal["difference", "margin", "best", "parameters", "memory", "time"]
    a: str
    b: str = ""
    others: list[str] = []
    dataset: str
    metric: str = ""  # "t2v R@1"
    size: float | None = None  # points, or the ratio of a to b
    below: float | None = None
    of: Literal["trainable", "total"] = "trainable"  # b's parameters that count
    note: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        if self.kind in SCORES and not self.metric:
            raise ValueError(f"claim '{self.id}': a {self.kind} needs `metric`, e.g. t2v R@1")
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
        return -1 if self.metric.endswith(LESS_IS_BETTER) else 1


class ClaimsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    claims: list[Claim]


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
                raise unknown("row", text, near, f"{file}: {claim.id}")
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
