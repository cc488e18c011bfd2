"""What the workflow's rules take in and say, from the configuration, the plan and the files that exist.

The rules only declare; what they ask is answered here, where it can be tested. Nothing here writes or keeps anything.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from petvr.config import Config
from petvr.costs import steps
from petvr.data import availability, catalogue
from petvr.data.frames import shards
from petvr.data.manifest import lock
from petvr.data.manifest.available import Verdict
from petvr.errors import PetvrError, unknown
from petvr.layout import Layout
from petvr.papers.plan import Plan
from petvr.papers.shown import figure_runs, figures
from petvr.papers.table import Table
from petvr.run_ids import spec_of
from petvr.spec import RunSpec
from petvr.tuning import choices, decisions
from petvr.tuning.study import Study, study_of

FIGURES_VERSION = 2  # raised when a figure would look different: the workflow then draws all anew
FEW_JUDGES = 50  # videos: one answer is two points


def check_targets(config: Config, plan: Plan, words: Iterable[str]) -> None:
    """Of a command line. PetvrError for the result of a run that does not exist, or whose id is spelled another way,
    and for the tuning of what is not tuned, for which Snakemake would do nothing and call it done.
    """
    tuned = {f"tune_{run.dataset}" for run in plan.runs.values() if run.tuned}
    of_tuning = {"tune_all", *(f"tune_{name}" for name in catalogue.dataset_names(config))}
    for target in words:
        if target in of_tuning and target not in tuned | ({"tune_all"} if tuned else set()):
            raise PetvrError(
                f"{target}: nothing of this configuration is tuned there; `tune: guesses`, `tune: true` of your own "
                "videos and papers: [fair] have something (docs/tuning.md)"
            )
        path = Path(os.path.normpath(target))
        if path.name == "result.json" and path.is_relative_to(runs := Layout(config.results).runs):
            spec_of(config, path.parent.relative_to(runs).as_posix(), plan)


def unknown_rules(named: Iterable[str], rules: Iterable[str]) -> list[str]:
    """A line for each rule that --set-resources or --set-threads names, also in a profile, and that is not there:
    Snakemake passes over it, and the job has the usual time or memory.
    """
    known = set(rules)
    return [f"petvr: set-resources, set-threads: {unknown('rule', name, known)}" for name in named if name not in known]


def profile_files(words: Sequence[str]) -> list[Path]:
    """The config.yaml of each profile of a command line that is a folder here."""
    names = [word.partition("=")[2] for word in words if re.match("--(workflow-)?profile=", word)]
    names += [name for word, name in itertools.pairwise(words) if word in ("--profile", "--workflow-profile")]
    return [path for name in names if (path := Path(name) / "config.yaml").is_file()]


def shard_indexes(
    config: Config, folder: str, sampler: str, frames: int | str, size: int | str, picture: str = "crop"
) -> list[Path]:
    """The indexes a folder's frame store is joined from; none where one job decodes all of it."""
    count = catalogue.frame_shards(config, folder)
    store = Layout(config.results).frames(folder, sampler, frames, size, picture)
    return [shards.shard_folder(store, number, count) / "index.json" for number in range(1, count + 1) if count > 1]


def index_shards(config: Config, name: str) -> list[Path]:
    """The manifests an index is joined from."""
    folder, count = Layout(config.results).index(name), config.indexes[name].shards
    return [shards.shard_folder(folder, number, count) / "index.json" for number in range(1, count + 1)]


def index_model(config: Config, plan: Plan, name: str) -> list[Path]:
    """The result of the run that an index is made by; none for a model that is no run of this configuration."""
    model = config.indexes[name].model
    if Path(model).exists() or model.count("/") != 4:
        return []
    return [Layout(config.results).result(spec_of(config, model, plan))]


def dataset_files(config: Config, plan: Plan, name: str) -> list[Path]:
    """Manifest and frames of a data set: the stores its runs in this configuration read."""
    stores = {catalogue.frame_store(config, run) / "index.json" for run in plan.runs.values() if run.dataset == name}
    return [Layout(config.results).manifest(name), *sorted(stores)]


def own_files(config: Config, left_out: Mapping[str, Verdict]) -> list[Path]:
    """What manifests are made of."""
    names = [name for name in catalogue.chosen_datasets(config) if name not in left_out]
    return [path for name in names for path in catalogue.manifest_inputs(config, name)]


def left_out(config: Config, plan: Plan, dry_run: bool) -> dict[str, Verdict]:
    """The data sets that no table waits for. On a machine without any data a dry-run shows the whole plan."""
    if dry_run and not any(catalogue.availability(config, name).there for name in catalogue.chosen_datasets(config)):
        return {}
    return availability.unavailable(config, plan)


def left_out_lines(plan: Plan, left_out: Mapping[str, Verdict]) -> list[str]:
    lines = []
    for name, verdict in left_out.items():
        runs = {run for run in plan.runs if plan.runs[run].dataset == name}
        tables = [table for table in plan.tables.values() if runs & set(table.runs)]
        lines.append(
            f"petvr: {name} cannot be had: {verdict.reason}. Left out: {len(runs)} runs; their rows in {len(tables)}"
            f" table(s) say `not run`. What to do: petvr data status {name}"
        )
    return lines


