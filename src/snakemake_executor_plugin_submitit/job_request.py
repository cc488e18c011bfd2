"""One job of Snakemake as this package sees it: a name, a digest of what it computes, and what it asks of a cluster."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from snakemake_executor_plugin_submitit.settings import ExecutorSettings


@dataclass(frozen=True)
class ResourceRequest:
    """What a job asks of a cluster; jobs with equal requests share one array."""

    threads: int = 1
    mem_mb: int | None = None
    mem_mb_per_cpu: int | None = None
    runtime: int = 60  # minutes
    gpu: int = 0
    gpu_model: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    extra: str | None = None

    @classmethod
    def from_resources(cls, resources: Mapping[str, Any], threads: int, settings: ExecutorSettings) -> ResourceRequest:
        def number(*names: str) -> int | None:
            for name in names:
                value = resources.get(name)
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    return int(value)
                if isinstance(value, str) and value.strip().isdigit():
                    return int(value)
            return None

        def text(default: str | None, *names: str) -> str | None:
            for name in names:
                if resources.get(name):
                    return str(resources.get(name))
            return default

        extras = " ".join(filter(None, (settings.extra, text(None, "slurm_extra"))))
        return cls(
            threads=max(1, number("cpus_per_task") or threads or 1),
            mem_mb=number("mem_mb"),
            mem_mb_per_cpu=number("mem_mb_per_cpu"),
            runtime=number("runtime") or settings.runtime or 60,
            gpu=number("gpu", "gpus") or 0,
            gpu_model=text(None, "gpu_model"),
            partition=text(settings.partition, "slurm_partition", "partition"),
            account=text(settings.account, "slurm_account"),
            qos=text(settings.qos, "slurm_qos", "qos"),
            constraint=text(settings.constraint, "constraint"),
            extra=extras or None,
        )

    def asdict(self) -> dict[str, Any]:
        return asdict(self)


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
