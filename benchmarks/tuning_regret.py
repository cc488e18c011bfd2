"""What successive halving loses to the full grid, on the demo's world: every trial is trained to the end, judged at
each rung, and the rungs' decisions are taken from the same records.

    make demo-fair && python benchmarks/tuning_regret.py [--methods lora,vop] [--default]

A line a method: final RSum on validation of the trial that halving chooses and of the best one. What the demo trained
is copied into `--out` and goes on there from where it stood; what is there is not trained again. `--default`: as
config.yaml tunes, 9 trials with rungs after epochs 1, 3 and 5 of 5, and not as the demo does.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from petvr import planning
from petvr.commands.train import train_options
from petvr.config import Config, Tuning, merged_values, read_layers, validate_config
from petvr.layout import Layout
from petvr.result import TrialRecord
from petvr.training.trial import train_trial
from petvr.tuning import decisions
from petvr.tuning.study import Study, studies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="all", help="joined by commas (default: all of the demo)")
    parser.add_argument("--default", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/demo_fair/regret"))
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    config, lost = configuration(given.default), []
    for study in studies(config, list(planning.plan(config).runs.values())).values():
        if given.methods == "all" or study.run.method in given.methods.split(","):
            lost.append(regret(config, study, given.out, given.threads))
    print(f"halving misses the best in {sum(one > 0 for one in lost)} of {len(lost)}; lost on average "
          f"{sum(lost) / len(lost):.2f}, at most {max(lost):.2f} RSum")  # fmt: skip


def configuration(default: bool) -> Config:
    values = merged_values(read_layers(["config.yaml", "workflow/demo_fair.yaml"]))
    if default:
        usual = Tuning()
        values["tuning"] |= {"trials": usual.trials, "rungs": usual.rungs, "keep": usual.keep}
        values["recipe"]["default"]["epochs"] = 5
    return validate_config({"benchmark": values})


def regret(config: Config, study: Study, out: Path, threads: int) -> float:
    records = {id: whole_trial(config, study, id, out, threads) for id in study.trials}
    there = list(study.trials)
    for rung in range(len(study.sizes)):
        decision = decisions.decide(study, rung, [records[id][rung] for id in there])
        there = decision.get("promoted", there)
    chosen = decision["trials"][0]
    ended = {id: of_trial[-1].score for id, of_trial in records.items() if of_trial[-1].score is not None}
    best = max(ended, key=lambda id: ended[id])
    lost = ended[best] - chosen["score"]
    print(f"{study.run.method}: after epoch {study.epochs[-1]} halving's of {len(records)} has {chosen['score']:.1f} "
          f"{chosen['values']}, the best {ended[best]:.1f} {study.values(study.trials[best])}, the worst "
          f"{min(ended.values()):.1f}; lost {lost:.1f}", flush=True)  # fmt: skip
    return lost


def whole_trial(config: Config, study: Study, id: str, out: Path, threads: int) -> list[TrialRecord]:
    """Its records, one a rung."""
    layout, spec, folder, state = Layout(config.results), study.trials[id], out / id, out / id / "state"
    if (known := layout.trial_state(study.cell, id)).exists() and not folder.exists():
        shutil.copytree(decisions.trial_folder(layout, study.cell, id), folder)
        shutil.copytree(known, state)
    options = replace(train_options(config, spec, threads), out=folder, state=state, progress=False)
    axes = {key.removeprefix("recipe.") for key in study.axes if key.startswith("recipe.")}
    return [train_trial(spec, options, study.epochs, rung, axes) for rung in range(len(study.epochs))]


if __name__ == "__main__":
    main()
