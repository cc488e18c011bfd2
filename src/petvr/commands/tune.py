"""`petvr tune`: what was tried for each cell, at which rung, the best, and what is chosen; freeze it; export it."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from petvr import atomic, planning
from petvr.arguments import named_path, threads, whole
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import TrialRecord
from petvr.run_ids import untuned
from petvr.spec import Value
from petvr.tuning import choices, decisions, trials_report
from petvr.tuning.study import Study, studies
from petvr.workflow import study_named

EXPORT_HELP = "write all finished trials as JSON, which ten lines of docs/tuning.md bring into optuna-dashboard"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "without an action: status of every cell. A cell is paper/dataset/backbone/method, as in a run's id"
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for name, says in (
        ("status", "per cell: what is tried at which rung, the best, what is chosen and where (the default)"),
        ("freeze", "write what is chosen to locks/tuning/<method>-<dataset>.json, to be committed: it then wins"),
        ("export", EXPORT_HELP),
    ):
        one = actions.add_parser(name, help=says, description=says)
        one.add_argument("cells", nargs="*", metavar="CELL", help="only these (default: all that are tuned)")
        if name == "export":
            one.add_argument("--to", type=named_path, required=True, metavar="FILE", help="e.g. trials.json")
    trial = actions.add_parser("trial", help="(the workflow) train one trial to the end of a rung")
    decide = actions.add_parser("decide", help="(the workflow) decide which trials of a rung go on")
    for one in (trial, decide):
        one.add_argument("cell")
        one.add_argument("--rung", type=whole(0), required=True)
    trial.add_argument("--trial", required=True, help="its id in rung 0, in a later one slot-<n> of the decision")
    trial.add_argument("--threads", type=threads, help="CPU threads (default: all)")


def run(args: argparse.Namespace, config: Config) -> int:
    if args.action == "export":
        atomic.require_writable(args.to)
    plan, layout = planning.plan(config), Layout(config.results)
    known = studies(config, list(plan.runs.values()))
    cells = [args.cell] if args.action in ("trial", "decide") else getattr(args, "cells", [])
    known |= {cell: study_named(config, plan, known, cell) for cell in cells}
    if args.action in ("trial", "decide") and args.rung >= (rungs := len(known[args.cell].sizes)):
        raise PetvrError(f"--rung {args.rung}: allowed: 0 to {rungs - 1}")
    if args.action == "trial":
        return _trial(args, config, layout, known[args.cell])
    if args.action == "decide":
        return _decide(config, args.rung, layout, known[args.cell])
    chosen = [known[cell] for cell in cells] or list(known.values())
    if not chosen:
        raise PetvrError("petvr tune: no cell of this configuration is tuned (docs/tuning.md says what is)")
    if args.action == "export":
        trials = trials_report.exported(layout, chosen)
        atomic.write_json(args.to, trials)
        print(f"{args.to}: {len(trials)} trials of {len(chosen)} cells")
    elif args.action == "freeze":
        return _freeze(config, chosen)
    else:
        _status(config, layout, chosen)
    return 0


def _trial(args: argparse.Namespace, config: Config, layout: Layout, study: Study) -> int:
    id = decisions.trial_of(layout, study, args.rung, args.trial)
    if id not in study.trials:
        raise PetvrError(f"{study.cell}: trial {id} is not of today's grid and protocol; start the workflow again")
    if args.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
    from petvr.commands.train import date_inputs, train_options
    from petvr.training.trial import train_trial

    spec, state = study.trials[id], layout.trial_state(study.cell, id)
    atomic.wait_until_free(state / "lock", f"{study.cell}, trial {id}")
    out = decisions.trial_folder(layout, study.cell, id)
    options = replace(train_options(config, spec, args.threads), out=out, state=state)
    axes = {key.removeprefix("recipe.") for key in study.axes if key.startswith("recipe.")}
    record = train_trial(spec, options, study.epochs, args.rung, axes)
    date_inputs(options, layout.manifest(spec.dataset))
    asked = layout.tuning(study.cell) / f"rung-{args.rung}" / f"{args.trial}.json"
    atomic.write_text(asked, (out / f"rung-{args.rung}.json").read_text(encoding="utf-8"))
    said = record.diverged or f"validation RSum {record.score:.2f}"
    print(f"{study.cell}: {trials_report.value_words(study, record)}, epoch {record.epoch}: {said}")
    return 0


def _decide(config: Config, rung: int, layout: Layout, study: Study) -> int:
    records = [TrialRecord.read(path) for path in decisions.awaited_records(layout, study, rung)]
    decision = decisions.decide(study, rung, records)
    decisions.write_decision(decisions.decision_file(layout, study.cell, rung), decision)
    if "chosen" in decision:
        from petvr.report.figures.sensitivity import draw_sensitivity

        trials_report.write_trials(layout, study)
        before = untuned(config, study.run)
        stated: dict[str, tuple[Value, str] | None] = {}
        for key in study.axes:
            origin = before.sources[key].origin
            stated[key.partition(".")[2]] = None if origin == "tuned" else (before.values()[key], origin)
        path = layout.tuning(study.cell) / "sensitivity.svg"
        draw_sensitivity(path, trials_report.trial_rows(layout, study), stated, study.cell)
    return 0


def _freeze(config: Config, chosen: list[Study]) -> int:
    missing = 0
    for study in chosen:
        path = choices.freeze(config, study)
        missing += path is None
        print(f"{study.cell}: " + (f"frozen in {path}" if path else f"nothing is chosen yet: {_how(study)}"))
    return 1 if missing else 0


def _status(config: Config, layout: Layout, chosen: list[Study]) -> None:
    for study in chosen:
        axes = "; ".join(f"{key.partition('.')[2]} {_span(values)}" for key, values in study.axes.items())
        print(f"{study.cell}: {len(study.trials)} trials, {axes}, seed {study.seed}")
        for line in trials_report.report_lines(layout, study):
            print(line)
        choice = choices.choice_of(config, study.run)
        if choice is None:
            print(f"  nothing is chosen yet: {_how(study)}")
        else:
            values = ", ".join(f"{key.partition('.')[2]} {value}" for key, value in choice.values.items())
            print(f"  chosen: {values} ({choice.said().where})")
    for line in trials_report.best_lines(layout, config, chosen):
        print(line)


def _span(values: tuple[object, ...]) -> str:
    return f"{values[0]} to {values[-1]}" if len(values) > 3 else ", ".join(map(str, values))


def _how(study: Study) -> str:
    return f"snakemake tune_{study.run.dataset}"
