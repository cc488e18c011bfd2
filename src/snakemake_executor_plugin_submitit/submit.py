"""Give one batch to Slurm through submitit. A process of its own: `python -m <this> BATCH_FOLDER`.

Apart from the head so that (a) it runs in the environment of the jobs, nothing more; (b) a slow sbatch blocks nobody;
(c) a head that is killed while sbatch works finds the answer, `submitted.json`, when it is started again.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit import files, job

# the controller is away, busy or full: the same request may be granted later
LATER = re.compile(
    r"unable to contact slurm|connection (refused|reset|timed)|timed out|not responding|temporarily|try again"
    r"|zero bytes|communication|MaxSubmit|submit limit|maximum.*job|controller.*(down|standby|backup)|nodename nor",
    re.IGNORECASE,
)


def main(folder: Path) -> None:
    files.write(folder / "helper.json", files.process())
    batch = files.read(folder / "batch.json")
    if batch is None:
        raise FileNotFoundError(f"{folder}/batch.json")
    try:
        answer: dict[str, Any] = {"ok": True, "job": submit(folder, batch)}
    except Exception as error:  # whatever goes wrong is the head's to judge and to report
        text = reason(str(error))
        answer = {"ok": False, "later": bool(LATER.search(text)), "error": text}
    files.write(folder / "submitted.json", answer)


def submit(folder: Path, batch: dict[str, Any]) -> str:
    """Slurm's number of the new job or array."""
    import submitit

    # submitit writes the script and speaks with sbatch. What it would start on the node looks for a pickle that is put
    # in place after sbatch has answered: a submission whose answer is lost would wait for it in vain, and fail.
    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(**parameters(batch))
    if len(batch["folders"]) > 1:
        executor.parameters["map_count"] = len(batch["folders"])
    command = [executor.python, "-u", "-m", job.__name__, shlex.quote(str(folder))]
    return executor._submit_command(" ".join(command)).job_id


def parameters(batch: dict[str, Any]) -> dict[str, Any]:
    """What submitit is told, from the batch's needs."""
    needs = batch["needs"]
    seconds = needs["runtime"] * 60
    more: dict[str, Any] = {"requeue": True, "ntasks": 1}
    for option in shlex.split(needs["extra"] or ""):
        key, _, value = option.removeprefix("--").partition("=")
        more[key] = value or True
    given: dict[str, Any] = {
        "job_name": batch["name"],
        "time": needs["runtime"],
        "cpus_per_task": needs["threads"],
        "partition": needs["partition"],
        "account": needs["account"],
        "qos": needs["qos"],
        "constraint": needs["constraint"],
        "array_parallelism": batch["throttle"] or len(batch["folders"]),
        # a signal two minutes before the end of a three-minute job would leave it no time to work
        "signal_delay_s": max(1, min(batch["signal_seconds"], seconds // 4)),
        "stderr_to_stdout": True,
        "wckey": None,
        "setup": [batch["setup"]] if batch["setup"] else None,
        # sbatch's export settings and, since Slurm 22.05, the CPUs per task are not srun's unless it is told; told
        # these and no number of tasks, it starts as many as fit into what the job was given
        "srun_args": ["--export=ALL", "--nodes=1", "--ntasks=1", f"--cpus-per-task={needs['threads']}"],
        "additional_parameters": more,
    }
    if needs["mem_mb_per_cpu"]:
        given["mem_per_cpu"] = f"{needs['mem_mb_per_cpu']}MB"
    elif needs["mem_mb"]:
        given["mem"] = f"{needs['mem_mb']}MB"
    if needs["gpu"] and needs["gpu_model"]:
        given["gres"] = f"gpu:{needs['gpu_model']}:{needs['gpu']}"
    elif needs["gpu"]:
        given["gpus_per_node"] = needs["gpu"]
    return given


def reason(text: str) -> str:
    """sbatch's own words out of submitit's message."""
    lines = [line.strip() for line in text.splitlines() if "sbatch:" in line or "slurm" in line.lower()]
    return " ".join(dict.fromkeys(lines))[:600] or " ".join(text.split())[:600]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
