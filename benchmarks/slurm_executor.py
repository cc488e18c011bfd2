"""Wall time, CPU seconds, memory and calls of Slurm's commands for jobs of one second on eight slots.

    python benchmarks/slurm_executor.py 40 400      on a private Slurm (tests/cluster/install.sh brings the packages)

The slots are eight whatever the machine has, so on fewer cores the jobs' own start-up is what is measured.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cluster"))
from slurm_cluster import Cluster, missing

WORKFLOW = """
rule all:
    input: [f"out/{i}" for i in range(int(config["count"]))]
    localrule: True
rule work:
    output: "out/{i}"
    resources: mem_mb=500, runtime=10
    shell: "sleep 1; touch {output}"
"""


def seconds(text: str) -> float:
    total = 0.0
    for part in text.replace("-", ":").split(":"):
        total = total * 60 + float(part)
    return total


def measure(cluster: Cluster, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(WORKFLOW)
        before, begin = cluster.calls(), time.time()
        command = [sys.executable, "-m", "snakemake", "--executor", "submitit", "--jobs", "1000", "--nolock"]
        command += ["--scheduler", "greedy", "--max-jobs-per-timespan", "5000/1s", "--config", f"count={count}"]
        subprocess.run(command, cwd=folder, env=cluster.env, check=True, capture_output=True)
        wall = time.time() - begin
        calls = {name: number - before.get(name, 0) for name, number in cluster.calls().items()}
    time.sleep(2)  # for accounting to note the last jobs
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(begin))
    lines = cluster.run("sacct", "-n", "-P", "-S", start, "-o", "JobID,TotalCPU,MaxRSS").splitlines()
    steps = [line.split("|") for line in lines if line.split("|")[0].endswith(".0")]
    cpu = sum(seconds(step[1]) for step in steps) / max(1, len(steps))
    memory = max((int(step[2].rstrip("K") or 0) for step in steps), default=0) / 1024
    counts = ", ".join(f"{calls.get(name, 0)} {name}" for name in ("sbatch", "squeue", "sacct"))
    print(f"{count} jobs: {wall:.1f} s, {cpu:.2f} CPU s a job, {memory:.0f} MiB at most; {counts}", flush=True)


def main() -> None:
    if absent := missing():
        sys.exit(f"Slurm is not installed: {', '.join(absent)}")
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp")), array_size=1001)
    try:
        cluster.start()
        for count in map(int, sys.argv[1:] or ["40"]):
            measure(cluster, count)
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
