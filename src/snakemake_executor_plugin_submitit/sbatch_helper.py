"""Give one batch to Slurm through submitit. A process of its own: `python -m <this> BATCH_FOLDER`.

Apart from the head so that (a) it runs in the environment of the jobs, nothing more; (b) a slow sbatch blocks nobody;
(c) a head that is killed while sbatch works finds the answer, `submitted.json`, when it is started again.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit import node_runner
from snakemake_executor_plugin_submitit.json_files import process_identity, read_json, write_json
from snakemake_executor_plugin_submitit.resource_names import sbatch_options


def main(folder: Path) -> None:
    write_json(folder / "helper.json", process_identity())
    batch = read_json(folder / "batch.json")
    if not batch:
        raise FileNotFoundError(f"{folder}/batch.json")
    try:
        answer: dict[str, Any] = {"ok": True, "job": submit_batch(folder, batch)}
    except Exception as error:  # whatever goes wrong is the head's to judge and to report
        answer = {"ok": False, "error": sbatch_message(str(error))}
    write_json(folder / "submitted.json", answer)


def submit_batch(folder: Path, batch: dict[str, Any]) -> str:
    """Slurm's number of the new job or array."""
    import submitit

    # submitit writes the script and speaks with sbatch. What it would start on the node looks for a pickle that is put
    # in place after sbatch has answered: a submission whose answer is lost would wait for it in vain, and fail.
    extra = sbatch_options(batch["needs"]["extra"])

    class SbatchExecutor(submitit.SlurmExecutor):
        def _make_submission_command(self, submission_file_path: Path) -> list[str]:
            return ["sbatch", *extra, str(submission_file_path)]  # any form it takes, and stronger than the script

    executor = SbatchExecutor(folder=folder)
    executor.update_parameters(**submitit_parameters(batch))
    if len(batch["folders"]) > 1:
        executor.parameters["map_count"] = len(batch["folders"])
    command = [executor.python, "-u", "-m", node_runner.__name__, shlex.quote(str(folder))]
    return executor._submit_command(" ".join(command)).job_id


def submitit_parameters(batch: dict[str, Any]) -> dict[str, Any]:
    """What submitit is told, from the batch's resource request."""
    request = batch["needs"]
    seconds = request["runtime"] * 60
    more: dict[str, Any] = {"requeue": True, "ntasks": 1}
    if request["reservation"]:
        more["reservation"] = request["reservation"]
    parameters: dict[str, Any] = {
        "job_name": batch["name"],
        "time": request["runtime"],
        "cpus_per_task": request["threads"] or None,
        "partition": request["partition"],
        "account": request["account"],
        "qos": request["qos"],
        "constraint": request["constraint"],
        "nodelist": request["nodelist"],
        "exclude": request["exclude"],
        "array_parallelism": batch["throttle"] or len(batch["folders"]),
        # a signal two minutes before the end of a three-minute job would leave it no time to work
        "signal_delay_s": max(1, min(batch["signal_seconds"], seconds // 4)),
        "stderr_to_stdout": True,
        "wckey": None,
        "setup": guarded_setup(batch["setup"]) if batch["setup"] else None,
        # sbatch's export settings and, since Slurm 22.05, the CPUs per task are not srun's unless it is told; told
        # these and no number of tasks, it starts as many as fit into what the job was given
        "srun_args": ["--export=ALL", "--nodes=1", "--ntasks=1"],
        "additional_parameters": more,
    }
    if request["threads"]:
        parameters["srun_args"].append(f"--cpus-per-task={request['threads']}")
    overhead = batch.get("memory_overhead", 0)
    if request["mem_mb_per_cpu"]:
        parameters["mem_per_cpu"] = f"{request['mem_mb_per_cpu'] + -(-overhead // max(1, request['threads']))}MB"
    elif request["mem_mb"]:
        parameters["mem"] = f"{request['mem_mb'] + overhead}MB"
    if request["gres"]:
        parameters["gres"] = request["gres"]
    elif request["gpu"] and request["gpu_model"]:
        parameters["gres"] = f"gpu:{request['gpu_model']}:{request['gpu']}"
    elif request["gpu"]:
        parameters["gpus_per_node"] = request["gpu"]
    return parameters


def guarded_setup(commands: str) -> list[str]:
    """The set-up commands, of which none may fail. Not by `set -e`, which would also end what they call."""
    return [
        'setup_failed() { echo "submitit-setup: exit code $1 on ${SLURMD_NODENAME:-$HOSTNAME}" >&2; exit 78; }',
        "trap 'setup_failed $?' ERR",
        commands,
        "setup_status=$?; trap - ERR",
        '[ "$setup_status" = 0 ] || setup_failed "$setup_status"',
    ]


def sbatch_message(text: str) -> str:
    """sbatch's own words out of submitit's message."""
    lines = [line.strip() for line in text.splitlines() if "sbatch:" in line or "slurm" in line.lower()]
    return " ".join(dict.fromkeys(lines))[:600] or " ".join(text.split())[:600]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
