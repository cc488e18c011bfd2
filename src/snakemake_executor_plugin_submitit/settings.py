"""What a user sets: `--submitit-<name>` on the command line, `submitit-<name>:` in a profile."""

# ruff: noqa: UP045
# no `from __future__ import annotations`: Snakemake reads the field types as they stand here
import re
import signal
from dataclasses import dataclass, field
from typing import Optional

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase

LEAST = {  # of the numbers; None is left to what the setting's help says
    "runtime": 1, "memory_overhead": 0, "throttle": 1, "max_array_size": 1, "batch_seconds": 0, "poll_seconds": 0.01,
    "signal_seconds": 1, "max_requeues": 0, "return_minutes": 0, "blocked_minutes": 0, "lost_seconds": 0,
    "local_cores": 1, "local_gpus": 0,
}  # fmt: skip
MOST = 10**7
NAMES = ("partition", "account", "qos", "reservation")


def _setting(default, text, **metadata):
    return field(default=default, metadata={"help": text, "env_var": False, "required": False, **metadata})


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    cluster: str = _setting(
        "slurm", "Where jobs run: slurm, or local for this machine without Slurm.", choices=["slurm", "local"]
    )
    partition: Optional[str] = _setting(None, "Partition, where a rule's resources name none (slurm_partition).")
    account: Optional[str] = _setting(None, "Account, where a rule's resources name none (slurm_account).")
    qos: Optional[str] = _setting(None, "Quality of service, where a rule's resources name none (slurm_qos).")
    constraint: Optional[str] = _setting(None, "Node features, where a rule's resources name none (constraint).")
    reservation: Optional[str] = _setting(None, "Reservation, where a rule's resources name none (reservation).")
    exclude: Optional[str] = _setting(None, "Nodes to leave out, where a rule's resources name none (exclude).")
    extra: Optional[str] = _setting(None, "More sbatch options for every job, e.g. '--nice=100 --mail-type FAIL'.")
    jobname_prefix: str = _setting("", "Put before the names of jobs in Slurm's queue.")
    ignore_resources: Optional[str] = _setting(
        None, "Resources of rules that mean nothing here and may be left out: names or patterns with commas."
    )
    setup: Optional[str] = _setting(None, "Shell line run on the node before a job, e.g. 'module load cuda'.")
    env: Optional[str] = _setting(
        None,
        "Variables to pass to jobs beside PATH, PYTHONPATH, the locale, conda, modules and proxies: names or patterns "
        "with commas (HF_HOME,WANDB_*), or all. Values travel in the environment, never in a file.",
    )
    runtime: int = _setting(60, "Minutes for a rule without the resource runtime.")
    memory_overhead: int = _setting(200, "MB added to mem_mb for the Snakemake that runs the rule inside of each job.")
    throttle: Optional[int] = _setting(None, "How many tasks of one array may run at a time (default: all).")
    max_array_size: Optional[int] = _setting(None, "Tasks in one array at most (default: the cluster's MaxArraySize).")
    batch_seconds: float = _setting(0.5, "How long a ready job waits for equal ones to share its array.")
    poll_seconds: float = _setting(1.0, "Between two looks for results; the queue is asked less often.")
    signal: str = _setting("USR2", "Signal that tells a job to write its checkpoint and leave.")
    signal_seconds: int = _setting(120, "How long before the time limit that signal comes.")
    requeue_exit_codes: str = _setting(
        "75", "Exit codes, with commas, that mean: checkpoint written, run me again (75 is EX_TEMPFAIL)."
    )
    max_requeues: int = _setting(100, "A job that was told to leave more often than this has failed.")
    return_minutes: int = _setting(
        1440, "How long a held, suspended or preempted job may stay away before it counts as failed."
    )
    blocked_minutes: int = _setting(
        10,
        "How long a job may wait for what cannot change by itself (over a limit, no such node) before it is cancelled "
        "and counts as failed.",
    )
    lost_seconds: int = _setting(60, "How long a job may be unknown to squeue and sacct before it counts as lost.")
    folder: str = _setting(
        ".snakemake/submitit", "Ledger, logs and job files; must be seen by all nodes under the same path."
    )
    prune: bool = _setting(False, "Remove a job's files, its log too, once it has succeeded (later: prune.py).")
    keep_jobs: bool = _setting(False, "Leave queued and running jobs alone when Snakemake is interrupted.")
    local_cores: Optional[int] = _setting(None, "Cores that cluster=local shares out (default: all of this process).")
    local_gpus: Optional[int] = _setting(None, "GPUs that cluster=local shares out (default: those that are visible).")

    def __post_init__(self) -> None:
        """Raises WorkflowError for what Slurm would refuse only when a job is submitted, or nobody would notice."""
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= MOST:
                self._refuse(name, f"{least:g} to {MOST:,}")
        for name in NAMES:  # of an empty one in a profile Snakemake makes the profile's folder
            if getattr(self, name) is not None and not re.fullmatch(r"[^\s/]+", getattr(self, name)):
                self._refuse(name, "a name without blanks or slashes; leave the line out for the cluster's default")
        if "SIG" + self.signal.removeprefix("SIG") not in signal.Signals.__members__:
            self._refuse("signal", "a signal's name, as USR2")
        codes = str(self.requeue_exit_codes or "").split(",")
        if not all(
            re.fullmatch(r"\s*[0-9]{0,3}\s*", code) and int(code.strip() or 1) in range(1, 256) for code in codes
        ):
            self._refuse("requeue_exit_codes", "exit codes from 1 to 255, with commas")

    def _refuse(self, name: str, allowed: str) -> None:
        raise WorkflowError(f"submitit-{name.replace('_', '-')}: {getattr(self, name)!r} given, allowed: {allowed}.")

    @property
    def requeue_codes(self) -> list[int]:
        return [int(code) for code in str(self.requeue_exit_codes or "").split(",") if code.strip()]