def few_judges_lines(config: Config) -> list[str]:
    """Of own videos that are to be tuned: where the validation videos are too few to tell rates apart."""
    lines = []
    for name in (name for name, own in config.custom_datasets.items() if own.tune):
        try:
            judges = len(catalogue.open_dataset(config, name).validation().split.videos)
        except PetvrError:  # told where it is read for use
            continue
        if 0 < judges < FEW_JUDGES:
            lines.append(
                f"petvr: warning: {name}: rates are judged on {judges} validation video(s), where one answer is "
                f"{100 / judges:.0f} points of R@1; give more rows of its captions the split val"
            )
    return lines


def table_inputs(config: Config, plan: Plan, table: str, not_run: Collection[str]) -> list[Path]:
    """The results a table is made of. Where one is missing, also the folder it went missing from: Snakemake leaves
    a finished table alone although an input of it was deleted, but not when a folder it reads is newer.
    """
    layout = Layout(config.results)
    results = [layout.result(run) for run in plan.table(table).runs if run not in not_run]
    folders: dict[Path, Path] = {}
    for path in results:
        if not path.exists():
            _nearest_folder(path.parent, layout.results, folders)
    return results + sorted(folder for folder in set(folders.values()) if folder.exists())


def _nearest_folder(folder: Path, top: Path, known: dict[Path, Path]) -> Path:
    """The folder, or the nearest above it that exists, at most `top`: all there is where a table came before any run.

    known: the answers so far; thousands of runs lie below few folders.
    """
    if folder not in known:
        there = folder == top or folder.exists()
        known[folder] = folder if there else _nearest_folder(folder.parent, top, known)
    return known[folder]


def table_data(config: Config, plan: Plan, table: str, not_run: Mapping[str, str]) -> list[str]:
    """What a table says of its data beside the results: why rows are not run, and what is frozen."""
    names = sorted({plan.runs[run].dataset for run in plan.table(table).runs})
    reasons = {plan.runs[run].dataset: reason for run, reason in not_run.items()}
    locks = {name: lock.hash_of(catalogue.lock_file(config, name)) for name in names}
    return [f"{name} {reasons.get(name, '')} {locks[name]}" for name in names]


def train_minutes(config: Config, run: RunSpec) -> int:
    """A job's time limit, by what the rehearsal measured of a step; half a day where nothing was."""
    return steps.minutes_to_ask(run, steps.read_steps(Layout(config.results).measured_steps), 720)


def train_megabytes(config: Config, run: RunSpec) -> int:
    """A job's memory on the host, by what the rehearsal measured of a step; 64 GB where nothing was."""
    otherwise = 2_000 if config.world is not None else 64_000
    return steps.megabytes_to_ask(run, steps.read_steps(Layout(config.results).measured_steps), otherwise)


def study_named(config: Config, plan: Plan, known: Mapping[str, Study], cell: str) -> Study:
    """Also of a cell that a run's path names and no table shows. PetvrError for one that is not tuned."""
    if cell not in known and not (run := spec_of(config, f"{cell}/seed-{config.seeds[0]}", plan)).tuned:
        raise PetvrError(f"{cell}: nothing of it is tuned")
    return known[cell] if cell in known else study_of(config, run)


def tuning_first(config: Config, known: Mapping[str, Study], run: RunSpec) -> list[Path]:
    """What a tuned run waits for: the lock, where its choice is committed, else the last decision of its study."""
    if not run.tuned:
        return []
    if choices.frozen(config, run):
        return [choices.lock_file(config, run)]
    study = known.get(run.cell) or study_of(config, run)
    return [decisions.last_decision_file(Layout(config.results), study)]


def unfinished_tables(config: Config, plan: Plan, asked: Collection[str], not_run: Collection[str]) -> list[str]:
    """Of the tables that were asked for, those that still wait for a result."""
    layout = Layout(config.results)
    waited_for = {run for run in plan.runs if run not in not_run and not layout.result(run).exists()}
    return [name for name, table in plan.tables.items() if name in asked and waited_for & set(table.runs)]


def figure_digest(planned: Plan, id: str, rule: str) -> str:
    """Changes when what a figure shows, or its code, does."""
    runs = figure_runs(planned, id)
    return digest([repr(figures(planned)[id]), runs, rule, FIGURES_VERSION])


def table_digest(table: Table, rule: str, intervals: bool) -> str:
    """Changes when a table's rows, cells, printed values, selection rule or form change: then it is built anew."""
    from petvr.report.tables import VERSION  # raised when a table would look different

    return digest([repr(table), rule, intervals, VERSION])


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def failure_lines(workflow_logs: Iterable[Path]) -> list[str]:
    """Why rules failed, from their own logs: under `quiet: [rules]` Snakemake shows no more than their commands."""
    text = "".join(path.read_text() for path in workflow_logs)
    lines = []
    for quoted in dict.fromkeys(re.findall(r"> (.+) 2>&1' returned non-zero", text)):
        path = Path(shlex.split(quoted)[0])
        end = path.read_text().splitlines()[-5:] if path.exists() else []
        lines.append("\n    ".join([f"petvr: failed, {path}:", *end]))
    return lines
