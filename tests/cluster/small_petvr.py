"""A copy of this repository's workflow with a world of a few videos, to be run here or through Slurm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TABLE = "cross_modal_adapter/table_2"
RUN = "cross_modal_adapter/msvd/tiny/cross_modal_adapter@ds=16,r=16/seed-{seed}"
RUNS = (RUN.format(seed=0), "cross_modal_adapter/msvd/tiny/cross_modal_adapter@r=16,share=false/seed-0")  # the table's
SMALL = {
    "tables": [TABLE],
    "datasets": ["msvd"],
    "methods": ["cross_modal_adapter"],
    "seeds": [0],
    "results": "results",
    "data": "data",
    "recipe": {"default": {"batch": 8, "frames": 3, "words": 24}, "datasets": {"msvd": {"epochs": 2}}},
    "world": {"sizes": {"msvd": {"train": 16, "val": 4, "test": 6}}, "tiny_clip": {"steps": 4, "batch": 16}},
}
# 24 occasions for a checkpoint, two steps and an evaluation an epoch, and one at each: three before a disturbance
LONG = {"recipe": {"datasets": {"msvd": {"epochs": 8}}}, "checkpoint_minutes": 1e-6}
FRAMES = "msvd --sampler round_1fps --frames 3 --size 48"

# Python imports this by its name. It lets whoever disturbs a training never be too late
SITECUSTOMIZE = """
import os, signal, sys, time

def replace(source, target, **kwargs):
    original_replace(source, target, **kwargs)
    if os.path.basename(target).startswith("step-"):  # a checkpoint
        checkpoints.append(target)
        if len(checkpoints) == 3 and not os.path.exists("go"):
            with open("held", "a") as file:
                file.write("held\\n")
        while len(checkpoints) >= 3 and not signals and not os.path.exists("go"):
            time.sleep(0.05)

def install(number, handler):
    return original_signal(number, (lambda *got: (signals.append(1), handler(*got))) if callable(handler) else handler)

if sys.orig_argv[1:4] == ["-m", "petvr", "train"]:
    checkpoints, signals = [], []
    original_replace, os.replace = os.replace, replace
    original_signal, signal.signal = signal.signal, install
"""


COMMANDS = """
import json, sys
from petvr.cli import main
for command in json.loads(sys.argv[1]):
    if code := main(command):
        sys.exit(code)
"""


class Copy:
    """`slurm` starts Snakemake, `local` one process for many commands of petvr, which imports torch but once; both
    return the process. `more` lays long.yaml over Snakemake's configuration.

    Where the file `go` is removed, each start of a training writes a line to `held` at its third checkpoint, and waits
    there for a signal or for the file.
    """

    def __init__(self, folder: Path, root: Path = ROOT):
        self.folder = folder
        folder.mkdir(parents=True)
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(root / name, folder / name)
        for name in ("workflow", "src", "slurm", "envs"):
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("*.pyc.*", "*.egg-info"))
        (folder / "src" / "sitecustomize.py").write_text(SITECUSTOMIZE)
        (folder / "go").touch()
        (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
        (folder / "long.yaml").write_text(yaml.safe_dump(LONG))

    def _start(self, *command: str) -> subprocess.Popen:
        env = {name: value for name, value in os.environ.items() if name != "PETVR_CONFIG"}
        paths = filter(None, (str(self.folder / "src"), os.environ.get("PYTHONPATH")))
        env |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        self.log = self.folder / f"head-{len(list(self.folder.glob('head-*.txt')))}.txt"
        with open(self.log, "w") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env=env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def local(self, *commands: str) -> subprocess.Popen:
        """A command that begins with `long` has long.yaml laid over its configuration."""
        orders = []
        for words in map(str.split, commands):
            files, more = ["workflow/demo.yaml", "small.yaml"], words[0] == "long"
            files += ["long.yaml"] if more else []
            orders.append([*(word for file in files for word in ("-c", file)), *words[more:]])
        return self._start("-c", COMMANDS, json.dumps(orders))

    def slurm(self, *targets: str, options: Sequence[str] = (), more: bool = False) -> subprocess.Popen:
        files = ["workflow/demo.yaml", "small.yaml", *(["long.yaml"] if more else [])]
        return self._start(*("-m", "snakemake", "--profile", "slurm", *options, "--configfile", *files, "--", *targets))

    def result(self, run: str) -> dict:
        return json.loads((self.run(run) / "result.json").read_text())

    def run(self, run: str) -> Path:
        return self.folder / "results" / "runs" / run
