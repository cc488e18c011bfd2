"""One job of Snakemake as this package sees it: a name, a digest of what it computes, and what it asks of a cluster."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from snakemake_executor_plugin_submitit.resource_names import (
    RequestError,
    gpus_and_model,
    gpus_in_gres,
    sbatch_options,
    whole_number,
)
from snakemake_executor_plugin_submitit.settings import ExecutorSettings


@dataclass(frozen=True)
class ResourceRequest:
    """What a job asks of a cluster; jobs with equal requests share one array."""

    threads: int = 1  # 0: Slurm is not told
    mem_mb: int | None = None
    mem_mb_per_cpu: int | None = None
    runtime: int = 60  # minutes
    gpu: int = 0  # how many the job must see
    gpu_model: str | None = None
    gres: str | None = None  # in place of the two above
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    extra: str | None = None

    @classmethod
    def from_resources(cls, resources: Mapping[str, Any], threads: int, settings: ExecutorSettings) -> ResourceRequest:
        """Raises `RequestError` where what is asked cannot be passed on."""

        def number(name: str) -> int | None:
            return whole_number(name, resources.get(name))

        def text(default: str | None, *names: str) -> str | None:
            return next((str(resources[name]) for name in names if resources.get(name)), default)

        for name in ("nodes", "tasks", "tasks_per_node", "tasks_per_gpu"):
            if (number(name) or 0) > 1:
                raise RequestError(f"{name}={resources[name]}: a job is one process on one node here")
        gpu, model, gres = _gpus(resources)
        memory = {name: number(name) for name in ("mem_mb", "mem_mb_per_cpu", "mem_mb_per_gpu")}
        if memory["mem_mb_per_gpu"]:
            if memory["mem_mb_per_cpu"] or not gpu:
                what = "mem_mb_per_cpu is asked too" if gpu else "the job asks for no GPU"
                raise RequestError(f"mem_mb_per_gpu={memory['mem_mb_per_gpu']}: {what}")
            memory["mem_mb"] = memory["mem_mb_per_gpu"] * gpu
        cpus = number("cpus_per_task")
        if cpus is None and gpu and (per_gpu := number("cpus_per_gpu")) is not None:
            cpus = per_gpu * gpu or -1
        runtime = number("runtime")
        options = [*sbatch_options(settings.extra), *sbatch_options(text(None, "slurm_extra"))]
        return cls(
            threads=max(1, threads or 1) if cpus is None else max(1, cpus) if cpus >= 0 else 0,
            mem_mb=memory["mem_mb"],
            mem_mb_per_cpu=memory["mem_mb_per_cpu"],
            # Snakemake has rounded it to minutes, half a minute to none; Slurm's shortest limit is one
            runtime=max(1, runtime) if runtime is not None else settings.runtime or 60,
            gpu=gpu,
            gpu_model=model,
            gres=gres,
            partition=text(settings.partition, "slurm_partition", "partition"),
            account=text(settings.account, "slurm_account"),
            qos=text(settings.qos, "slurm_qos", "qos"),
            constraint=text(settings.constraint, "constraint"),
            reservation=text(settings.reservation, "reservation"),
            nodelist=text(None, "nodelist"),
            exclude=text(settings.exclude, "exclude"),
            extra=shlex.join(options) or None,
        )

    def asdict(self) -> dict[str, Any]:
        return asdict(self)


def _gpus(resources: Mapping[str, Any]) -> tuple[int, str | None, str | None]:
    """Number of GPUs, their model, and `--gres` where it was given."""
    name = "gpu" if resources.get("gpu") not in (None, "") else "gpus"
    gpu, model = gpus_and_model(name, resources.get(name))
    if (wanted := resources.get("gpu_model")) and gpu != 0:
        if model not in (None, wanted):
            raise RequestError(f"gpu={model} and gpu_model={wanted}: two models")
        gpu, model = gpu or 1, str(wanted)
    gres = str(resources.get("gres") or "").strip()
    if not gres:
        return gpu or 0, model, None
    inside = gpus_in_gres(gres)
    if inside and gpu not in (None, inside):
        raise RequestError(f"{name}={gpu} and gres={gres} ask for different numbers of GPUs")
    if gpu and not inside:
        gres = f"{gres},gpu:{f'{model}:' if model else ''}{gpu}"
    return inside or gpu or 0, None, gres


def folder_name(wildcards: Mapping[str, str], identity: Iterable[str], max_length: int = 120) -> str:
    """A folder name a person can read, made unique by a short hash where characters or length had to go."""
    plain = ",".join(f"{name}={value}" for name, value in wildcards.items()) or "_"
    safe = re.sub(r"[^A-Za-z0-9._,=+@-]", "_", plain).strip(".") or "_"
    if safe == plain and len(safe) <= max_length:
        return safe
    mark = hashlib.sha256("\0".join((plain, *identity)).encode()).hexdigest()[:8]
    return f"{safe[: max_length - 9]}-{mark}"


def describe_job(job: Any) -> dict[str, Any]:
    """Name, folder (`rule/wildcards`), and digest of a job or group: what tells one piece of work from another.

    The digest covers command, parameters and the state of the input files: a head that starts again attaches to what an
    earlier one submitted only where it would have submitted the same.
    """
    if job.is_group():
        members = sorted(job.jobs, key=lambda member: (member.rule.name, *map(str, member.output)))
        outputs = sorted(str(file) for member in members for file in member.output)
        mark = hashlib.sha256("\0".join(outputs).encode()).hexdigest()[:12]
        parts = [_content(member) for member in members]
        inside = set(outputs)
        inputs = [file for member in members for file in member.input if str(file) not in inside]
        name, folder, wildcards = str(job.name), f"group/{mark}", {}
    else:
        outputs = [str(file) for file in job.output]
        wildcards = dict(job.wildcards_dict)
        name, folder = job.rule.name, f"{job.rule.name}/{folder_name(wildcards, outputs)}"
        parts, inputs = [_content(job)], list(job.input)
    stamps = sorted(filter(None, (_stamp(file) for file in inputs)))
    text = json.dumps([parts, stamps], sort_keys=True, default=str)
    return {
        "name": name,
        "work": folder,
        "wildcards": {key: str(value) for key, value in wildcards.items()},
        "outputs": outputs,
        "digest": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def _content(job: Any) -> list[Any]:
    rule = job.rule
    return [
        rule.name,
        dict(job.wildcards_dict),
        [str(file) for file in job.output],
        [str(file) for file in job.input],
        {str(key): repr(value) for key, value in job.params.items()},
        repr(list(job.params)),
        rule.shellcmd,
        str(rule.script or rule.notebook or rule.wrapper or ""),
    ]


def _stamp(file: Any) -> list[Any] | None:
    """Size and time of an input; folders and `ancient()` inputs change without meaning anything."""
    if getattr(file, "is_ancient", False) or not os.path.isfile(str(file)):
        return None
    state = os.stat(str(file))
    return [str(file), state.st_mtime_ns, state.st_size]
