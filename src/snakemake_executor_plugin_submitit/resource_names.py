"""The resources and sbatch options that are understood, with the names snakemake-executor-plugin-slurm gives them.

Whatever else a rule asks is an error before anything is sent: a GPU that was silently left out costs a night.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
import shlex
from collections.abc import Collection, Mapping
from typing import Any


class RequestError(ValueError):
    """A rule asks for what this package cannot pass to Slurm; says what to write instead."""


UNDERSTOOD = {
    "runtime": "--time; minutes, or with a unit (90m, 12h, 2d)",
    "mem": "--mem, with a unit",
    "mem_mb": "--mem",
    "mem_mib": "--mem",
    "mem_mb_per_cpu": "--mem-per-cpu",
    "mem_mb_per_gpu": "--mem, times the number of GPUs",
    "cpus_per_task": "--cpus-per-task, in place of threads; below 0: not said to Slurm",
    "cpus_per_gpu": "--cpus-per-task, times the number of GPUs",
    "gpu": "--gpus-per-node; a number, a model or model:number",
    "gpus": "as gpu",
    "gpu_model": "the model of gpu, which is then 1 unless said otherwise",
    "gres": "--gres, as it stands: gpu:2, gpu:a100:1, gpu:1g.5gb:1, shard:4",
    "slurm_partition": "--partition",
    "partition": "as slurm_partition",
    "slurm_account": "--account",
    "slurm_qos": "--qos",
    "qos": "as slurm_qos",
    "constraint": "--constraint",
    "reservation": "--reservation",
    "nodelist": "--nodelist",
    "exclude": "--exclude",
    "slurm_extra": "further sbatch options, as on its command line",
    "nodes": "1: a job is one process",
    "tasks": "1",
    "tasks_per_node": "1",
    "tasks_per_gpu": "1",
}
CLUSTER = "jobs go to the cluster of this Slurm's configuration; SLURM_CONF names another"
REFUSED = {
    "mpi": "a job is one process on one node here, no MPI; --executor slurm knows MPI jobs",
    **dict.fromkeys(("cluster", "clusters", "slurm_cluster"), CLUSTER),
}
MODEL = r"\w*[A-Za-z][\w.-]*"  # a100, 2080ti, and slices such as 1g.5gb
SNAKEMAKES_OWN = ("_*", "tmpdir", "disk", "disk_mb", "disk_mib")

# sbatch options that would take what the executor says itself; with the resource to set instead, where there is one
MANAGED = {
    **dict.fromkeys(("job-name", "output", "error", "input", "array", "parsable", "wrap", "chdir", "export"), ""),
    **dict.fromkeys(("export-file", "signal", "open-mode", "wait", "test-only", "uid", "gid"), ""),
    **dict.fromkeys(("quiet", "help", "usage", "version"), ""),
    **{"time": "runtime", "mem": "mem_mb", "mem-per-cpu": "mem_mb_per_cpu", "mem-per-gpu": "mem_mb_per_gpu"},
    **{"cpus-per-task": "cpus_per_task", "cpus-per-gpu": "cpus_per_gpu", "nodes": "nodes", "ntasks": "tasks"},
    **dict.fromkeys(("ntasks-per-node", "ntasks-per-gpu", "ntasks-per-core", "ntasks-per-socket"), "tasks"),
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket"), "gpu"),
    **{"gres": "gres", "clusters": "clusters"},
}
SHORT = {
    "J": "job-name",
    "o": "output",
    "e": "error",
    "i": "input",
    "a": "array",
    "D": "chdir",
    "W": "wait",
    "Q": "quiet",
}
SHORT |= {"t": "time", "c": "cpus-per-task", "n": "ntasks", "N": "nodes", "G": "gpus", "M": "clusters"}

# what its flags (`--slurm-<name>`) are called here; those that are missing have no counterpart
FLAGS = {
    "qos": "--submitit-qos",
    "reservation": "--submitit-reservation",
    "exclude_failed_nodes": "--submitit-exclude",
    "array_limit": "--submitit-max-array-size",
    "array_jobs": "nothing, equal jobs always share an array",
    "no_requeue": "--submitit-extra=--no-requeue",
    "requeue": "nothing, jobs are requeued",
    "no_account": "nothing, no account is guessed",
    "jobname_prefix": "--submitit-jobname-prefix",
    "logdir": "--submitit-folder",
    "init_seconds_before_status_checks": "--submitit-poll-seconds",
    "status_command": "nothing, squeue is asked and then sacct",
    "status_attempts": "--submitit-return-minutes",
    "pass_command_as_script": "nothing, it always is",
    "disable_memory_fudge": "nothing, an array's memory is what a job asks",
}


def refuse_flags(given: Mapping[str, Any]) -> None:
    """Raise for a `--slurm-` flag: where the other plugin is installed, Snakemake accepts it and nothing heeds it."""
    for name in given:
        flag = f"--slurm-{name.replace('_', '-')}"
        raise RequestError(f"{flag} belongs to --executor slurm; here: {FLAGS.get(name, 'there is nothing like it')}")


def refuse_unknown(resources: Mapping[str, Any], limited: Collection[str], ignored: str | None) -> None:
    """Raise for the first resource that means nothing here. `limited` are those that Snakemake itself counts
    (`--resources name=N`), `ignored` the setting's names and patterns.
    """
    passed = [*SNAKEMAKES_OWN, *(pattern.strip() for pattern in (ignored or "").split(","))]
    for name, value in resources.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in passed) or name in limited:
            continue
        if name in REFUSED and value:
            raise RequestError(f"{name}={value}: {REFUSED[name]}")
        if name not in UNDERSTOOD and name not in REFUSED:
            words = name.split("_")
            near = [known for known in UNDERSTOOD if known in words] or difflib.get_close_matches(name, UNDERSTOOD, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise RequestError(
                f"the resource {name} means nothing to Slurm; {hint}--resources {name}=N has Snakemake count it, "
                f"--submitit-ignore-resources {name} leaves it out"
            )


def sbatch_options(text: str | None) -> list[str]:
    """The words of slurm_extra: any form sbatch takes (`--nice 150`, `-w n1`, `--exclude=n2`), in quotes or not."""
    try:
        options = shlex.split(text or "")
        if len(options) == 1 and " -" in options[0]:  # "'--qos=long --nice=1'": quoted once for the shell
            options = shlex.split(options[0])
    except ValueError as error:
        raise RequestError(f"slurm_extra={text}: {error}") from None
    for i in range(len(options) - 1, 0, -1):  # where a value is optional, sbatch would take it for the script
        if options[i - 1] in ("--nice", "--exclusive", "--propagate") and not options[i].startswith("-"):
            options[i - 1 : i + 1] = [f"{options[i - 1]}={options[i]}"]
    if options and not options[0].startswith("-"):
        raise RequestError(f"slurm_extra={text}: {options[0]} is no option of sbatch")
    for option in options:
        long = re.match(r"--([\w-]*)", option)
        name = long[1] if long else SHORT.get(option[1:2], "") if option.startswith("-") else ""
        # sbatch understands the beginning of an option's name as well
        managed = next((known for known in MANAGED if name and (known == name or known.startswith(name))), None)
        if managed is not None or option == "--":
            instead = f"; the resource {MANAGED[managed]} does it" if managed and MANAGED[managed] else ""
            raise RequestError(f"slurm_extra={text}: {option} is for this executor to say{instead}")
    return options


def whole_number(name: str, value: Any) -> int | None:
    """`value` as a number; None where the rule does not say."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not re.fullmatch(r"\s*-?\d+\s*", str(value)):
        raise RequestError(f"{name}={value}: must be a whole number")
    return int(value)


def gpus_and_model(name: str, value: Any) -> tuple[int | None, str | None]:
    """`2`, `a100` or `a100:2` -> (number, model)."""
    text = "" if value is None else str(value).strip()
    match = re.fullmatch(rf"(?:({MODEL})(?::(\d+))?|(\d+))?", text)
    if match is None or isinstance(value, bool):
        raise RequestError(f"{name}={value}: a number, a model or model:number; anything else is for gres")
    model, of_model, number = match.groups()
    if model:
        return int(of_model or 1), model
    return (int(number) if number else None), None


def gpus_in_gres(gres: str) -> int:
    """How many GPUs a job with this `--gres` must see; a share of one (shard, mps) is seen as one."""
    count = 0
    for entry in gres.split(","):
        match = re.fullmatch(rf"([\w.-]+)(?::{MODEL})?(?::(\d+)[KMGT]?)?", entry.strip())
        if match is None:
            raise RequestError(f"gres={gres}: name, name:number or name:type:number, with commas between several")
        kind, number = match.groups()
        if kind == "gpu":
            count += int(number or 1)
        elif kind in ("shard", "mps"):
            count += 1
    return count
