"""Why a job failed, in one line with its remedy: from Slurm's state, the runner's result and the ends of two logs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from snakemake_executor_plugin_submitit.job_state import QueueEntry

MEMORY = re.compile(r"oom.?kill|exceeded (step|job)? ?memory limit|out of memory handler", re.IGNORECASE)
DISK = re.compile(r"No space left on device|Disk quota exceeded")
NO_PROGRAM = re.compile(
    r"(?:execve\(\)|exec|command): (\S+): (?:No such file|Permission denied)|(\S+/python\S*): No such file"
)
NO_MODULE = re.compile(r"No module named '?([\w.]+)")
SETUP = re.compile(r"submitit-setup: .*")
ENVIRONMENT_MODULE = re.compile(r"Unable to locate a modulefile.*|Lmod has detected the following error:.*")
GPU_MEMORY = re.compile(r"CUDA (error: )?out of memory|OutOfMemoryError: CUDA")
NO_GPU = re.compile(r"No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device")
NO_COMMAND = re.compile(r"(?:line \d+: |sh: \d+: )([^\s:]+): (?:command )?not found")


def explain_failure(
    entry: QueueEntry | None,
    result: Mapping[str, Any],
    request: Mapping[str, Any],
    overhead: int,
    slurm_log: str,
    log: str,
) -> str:
    """What a person should know and do; nothing where the log itself has to say it."""
    state, code = entry.state if entry else "", result.get("code")
    memory = request.get("mem_mb_per_cpu") or request.get("mem_mb")
    name = "mem_mb_per_cpu" if request.get("mem_mb_per_cpu") else "mem_mb"
    if state == "OUT_OF_MEMORY" or MEMORY.search(slurm_log):
        asked = (
            f"{name}={memory}, and {overhead} MB for the job's own Snakemake" if memory else "the partition's default"
        )
        return (
            f"Over its memory ({asked}): ask for more, or more at each attempt ({name}=lambda wildcards, attempt: ...)."
        )
    if state in ("TIMEOUT", "DEADLINE") or "DUE TO TIME LIMIT" in slurm_log:
        return (
            f"Over its time limit (runtime={request.get('runtime')} minutes): ask for more, or more at each attempt, "
            "or write a checkpoint at SIGUSR2 and exit with 75."
        )
    if DISK.search(log) or DISK.search(slurm_log):
        return (
            "A disk is full, or a quota used up: make room (`df -h`, `df -i`, `quota`); the log's last lines say where."
        )
    if fault := SETUP.search(slurm_log) or ENVIRONMENT_MODULE.search(slurm_log):
        return f"The set-up of the node (submitit-setup) failed, and the job was not begun: {fault[0].strip()}."
    if missing := NO_PROGRAM.search(slurm_log):
        return (
            f"The node has no {missing[1] or missing[2]}: the environment that Snakemake runs in must lie on a disk "
            "that all nodes see under the same path."
        )
    if "is this folder on a disk that all nodes share" in slurm_log:
        return "The node does not see the job's folder: set submitit-folder to one on a disk that all nodes share."
    if module := NO_MODULE.search(slurm_log) or NO_MODULE.search(log):
        return (
            f"The job's Python has no module {module[1]}. It is that of the environment Snakemake runs in, with its "
            "PYTHONPATH: install it there, or activate another one in the rule."
        )
    if GPU_MEMORY.search(log):
        return "The GPU's memory is full: a smaller batch, or a larger GPU (gpu_model, constraint)."
    if NO_GPU.search(log):
        asked = (
            f"though gpu={request['gpu']} was asked for" if request.get("gpu") else "and the rule asks for none (gpu=1)"
        )
        return f"No GPU is visible {asked}."
    if command := NO_COMMAND.search(log):
        return f"The node has no command {command[1]}: load it in submitit-setup or in the rule; PATH is the head's."
    if code in (-9, 137):
        return f"Killed by signal 9, mostly for want of memory ({name}={memory}): ask for more if no one else did it."
    return ""
