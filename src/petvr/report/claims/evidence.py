"""The runs that a claim is about, and what they say of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers import claims as stated
from petvr.papers.claims import Claim, RowReference, row_reference
from petvr.papers.plan import Plan
from petvr.papers.table import Cell
from petvr.report.claims.judge import ClaimVerdict, Judgement, judge_ratio, judge_scores
from petvr.result import Result
from petvr.retrieval.outcomes import RankFile, RunOutcomes, require_same_queries
from petvr.status import RunState, status_of

COMPARABLE = ("A", "B")  # classes of data whose numbers stand beside a paper's
RATIO_TOLERANCE = {"parameters": 0.0005, "memory": 0.1, "time": 0.1}  # a printed digit of a percentage; a tenth


class NotMeasured(Exception):
    """Why a row has no outcomes, in a few words."""


@dataclass(frozen=True)
class Judged:
    claim: Claim
    own_tables: Literal["agree", "contradict", "silent"]
    judgement: Judgement
    runs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    printed: float | None = None  # the difference in the paper's own tables


class RowOutcomes(NamedTuple):
    """A row's finished runs, and which of their scores it shows."""

    outcomes: RunOutcomes
    dsl: bool
    epoch: int | None


@dataclass
class ClaimEvidence:
    """Reads each run once, however many claims it bears."""

    plan: Plan
    layout: Layout
    rule: str
    _outcomes: dict[tuple[str, ...], RunOutcomes] = field(default_factory=dict)

    def judge(self, paper: str, claim: Claim, printed: dict) -> Judged:
        own, size = stated.own_tables(claim, printed), stated.printed_difference(claim, printed)
        try:
            a = self._measured(paper, claim.a, claim.dataset)
            rivals, notes = self._rivals(paper, claim)
            judgement = self._judgement(claim, a, rivals)
        except NotMeasured as reason:
            return Judged(claim, own, Judgement(ClaimVerdict.UNKNOWN, str(reason)), printed=size)
        runs = tuple(dict.fromkeys(result.id for row in (a, *rivals) for result in row.outcomes.results))
        return Judged(claim, own, self._comparable(judgement, [a, *rivals]), runs, notes, size)

    def _rivals(self, paper: str, claim: Claim) -> tuple[list[RowOutcomes], tuple[str, ...]]:
        """All rivals; of several, a row that the paper only quotes is left out and named."""
        rivals, left_out = [], []
        for text in claim.rivals:
            reference = row_reference(text)
            if len(claim.rivals) > 1 and self._cell(paper, reference, claim.dataset).unavailable == "reported only":
                left_out.append(f"{reference.row} is only quoted and left out")
            else:
                rivals.append(self._measured(paper, text, claim.dataset))
        if not rivals:
            raise NotMeasured("no other row is run")
        return rivals, tuple(left_out)

    def _cell(self, paper: str, reference: RowReference, dataset: str) -> Cell:
        table = self.plan.tables.get(f"{paper}/{reference.table}")
        if table is None:
            raise NotMeasured(f"{reference.table} is not among the chosen tables")
        row = next((row for row in table.rows if row.key == reference.row), None)
        if row is None or dataset not in row.cells:
            raise NotMeasured(f"{reference.row} on {dataset} is not among the chosen rows")
        return row.cells[dataset]

    def _measured(self, paper: str, text: str, dataset: str) -> RowOutcomes:
        """Raises NotMeasured where a run of the row is missing."""
        reference = row_reference(text)
        cell = self._cell(paper, reference, dataset)
        if not cell.runs:
            raise NotMeasured(f"{reference.row}: {cell.unavailable}")
        if cell.runs not in self._outcomes:
            self._outcomes[cell.runs] = self._finished(reference.row, cell.runs)
        return RowOutcomes(self._outcomes[cell.runs], cell.evaluate == "dsl", reference.epoch)

    def _finished(self, row: str, runs: tuple[str, ...]) -> RunOutcomes:
        """Raises NotMeasured where a run has no result that is whole and belongs to today's recipe."""
        states = {run: status_of(self.layout, self.plan.runs[run]) for run in runs}
        results = [status.result for status in states.values() if status.state is RunState.DONE and status.result]
        if len(results) < len(runs):
            why = sorted({status.state.value for status in states.values()} - {RunState.DONE.value})
            raise NotMeasured(
                f"{row}: {len(runs) - len(results)} of {len(runs)} runs have no result ({', '.join(why)})"
            )
        return RunOutcomes(row, results, [RankFile(self.layout.run(run) / "ranks.npz") for run in runs])

    def _judgement(self, claim: Claim, a: RowOutcomes, rivals: list[RowOutcomes]) -> Judgement:
        if claim.kind in stated.COSTS:
            ratio = _ratio(claim, a.outcomes.results[0], rivals[0].outcomes.results[0])
            return judge_ratio(claim, ratio, RATIO_TOLERANCE[claim.kind])
        direction, metric = claim.metric.split()
        try:
            for rival in rivals:
                require_same_queries(a.outcomes, rival.outcomes)
            first, *others = (
                row.outcomes.of(direction, metric, self.rule, dsl=row.dsl, epoch=row.epoch) for row in (a, *rivals)
            )
        except PetvrError as error:
            raise NotMeasured(str(error)) from error
        return judge_scores(claim, first, others, a.outcomes.videos_of(direction))

    def _comparable(self, judgement: Judgement, measured: list[RowOutcomes]) -> Judgement:
        """A verdict on a paper only from its own data; what was measured is kept for the reader."""
        data = [result.data for row in measured for result in row.outcomes.results]
        why = ""
        if any(part.world != "real" for part in data):
            why = "another world: synthetic videos"
        elif bad := sorted({part.data_class for part in data} - set(COMPARABLE)):
            why = f"data of class {', '.join(bad)}"
        if not why:
            return judgement
        return Judgement(ClaimVerdict.UNKNOWN, why, judgement.difference, judgement.ratio, judgement.p)


def _ratio(claim: Claim, a: Result, b: Result) -> float:
    """Of a to b. Raises NotMeasured where time or memory were not measured on the same GPU."""
    if claim.kind == "parameters":
        return a.cost.trainable / (b.cost.total if claim.of == "total" else b.cost.trainable)
    devices = [result.provenance.hardware.get("gpu") for result in (a, b)]
    if not devices[0] or devices[0] != devices[1]:
        raise NotMeasured(f"{claim.kind} was not measured on one kind of GPU")
    costs = [result.cost for result in (a, b)]
    amounts = [cost.peak_memory_bytes if claim.kind == "memory" else cost.train_seconds for cost in costs]
    if not amounts[0] or not amounts[1]:
        raise NotMeasured(f"{claim.kind} was not measured")
    return amounts[0] / amounts[1]
