"""CPU seconds of what a run costs beside its steps, each in a process of its own, against its limit.

    python benchmarks/fixed_costs.py                    dry runs, tables, MLflow, parameter counts
    python benchmarks/fixed_costs.py --only params --repeats 3
    python benchmarks/fixed_costs.py --run vop/msrvtt-9k/tiny/vop/seed-0 -c demo    the start of that run, too
    python benchmarks/fixed_costs.py --demo             all of `make demo`, in the folder results/demo as it stands

The start of a run is all it does before its first step, where it stops, less the import of torch; its data set, frames
and weights have to be there. Sizes that the user's cache holds are not counted again: PETVR_CACHE names an empty folder
for a first time. CPU seconds grow on a busy machine, up to twice: the import of torch, taken before and
after every line, says by how much (2 s where the limits were set).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEEDS = 30  # ten times the three of config.yaml
SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake")), "-n", "--quiet", "all", "--cores", "2", "all_tables"]
TORCH = [sys.executable, "-c", "import torch"]
USUAL = ("dry_736", "dry_7360", "tables", "track", "params")
LIMITS = {"dry_736": 5.0, "dry_7360": 60.0, "tables": 3.0, "track": 40.0, "params": 3.0, "start": 4.0, "demo": 840.0}
WHAT = {
    "dry_736": "dry run of 736 runs",
    "dry_7360": "dry run of 7,360 runs",
    "tables": "all tables from 736 results",
    "track": "736 results into a new MLflow store",
    "params": "petvr params",
    "start": "a run until its first step, beside torch's import",
    "demo": "make demo",
}
FIRST_STEP = """
import os, sys, time
import torch
begun = time.process_time()
from petvr import cli
from petvr.training import run
def first_step(*given):
    print(f"began {time.process_time() - begun}", flush=True)
    os._exit(0)
run.train_step = first_step
sys.exit(cli.main(sys.argv[1:]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=USUAL, action="append", help="may be repeated")
    parser.add_argument("--repeats", type=int, default=1, help="the median is shown (default: %(default)s)")
    parser.add_argument("--run", metavar="RUN", help="whose start is measured")
    parser.add_argument("-c", "--configfile", action="append", default=[], help="of that run")
    parser.add_argument("--demo", action="store_true")
    given = parser.parse_args()
    names = [*(given.only or USUAL)]
    names += ["start"] * bool(given.run) + ["demo"] * given.demo
    with tempfile.TemporaryDirectory() as folder:
        for name in dict.fromkeys(names):
            before = cpu_seconds(TORCH)
            spent = statistics.median(measure(name, Path(folder), given) for _ in range(given.repeats))
            torch = (before + cpu_seconds(TORCH)) / 2
            word = "met   " if spent <= LIMITS[name] else "missed"
            print(
                f"{word} {WHAT[name]}: {spent:.1f} CPU s (limit {LIMITS[name]:g}); import torch {torch:.1f}", flush=True
            )


def measure(name: str, folder: Path, given: argparse.Namespace) -> float:
    petvr = [sys.executable, "-m", "petvr"]
    if name == "dry_736":
        return cpu_seconds(SNAKEMAKE)
    if name == "dry_7360":
        seeds = folder / "seeds.yaml"
        seeds.write_text(f"seeds: {list(range(SEEDS))}\n")
        return cpu_seconds([*SNAKEMAKE, "--configfile", str(seeds)])
    if name == "tables":
        return cpu_seconds([*petvr, "-c", str(made_up_results(folder)), "table", "--all"])
    if name == "track":
        layer = made_up_results(folder)
        shutil.rmtree(folder / "results" / "mlflow", ignore_errors=True)
        return cpu_seconds([*petvr, "-c", str(layer), "track"])
    if name == "params":
        return cpu_seconds([*petvr, "params"])
    if name == "demo":
        return cpu_seconds(["make", "demo"])
    layers = [word for file in given.configfile for word in ("-c", file)]
    command = [sys.executable, "-c", FIRST_STEP, *layers, "train", given.run, "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    if "began " not in done.stdout:
        sys.exit(f"{given.run}: takes no step")
    return float(done.stdout.split("began ")[1].split()[0])


def made_up_results(folder: Path) -> Path:
    """A result for every run of the plan; the configuration that reads them."""
    sys.path.insert(0, str(ROOT / "tests" / "tables"))
    import table_factory

    from petvr import planning
    from petvr.config import load_config
    from petvr.layout import Layout

    layer = folder / "results.yaml"
    if not layer.exists():
        layer.write_text(f"results: {folder / 'results'}\n")
        config = load_config([str(layer)])
        for number, (run_id, run) in enumerate(planning.plan(config).runs.items()):
            table_factory.result(run, 30 + number % 17).write(Layout(config.results).result(run_id))
    return layer


def cpu_seconds(command: list[str]) -> float:
    """Of a command and all that it starts and waits for."""
    before = os.times()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
