"""What the trials of a cell say beside the choice: all of them as a table, how far rungs agree, what a budget buys."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.config import Config
from petvr.layout import Layout
from petvr.result import TrialRecord
from petvr.tuning.decisions import all_records, last_decision_file, read_decision
from petvr.tuning.study import Study, value_of


def trial_rows(layout: Layout, study: Study) -> list[dict[str, Any]]:
    """One row for each trial and rung that was ever trained, sorted; axes of earlier grids are columns too."""
    decision = read_decision(last_decision_file(layout, study), study) or {}
    records = list(all_records(layout, study.cell))
    last = max((record.rung for record in records), default=0)
    rows = []
    for record in sorted(records, key=lambda one: (one.rung, one.id)):
        before = [one for one in records if one.id == record.id and one.rung < record.rung]
        rows.append(
            {
                "cell": study.cell, "trial": record.id,
                **{key.partition(".")[2]: value_of(record.spec, key) for key in study.axes},
                "rung": record.rung, "epoch": record.epoch, "score": record.score,
                **{f"{way}_{metric}": number for way, metrics in (record.validation or {}).items()
                   for metric, number in metrics.items()},
                "train_loss": record.train_loss, "diverged": record.diverged,
                "step": record.step, "steps": record.step - record.first_step,
                "train_seconds": record.train_seconds - max((one.train_seconds for one in before), default=0.0),
                "eval_seconds": record.eval_seconds, "resumed": record.resumed,
                "of_this_grid": record.id in study.trials,
                "chosen": record.rung == last and study.values(record.spec) == decision.get("chosen"),
            }
        )  # fmt: skip
    return rows


def write_trials(layout: Layout, study: Study) -> Path:
    """trials.parquet in the cell's folder."""
    import pyarrow
    from pyarrow import parquet

    path = layout.tuning(study.cell) / "trials.parquet"
    rows = trial_rows(layout, study)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic.replacing(path) as temporary:
        parquet.write_table(pyarrow.table({key: [row.get(key) for row in rows] for key in columns}), temporary)
    return path


def expected_best(scores: Sequence[float]) -> list[float]:
    """V_n, n = 1 to N: the mean best of n members drawn from the grid without repetition [Tang et al. 2020].

    V_n = sum over i >= n of v_(i) C(i - 1, n - 1) / C(N, n), v ascending: exact for subsets of a grid, where the form
    of Dodge et al. 2019, which draws with repetition, is biased low.
    """
    ascending, count = sorted(scores), len(scores)
    return [
        sum(value * math.comb(place - 1, n - 1) for place, value in enumerate(ascending, 1) if place >= n)
        / math.comb(count, n)
        for n in range(1, count + 1)
    ]


def agreement(records: Sequence[TrialRecord], rung: int) -> float | None:
    """Kendall's tau-b between a rung and the next over the trials that reached both; None for fewer than two, or where
    all are equal. Of promoted ones alone: those that an early rung dropped are not in it.
    """
    from scipy.stats import kendalltau

    early, late = ({one.id: one.score for one in records if one.rung == k and one.score is not None}
                  for k in (rung, rung + 1))  # fmt: skip
    both = sorted(early.keys() & late.keys())
    if len(both) < 2:
        return None
    tau = kendalltau([early[id] for id in both], [late[id] for id in both]).statistic
    return None if math.isnan(tau) else float(tau)


def report_lines(layout: Layout, study: Study) -> list[str]:
    """The cell's rungs in words: best so far, agreement between rungs, V_n of the first rung."""
    records = [record for record in all_records(layout, study.cell) if record.id in study.trials]
    lines = []
    for rung, (size, epoch) in enumerate(zip(study.sizes, study.epochs, strict=True)):
        there = [one for one in records if one.rung == rung]
        scored = sorted((one for one in there if one.score is not None), key=lambda one: -(one.score or 0))
        best = f"best RSum {scored[0].score:.1f} at {value_words(study, scored[0])}" if scored else "no score yet"
        tau = agreement(records, rung) if rung + 1 < len(study.sizes) else None
        said = "" if tau is None else f", Kendall's tau to the next rung {tau:.2f}"
        lines.append(f"  rung {rung}, epoch {epoch}: {min(len(there), size)} of {size} trials, {best}{said}")
    first = [one.score for one in records if one.rung == 0 and one.score is not None]
    if first:
        lines.append("  mean best of n trials at the first rung: " + " ".join(f"{v:.1f}" for v in expected_best(first)))
    return lines


def best_of_own(layout: Layout, config: Config, known: Sequence[Study]) -> dict[str, str]:
    """Data set of a user's own -> run of the tuned method that is best on validation, once all are decided: chosen so,
    its numbers on the test split stay honest. The run has the first seed of the configuration.
    """
    runs = {}
    for name in config.custom_datasets:
        there = [study for study in known if study.run.dataset == name]
        decided = [read_decision(last_decision_file(layout, study), study) for study in there]
        if there and all(decided):
            scores = {study.cell: one["trials"][0]["score"] for study, one in zip(there, decided, strict=True) if one}
            runs[name] = f"{max(scores, key=lambda cell: scores[cell])}/seed-{config.seeds[0]}"
    return runs


def best_lines(layout: Layout, config: Config, known: Sequence[Study]) -> list[str]:
    """What to do with it."""
    lines = []
    for name, run in best_of_own(layout, config, known).items():
        lines.append(f"{name}: best on validation of what was tuned: {run.rpartition('/')[0]}; search with it:")
        if not layout.result(run).exists():
            lines.append(f"  snakemake {shlex.quote(str(layout.result(run)))}")
        lines.append(f"  {search_command(run)}")
    return lines


def search_command(run: str) -> str:
    return f'petvr search --run {shlex.quote(run)} "a sentence"'


def value_words(study: Study, record: TrialRecord) -> str:
    return ", ".join(f"{key.partition('.')[2]} {value}" for key, value in study.values(record.spec).items())


def exported(layout: Layout, studies: Sequence[Study]) -> list[dict[str, Any]]:
    """All finished trials for a tuning dashboard: parameters, their choices, a value for each epoch, the last state."""
    trials = []
    for study in studies:
        by_id: dict[str, list[TrialRecord]] = {}
        for record in all_records(layout, study.cell):
            by_id.setdefault(record.id, []).append(record)
        for id, records in by_id.items():
            last = max(records, key=lambda one: one.rung)
            full = last.epoch == study.epochs[-1]
            trials.append(
                {
                    "study": study.cell, "trial": id,
                    "params": {key.partition(".")[2]: value_of(last.spec, key) for key in study.axes},
                    "choices": {key.partition(".")[2]: list(values) for key, values in study.axes.items()},
                    "intermediate_values": {str(one.epoch): one.score for one in records if one.score is not None},
                    "value": last.score,
                    "state": "FAIL" if last.score is None else "COMPLETE" if full else "PRUNED",
                    "steps": last.step, "seconds": last.train_seconds + sum(one.eval_seconds for one in records),
                }
            )  # fmt: skip
    return trials
