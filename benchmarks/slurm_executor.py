"""Wall time, CPU seconds, memory and calls of Slurm's commands for jobs of one second on eight slots.

    python benchmarks/slurm_executor.py 40 400      on a private Slurm (tests/cluster/install.sh brings the packages)
    python benchmarks/slurm_executor.py 40 --peer VENV/bin/python   also snakemake-executor-plugin-slurm, of that venv

The slots are eight whatever the machine has, so on fewer cores the jobs' own start-up is what is measured: CPU seconds
a job times jobs, over cores, is the least wall time there can be. `bare` is a submitit array without Snakemake.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cluster"))
from slurm_cluster import Cluster, missing

from snakemake_executor_plugin_submitit.json_files import read_json
from snakemake_executor_plugin_submitit.ledger import Ledger

WORKFLOW = """
rule all:
    input: [f"out/{i}" for i in range(int(config["count"]))]
    localrule: True
rule work:
    output: "out/{i}"
    resources: mem_mb=500, runtime=10
    shell: "sleep 1; touch {output}"
"""
FAILING = """
rule all:
    input: [f"out/{i}" for i in range(9)]
    localrule: True
rule work:
    output: "out/{i}"
    resources: mem_mb=500, runtime=10
    shell: "if [ {wildcards.i} = 0 ]; then sleep 3; exit 1; fi; sleep 20; touch {output}"
"""
BARE = """
import sys, time, submitit
executor = submitit.SlurmExecutor(folder="logs")
executor.update_parameters(time=10, mem="500MB", array_parallelism=1000)
[job.result() for job in executor.map_array(time.sleep, [1] * int(sys.argv[1]))]
"""


def seconds(text: str) -> float:
    total = 0.0
    for part in text.replace("-", ":").split(":"):
        total = total * 60 + float(part)
    return total


def snakemake(python: str, *more: str) -> list[str]:
    command = [python, "-m", "snakemake", *more, "--jobs", "1000", "--nolock", "--scheduler", "greedy"]
    return [*command, "--max-jobs-per-timespan", "5000/1s"]


def measure(cluster: Cluster, name: str, count: int, command: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(WORKFLOW)
        before, begin = cluster.calls(), time.time()
        subprocess.run(command, cwd=folder, env=cluster.env, check=True, capture_output=True)
        wall = time.time() - begin
        calls = {name: number - before.get(name, 0) for name, number in cluster.calls().items()}
    time.sleep(3)  # for accounting to note the last jobs
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(begin))
    lines = cluster.run("sacct", "-n", "-P", "-S", start, "-o", "JobID,TotalCPU,MaxRSS").splitlines()
    cpu, memory = defaultdict(float), defaultdict(float)
    for job, time_, rss in (line.split("|") for line in lines if "." in line.split("|")[0]):
        cpu[job.partition(".")[0]] += seconds(time_)  # the batch script and its step
        memory[job.partition(".")[0]] += float(rss.rstrip("KM") or 0) / 1024
    counts = ", ".join(f"{calls.get(name, 0)} {name}" for name in ("sbatch", "squeue", "sacct"))
    used = sum(cpu.values()) / max(1, len(cpu))
    print(
        f"{name:9} {count:4} jobs: {wall:6.1f} s, {used:.2f} CPU s a job, {max(memory.values(), default=0):4.0f} MiB "
        f"at most; {counts}",
        flush=True,
    )


def failure(cluster: Cluster) -> None:
    """How long after its end a failed job is told, while eight others run."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(FAILING)
        command = [*snakemake(sys.executable, "--executor", "submitit"), "--keep-going"]
        subprocess.run(command, cwd=folder, env=cluster.env, capture_output=True)
        base = Path(folder) / ".snakemake" / "submitit"
        failed = [one for one in Ledger(base / "ledger.jsonl").latest.values() if one.outcome == "failed"]
        for one in failed:
            ended = read_json(base / "jobs" / one.folder / "result.json")["ended"]
            print(f"a failed job was told {one.ended - ended:.1f} s after its end", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[40])
    parser.add_argument("--peer", help="a python with snakemake and snakemake-executor-plugin-slurm")
    args = parser.parse_args()
    if absent := missing():
        sys.exit(f"Slurm is not installed: {', '.join(absent)}")
    ways: dict[str, Callable[[int], list[str]]] = {
        "bare": lambda count: [sys.executable, "-c", BARE, str(count)],
        "submitit": lambda count: [*snakemake(sys.executable, "--executor", "submitit"), "--config", f"count={count}"],
    }
    if args.peer:
        for name, first in (("slurm", ()), ("slurm 1s", ("--slurm-init-seconds-before-status-checks", "1"))):
            peer = snakemake(args.peer, "--executor", "slurm", *first)
            ways[name] = lambda count, peer=peer: [*peer, "--config", f"count={count}"]
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp")), array_size=1001)
    try:
        cluster.start()
        failure(cluster)
        for count in args.counts:
            for name, command in ways.items():
                measure(cluster, name, count, command(count))
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
