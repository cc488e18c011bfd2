"""What the head costs for many jobs: CPU, memory, files, ledger, and the start of a second head on that ledger.

    python benchmarks/slurm_many_jobs.py 2500 5000 10000 20000

On a pretended Slurm: its commands are small scripts, and a thread of this process plays the nodes, writing the files
that node_runner.py writes. So nothing but the head's own work is measured; each line is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from snakemake_executor_plugin_submitit.job_manager import JobManager, TrackedJob
from snakemake_executor_plugin_submitit.job_request import ResourceRequest
from snakemake_executor_plugin_submitit.job_state import Timeouts
from snakemake_executor_plugin_submitit.ledger import Ledger
from snakemake_executor_plugin_submitit.prune import prune_jobs
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.slurm_backend import SlurmBackend

SBATCH = """#!/bin/bash
# gives the next number and notes which batch has it
exec 9>> {root}/lock; flock 9
number=$(( $(cat {root}/number 2> /dev/null || echo 1000) + 1 )); echo $number > {root}/number
script=${{!#}}
name=$(sed -n 's/^#SBATCH --job-name=//p' $script); folder=$(dirname $script)
echo "$number $name $folder" >> {root}/batches
echo "Submitted batch job $number"
"""
SQUEUE = """#!/bin/bash
[ ! -e {root}/queue ] || cat {root}/queue
"""
SCONTROL = "#!/bin/bash\necho 'MaxArraySize = 1001'\n"


class PretendedSlurm(threading.Thread):
    """Starts and ends the tasks of each batch that sbatch was given; a tenth runs until `finish` is set."""

    def __init__(self, root: Path):
        super().__init__(daemon=True)
        self.root = root
        (root / "out").mkdir()
        self.known: dict[str, list[Path]] = {}
        self.finish = False
        for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "scontrol": SCONTROL, "sacct": "#!/bin/bash\n"}.items():
            path = root / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.format(root=root) if name != "sacct" else text)
            path.chmod(0o755)

    def run(self) -> None:
        while True:
            path = self.root / "batches"
            for line in path.read_text().splitlines() if path.exists() else []:
                number, name, folder = line.split(maxsplit=2)
                if number not in self.known:
                    batch = json.loads((Path(folder) / "batch.json").read_text())
                    self.known[number] = [Path(one) for one in batch["folders"]]
                    self._work(number, name)
            if self.finish:
                for number, folders in self.known.items():
                    for task, folder in enumerate(folders):
                        if not (folder / "result.json").exists():
                            self._end(f"{number}_{task}", folder)
                self.finish = False
            time.sleep(0.2)

    def _work(self, number: str, name: str) -> None:
        lines = []
        for task, folder in enumerate(self.known[number]):
            me = {"token": "x", "host": "n1", "pid": 1, "born": "1", "job": f"{number}_{task}", "node": "n1"}
            me |= {"restarts": 0, "started": time.time(), "gpus": "", "starts": 1}
            (folder / "log.txt").write_text("--- start\n" + "a line of a job's log\n" * 20)
            if task % 10 == 0:
                (folder / "owner.json").write_text(json.dumps(me))
                lines.append(f"{number}_{task}|RUNNING|None|n1|main|{name}\n")
            else:
                self._end(f"{number}_{task}", folder)
        with open(self.root / "queue", "a") as queue:
            queue.writelines(lines)

    def _end(self, job: str, folder: Path) -> None:
        """As the runner leaves a job that succeeded."""
        me = {"token": "x", "host": "n1", "pid": 1, "job": job, "node": "n1", "started": time.time(), "starts": 1}
        text = json.dumps({**me, "outcome": "success", "code": 0, "reason": "", "ended": time.time()})
        (self.root / "out" / folder.parent.name.rpartition("=")[2]).touch()
        for name in ("owner.json", "spec.json"):
            (folder / name).unlink(missing_ok=True)
        (folder / ".result").write_text(text)
        (folder / ".result").rename(folder / "result.json")


def head(base: Path) -> JobManager:
    settings = ExecutorSettings(batch_seconds=0.1, poll_seconds=0.3)
    backend = SlurmBackend(base, settings, dict(os.environ), lambda text: None, Ledger(base / "ledger.jsonl"))
    timeouts = Timeouts(lost=1e6)  # the pretended queue knows no waiting jobs
    return JobManager(base, settings, timeouts, str(base), backend, lambda text: None)


def jobs_of(count: int, base: Path) -> list[TrackedJob]:
    request = ResourceRequest(threads=4, gpu=1, mem_mb=16000).asdict()
    made = []
    for i in range(count):
        wildcards = {"dataset": "msrvtt-9k", "method": "vop_f", "seed": str(i)}
        work = f"train/dataset=msrvtt-9k,method=vop_f,seed={i}"
        info = {"name": "train", "work": work, "wildcards": wildcards, "digest": f"{i:016x}"}
        info["outputs"] = [f"{base.parent}/out/{i}"]
        made.append(TrackedJob(info, request, lambda folder: "python -m snakemake " + "--option value " * 60, 1))
    return made


def cpu() -> float:
    """CPU seconds of this thread, so that the pretended nodes do not count."""
    return time.thread_time()


def entries(base: Path) -> int:
    return sum(len(folders) + len(files) for _, folders, files in os.walk(base))


async def work_until(manager: JobManager, condition) -> None:
    while not condition():
        await manager.step()
        await asyncio.sleep(manager.pace())  # as Snakemake does


def measure(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        slurm = PretendedSlurm(root)
        os.environ["PATH"] = f"{root}/bin:{os.environ['PATH']}"
        base, begin, began = root / "submitit", time.monotonic(), cpu()
        manager, jobs = head(base), jobs_of(count, base)
        for job in jobs:
            manager.submit(job)
        submitted = cpu() - began
        slurm.start()
        asyncio.run(work_until(manager, lambda: sum(job.outcome is not None for job in jobs) >= count * 8 // 10))
        worked, most = cpu() - began, entries(base)

        start, start_cpu = time.monotonic(), cpu()  # the head is killed here: a new one reads the ledger and attaches
        again, same = head(base), jobs_of(count, base)
        attached = sum(again.submit(job) for job in same)
        second, second_cpu = time.monotonic() - start, cpu() - start_cpu
        assert attached == count, attached
        slurm.finish = True
        before = cpu()
        asyncio.run(work_until(again, lambda: all(job.outcome for job in same)))
        for job in same:
            again.acknowledge(job)
        total = worked + cpu() - before
        left, ledger = entries(base), (base / "ledger.jsonl").stat().st_size
        prune_jobs(base)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        arrays, pruned = len(slurm.known), (base / "ledger.jsonl").stat().st_size
        print(
            f"{count:6} jobs, {arrays:3} arrays: {total:6.1f} CPU s of the head ({1000 * total / count:.1f} ms a job, "
            f"{1000 * submitted / count:.1f} of them to submit), {memory:4.0f} MiB; "
            f"{most / count:.1f} inodes a job at most, {left / count:.1f} at the end, {entries(base)} in all once "
            f"pruned; ledger {ledger / count / 1024:.2f} KiB a job, {pruned / count / 1024:.2f} pruned; "
            f"a new head: {second:.1f} s ({second_cpu:.1f} CPU s); wall {time.monotonic() - begin:.0f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[2500, 5000, 10000, 20000])
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for count in args.counts:
        if args.one:
            measure(count)
        else:
            subprocess.run([sys.executable, __file__, str(count), "--one"], check=True)


if __name__ == "__main__":
    main()
