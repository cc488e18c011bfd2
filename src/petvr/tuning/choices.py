"""What tuning chose, where it is read, and how it reaches a run: `locks/tuning/<method>-<dataset>.json`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field

from petvr import atomic
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.spec import Origin, RunSpec, Seed, Source, Value, Whole
from petvr.text_files import read_json, say_once, typed
from petvr.tuning.decisions import all_records, last_decision_file, read_decision
from petvr.tuning.study import Study, axes_of, study_of, with_values

OPEN_TO_OWN = tuple(origin for origin in get_args(Origin) if origin != "config")


@dataclass(frozen=True)
class Choice:
    values: dict[str, Value]  # axis -> value
    edge: tuple[str, ...]  # axes along which the grid ends there: the best may lie beyond
    source: Path
    frozen: bool  # from a lock
    seed: int  # of the trials
    trials: int
    current: bool  # whether today's grid and protocol gave it

    def said(self) -> Source:
        """As the source of the values."""
        notes = ", at the grid's edge" if self.edge else ""
        notes += "" if self.current else ", under another grid or protocol"
        return Source(origin="tuned", where=f"best of {self.trials} trials on validation{notes}; {self.source}")


@dataclass(frozen=True)
class FrozenChoice:
    """What is read of a cell in a lock."""

    values: dict[str, Value]
    edge: list[str]
    study: str
    seed: Seed
    trials: Annotated[Whole, Field(gt=0)]


def choice_of(config: Config, run: RunSpec) -> Choice | None:
    """Of a committed lock, which wins, else of the last decision; None: nothing is chosen yet."""
    study, path = study_of(config, run), lock_file(config, run)
    entry = read_lock(path).get(run.cell)
    if entry is not None and entry["values"].keys() != run.tuned.keys():
        say_once(f"{path}: {run.cell} chose {', '.join(entry['values'])}, today {', '.join(run.tuned)} is tuned")
    elif entry is not None:
        edge, current = tuple(entry["edge"]), entry["study"] == study.digest()
        return Choice(entry["values"], edge, path, True, entry["seed"], entry["trials"], current)
    path = last_decision_file(Layout(config.results), study)
    decision = read_decision(path, study)
    if decision is None:
        return None
    trials = len(study.trials)
    return Choice(decision["chosen"], tuple(decision["edge"]), path, False, study.seed, trials, True)


def frozen(config: Config, run: RunSpec) -> bool:
    """Whether a lock spares the run its tuning."""
    choice = choice_of(config, run)
    return choice is not None and choice.frozen


def tuned_run(config: Config, run: RunSpec) -> RunSpec:
    """The run with what was chosen for it, as far as its recipe leaves values to tuning (origin `tuned`); of a user's
    data that are to be tuned every rate that the configuration does not name.

    Raises PetvrError where a final run would have the seed of the trials.
    """
    own = config.custom_datasets.get(run.dataset)
    axes = axes_of(run, OPEN_TO_OWN if own is not None and own.tune else ("tuned",))
    return _with_choice(config, run, axes) if axes else run


def guesses_tuned(config: Config, run: RunSpec) -> RunSpec | None:
    """With `tune: guesses` the variant of a run whose guessed rates are replaced; None: it has none, or is tuned."""
    if config.tune != "guesses" or run.tuned:
        return None
    try:
        axes = axes_of(run, ("guess",))
    except PetvrError as error:  # more kinds of parameters than axes: the other rows are tuned all the same
        say_once(f"{run.cell}: its guesses are not tuned: {error}")
        return None
    if not axes:
        return None
    return _with_choice(config, run.model_copy(update={"variant": run.variant | {"tune": "guesses"}}), axes)


def _with_choice(config: Config, run: RunSpec, axes: Sequence[str]) -> RunSpec:
    run = run.model_copy(update={"tuned": dict.fromkeys(axes)})
    choice = choice_of(config, run)
    require_other_seeds(config, choice, [*config.seeds, run.seed])
    return run if choice is None else with_values(run, choice.values, choice.said())


def require_other_seeds(config: Config, choice: Choice | None, seeds: Iterable[int]) -> None:
    seed = config.tuning.seed if choice is None else choice.seed
    if seed in seeds:
        where = f"{choice.source}" if choice is not None and choice.frozen else "tuning.seed"
        raise PetvrError(f"seeds: {seed} is the seed of the trials ({where}); allowed: any other for final runs")


def lock_file(config: Config, run: RunSpec) -> Path:
    return config.locks / "tuning" / f"{run.method}-{run.dataset}.json"


def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """Cell -> what was frozen of it. PetvrError for a file that was altered, is none, or another method's."""
    if not os.path.lexists(path):
        return {}
    cells = atomic.unsealed(read_json(path, dict), path, required=True).get("cells")
    if not isinstance(cells, dict):
        raise PetvrError(f"{path}: no lock of `petvr tune freeze`: it has no cells")
    for cell, entry in cells.items():
        typed(FrozenChoice, entry, f"{path}: {cell}")
        _, dataset, _, method = cell.split("/") if cell.count("/") == 3 else ("",) * 4
        if path.stem != f"{method.partition('@')[0]}-{dataset}":
            raise PetvrError(f"{path}: holds {cell}, which belongs into another file; was it renamed?")
    return cells


def freeze(config: Config, study: Study) -> Path | None:
    """Write the cell's choice into its lock, the other cells stay; None where nothing is chosen.

    Nothing in it depends on a clock or a machine's name: equal results give equal bytes.
    """
    layout = Layout(config.results)
    decision = read_decision(last_decision_file(layout, study), study)
    if decision is None:
        return None
    records = list(all_records(layout, study.cell))
    steps: dict[str, int] = {}
    tried: dict[str, dict[int, float | None]] = {}
    for record in records:
        steps[record.id] = max(steps.get(record.id, 0), record.step)
        tried.setdefault(record.id, {})[record.rung] = record.score
    entry = {
        "values": decision["chosen"],
        "edge": decision["edge"],
        "seed": study.seed,
        "trials": len(study.trials),
        "sizes": list(study.sizes),
        "epochs": list(study.epochs),
        "grid": {key: list(values) for key, values in study.axes.items()},
        "study": study.digest(),
        "protocol": study.run.protocol_digest(),
        "steps_decided": sum(steps.get(trial, 0) for trial in study.trials),  # by this grid's trials
        "steps_spent": sum(steps.values()),  # by all that were ever trained, earlier grids' too
        "tried": [
            {"values": study.values(spec), "scores": [score for _, score in sorted(tried.get(id, {}).items())]}
            for id, spec in study.trials.items()
        ],
    }
    path = lock_file(config, study.run)
    cells = read_lock(path) | {study.cell: entry}
    atomic.write_json(path, atomic.sealed({"cells": dict(sorted(cells.items()))}))
    return path
