"""The trials of one cell: which values, how many, and at which epochs they are judged. No torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from petvr import methods
from petvr.config import Config, Tuning
from petvr.errors import PetvrError
from petvr.registry import RATES
from petvr.spec import RunSpec, Source, Value

SECOND_RATES = 3  # values of a second rate; they share the trials with the first one's


@dataclass(frozen=True)
class Study:
    """run: of any seed; its `tuned` names the axes, and whatever it chose is no part of a trial."""

    run: RunSpec
    axes: dict[str, tuple[Value, ...]]  # "recipe.lr_new", "setting.rank" -> the values tried, ascending
    epochs: tuple[int, ...]  # at whose end the rungs are judged
    sizes: tuple[int, ...]  # trials of each rung
    seed: int

    @property
    def cell(self) -> str:
        return self.run.cell

    @property
    def epochs_of_all(self) -> int:
        """That all trials together train: a rung goes on from the one before."""
        before = (0, *self.epochs)
        return sum(size * (end - start) for size, start, end in zip(self.sizes, before, self.epochs, strict=False))

    @cached_property
    def trials(self) -> dict[str, RunSpec]:
        """Trial id -> spec, in the order of the values. The id is the spec's digest: of method, data set, protocol,
        parameters and tuning seed, and of no place in a list.
        """
        specs = (self._trial(dict(zip(self.axes, point, strict=True))) for point in product(*self.axes.values()))
        return {spec.digest(): spec for spec in specs}

    def values(self, trial: RunSpec) -> dict[str, Value]:
        return {key: value_of(trial, key) for key in self.axes}

    def digest(self) -> str:
        """Changes with the grid, the protocol, and how trials are judged."""
        facts = [list(self.trials), self.epochs, self.sizes]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def at_edge(self, values: dict[str, Value]) -> list[str]:
        """The axes along which these lie at the first or the last value tried."""
        return [key for key, tried in self.axes.items() if values[key] in (tried[0], tried[-1])]

    def _trial(self, values: dict[str, Value]) -> RunSpec:
        trial = with_values(self.run, values, Source(origin="tuned", where="a trial"))
        named = {key.partition(".")[2]: value for key, value in values.items() if key.startswith("recipe.")}
        recipe = trial.recipe.model_copy(update={"selection": "best_on_val", "dsl": "none"})
        return trial.model_copy(
            update={"seed": self.seed, "recipe": recipe, "variant": self.run.variant | named, "tuned": {}}
        )


def value_of(run: RunSpec, key: str) -> Value:
    part, _, name = key.partition(".")
    value: Value = getattr(run.recipe, name) if part == "recipe" else run.setting[name]
    return value


def with_values(run: RunSpec, values: dict[str, Value], source: Source) -> RunSpec:
    """The run with these values of its axes in force."""
    recipe = {key.partition(".")[2]: value for key, value in values.items() if key.startswith("recipe.")}
    setting = {key.partition(".")[2]: value for key, value in values.items() if key.startswith("setting.")}
    return run.model_copy(
        update={
            "recipe": run.recipe.model_copy(update=recipe),
            "setting": run.setting | setting,
            "defaults": {key: value for key, value in run.defaults.items() if key not in values},
            "tuned": dict(values),
            "sources": run.sources | dict.fromkeys(values, source),
        }
    )


def axes_of(run: RunSpec, origins: Sequence[str] = ("tuned",)) -> list[str]:
    """The axes along which a run is tuned: of what its method's TUNE names, the rates whose source is one of `origins`,
    and a setting that the run does not name itself.
    """
    if not run.train or not any(run.sources[f"recipe.{key}"].origin in origins for key in RATES):
        return []
    keys = methods.tuned_axes(run.method)
    rates = [f"recipe.{key}" for key in keys if key in RATES and run.sources[f"recipe.{key}"].origin in origins]
    named = [key for key in keys if key not in RATES and key.partition(".")[2] not in run.setting]
    return [*rates, *named] if rates else []


def study_of(config: Config, run: RunSpec) -> Study:
    """The study of a run that has axes. PetvrError where trials or rungs cannot be laid out."""
    tuning, keys, declared = config.tuning, list(run.tuned), methods.tuned_axes(run.method)
    second = declared.get(keys[1], ()) or SECOND_RATES if len(keys) > 1 else ()
    width = second if isinstance(second, int) else len(second) or 1
    if tuning.trials % width or tuning.trials // width < 2:
        raise PetvrError(
            f"tuning.trials: {tuning.trials} given, {run.cell} has {' and '.join(keys)}, allowed: a multiple of "
            f"{width}, {2 * width} or more"
        )
    axes: dict[str, tuple[Value, ...]] = {keys[0]: _rates(tuning, keys[0], tuning.trials // width)}
    if len(keys) > 1:
        axes[keys[1]] = tuple(sorted(second)) if isinstance(second, tuple) else _rates(tuning, keys[1], width)
    epochs = tuple(math.ceil(share * run.recipe.epochs - 1e-9) for share in tuning.rungs)
    if len(set(epochs)) < len(epochs):
        raise PetvrError(
            f"{run.cell}: {len(epochs)} rungs in {run.recipe.epochs} epoch(s) fall together; allowed: more epochs, or "
            "fewer tuning.rungs"
        )
    return Study(run, axes, epochs, tuning.sizes, tuning.seed)


def _rates(tuning: Tuning, key: str, count: int) -> tuple[float, ...]:
    """In equal steps of the logarithm, both ends included, to two digits."""
    low, high = getattr(tuning.rates, key.partition(".")[2])
    steps = (math.log(low) + (math.log(high) - math.log(low)) * number / (count - 1) for number in range(count))
    rates = tuple(float(f"{math.exp(step):.1e}") for step in steps)
    if len(set(rates)) < count:
        raise PetvrError(f"tuning.rates.{key.partition('.')[2]}: {low:g} to {high:g} has no room for {count} rates")
    return rates


def studies(config: Config, runs: Sequence[RunSpec]) -> dict[str, Study]:
    """Cell -> study, of every cell among the runs that is tuned."""
    return {run.cell: study_of(config, run) for run in {run.cell: run for run in runs if run.tuned}.values()}
