"""`petvr plan`: runs, GPU hours and disk before anything is launched."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict

from petvr import planning
from petvr.arguments import alone, beside, named_path, whole
from petvr.config import Config
from petvr.costs import budget, index_budget, steps
from petvr.data import availability
from petvr.layout import Layout
from petvr.status import status_of
from petvr.tuning.choices import frozen
from petvr.tuning.study import studies


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--bench", type=named_path, metavar="FILE", help="with the rates of `petvr bench --json`")
    parser.add_argument(
        "--everything", action="store_true", help="count methods and data sets to come as if they existed"
    )
    parser.add_argument("--index", type=whole(high=10**12), metavar="N", help="instead: an index of N videos")
    parser.add_argument("--backbone", help="of the index (default: vit-b-32)")
    parser.add_argument("--frames", type=whole(high=1024), help="of the index, a video (default: 12)")


def run(args: argparse.Namespace, config: Config) -> None:
    alone(args, "index", "everything")
    beside(args, "index", backbone="vit-b-32", frames=12)
    if args.index is not None:
        rates = budget.Assumptions.measured(args.bench) if args.bench else None
        cost = index_budget.estimate_index(args.index, args.backbone, args.frames, rates)
        print(json.dumps(asdict(cost), indent=1) if args.json else index_budget.render_index(cost))
        return
    plan = planning.plan(config, args.everything)
    layout = Layout(config.results)
    assumed = budget.Assumptions.measured(args.bench) if args.bench else None
    waiting = [study for study in studies(config, list(plan.runs.values())).values() if not frozen(config, study.run)]
    tuning = [(study.run, study.epochs_of_all, sum(study.sizes)) for study in waiting]
    estimate = budget.estimate(plan, assumed, steps.read_steps(layout.measured_steps), tuning)
    lacking = {} if args.everything else availability.unavailable(config, plan)
    states = Counter(status_of(layout, run).state for run in plan.runs.values())
    if args.json:
        more = {"status": dict(states), "unavailable": {name: one.reason for name, one in lacking.items()}}
        print(json.dumps(asdict(estimate) | more, indent=1, default=str))
        return
    print(budget.render_text(estimate))
    print("\nstatus of the runs: " + ", ".join(f"{count} {name}" for name, count in sorted(states.items())))
    for name, one in lacking.items():
        count = sum(run.dataset == name for run in plan.runs.values())
        print(f"{name} cannot be had: {one.reason}; its {count} runs are counted here and would be left out")
