"""Who goes on to the next rung: a pure function of a rung's records, so that it comes out alike wherever it is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import TrialRecord
from petvr.text_files import read_json
from petvr.tuning.study import Study


def decide(study: Study, rung: int, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Sorted by score, equal ones by their values, so that the smaller rate goes first; what diverged comes last.

    The last rung's decision names what is `chosen`, and along which axes that lies at the `edge` of the grid. Raises
    PetvrError for a record that is not of this rung, and where nothing is left to choose.
    """
    for record in records:
        if record.id not in study.trials or (record.rung, record.epoch) != (rung, study.epochs[rung]):
            raise PetvrError(f"{study.cell}: {record.id} at epoch {record.epoch} is no trial of rung {rung}")
    if len({record.id for record in records}) < len(records):
        raise PetvrError(f"{study.cell}: rung {rung} holds a trial twice; was a record copied over another?")

    def order(record: TrialRecord) -> tuple[Any, ...]:
        diverged = record.score is None
        return (diverged, 0.0 if record.score is None else -record.score, *study.values(record.spec).values())

    ranked = sorted(records, key=order)
    trials = [{"trial": one.id, "values": study.values(one.spec), "score": one.score} for one in ranked]
    decision: dict[str, Any] = {
        "cell": study.cell, "study": study.digest(), "rung": rung, "epoch": study.epochs[rung], "trials": trials,
    }  # fmt: skip
    if rung + 1 < len(study.sizes):
        return decision | {"promoted": [one.id for one in ranked[: study.sizes[rung + 1]]]}
    if ranked[0].score is None:
        raise PetvrError(
            f"{study.cell}: every trial that reached the last rung diverged ({ranked[0].diverged}); lower tuning.rates"
        )
    values = study.values(ranked[0].spec)
    return decision | {"chosen": values, "edge": study.at_edge(values)}


def decision_file(layout: Layout, cell: str, rung: int) -> Path:
    return layout.tuning(cell) / f"decision-{rung}.json"


def last_decision_file(layout: Layout, study: Study) -> Path:
    return decision_file(layout, study.cell, len(study.sizes) - 1)


def write_decision(path: Path, decision: dict[str, Any]) -> None:
    atomic.write_json(path, atomic.sealed(decision))


def read_decision(path: Path, study: Study) -> dict[str, Any] | None:
    """None where there is none, or one of another grid or protocol. PetvrError for one that was altered."""
    if not path.exists():
        return None
    decision: dict[str, Any] = atomic.unsealed(read_json(path, dict), path, required=True)
    return decision if decision.get("study") == study.digest() else None


def awaited_records(layout: Layout, study: Study, rung: int) -> list[Path]:
    """What a rung's decision is made of: the trials of the first, then whoever takes a slot."""
    names = list(study.trials) if rung == 0 else [f"slot-{number}" for number in range(study.sizes[rung])]
    return [layout.tuning(study.cell) / f"rung-{rung}" / f"{name}.json" for name in names]


def trial_of(layout: Layout, study: Study, rung: int, name: str) -> str:
    """The trial that `name` stands for: its id in the first rung, a slot of the decision before in a later one."""
    if rung == 0:
        return name
    path, slot = decision_file(layout, study.cell, rung - 1), name.removeprefix("slot-")
    decision = read_decision(path, study)
    if decision is None:
        raise PetvrError(f"{path}: not there, or of another grid; start the workflow again")
    if not slot.isdecimal() or int(slot) >= len(decision["promoted"]):
        raise PetvrError(f"{study.cell}: no '{name}' in rung {rung}; allowed: slot-0 to slot-{study.sizes[rung] - 1}")
    return str(decision["promoted"][int(slot)])


def trial_folder(layout: Layout, cell: str, trial: str) -> Path:
    """Where a trial's records are kept, whatever the workflow removes."""
    return layout.tuning(cell) / "trials" / trial


def all_records(layout: Layout, cell: str) -> Iterable[TrialRecord]:
    """Of every trial that was ever made of the cell, also of earlier grids, rung by rung.

    Raises PetvrError for a record that lies where another belongs.
    """
    records, method = [], cell.rpartition("/")[2].partition("@")[0]
    for path in sorted(trial_folder(layout, cell, "").glob("*/rung-*.json")):
        record = TrialRecord.read(path)
        if (record.id, f"rung-{record.rung}", record.spec.method) != (path.parent.name, path.stem, method):
            raise PetvrError(f"{path}: rung {record.rung} of trial {record.id} of {record.spec.method}, copied here")
        records.append(record)
    return records
