"""What Snakemake calls: jobs in, successes and failures out. Everything else happens at the desk."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from snakemake.settings.enums import Quietness
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings
from snakemake_interface_executor_plugins.utils import encode_target_jobs_cli_args, format_cli_arg

from snakemake_executor_plugin_submitit import files, local, work
from snakemake_executor_plugin_submitit.batches import SlurmBackend
from snakemake_executor_plugin_submitit.desk import Desk, Item
from snakemake_executor_plugin_submitit.environment import chosen
from snakemake_executor_plugin_submitit.ledger import HeadLock, Taken
from snakemake_executor_plugin_submitit.truth import Fate, Limits

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,  # values go by the environment: a command line can be read by everybody
    auto_deploy_default_storage_provider=False,
    pass_group_args=True,
)


def _members(job: Any) -> list[Any]:
    return list(job.jobs) if job.is_group() else [job]


def _last_words(path: str) -> str:
    words = files.tail(path, 10)
    return f"Last lines of {path}:\n{words}\n" if words else ""


class Executor(RemoteExecutor):
    desk: Desk | None = None  # the base class starts its status thread before __post_init__

    def __post_init__(self) -> None:
        settings = self.workflow.executor_settings
        base = Path(os.path.expandvars(settings.folder)).expanduser().absolute()
        self.head = HeadLock(base / "head.lock")
        self._keep_out(base)
        declared = self.envvars()
        if settings.cluster == "local":
            more = ",".join(filter(None, ("TMPDIR", settings.env)))
            cores = settings.local_cores or local.cores()
            env = chosen(os.environ, more, declared)
            machine = local.Machine(base / "jobs", cores, local.gpus(settings.local_gpus, os.environ), env)
            backend: Any = local.LocalBackend(machine)
        else:
            backend = SlurmBackend(base, settings, chosen(os.environ, settings.env, declared), self.logger.info)
        limits = Limits(
            files=min(30.0, max(10.0, self.workflow.execution_settings.latency_wait)),
            lost=settings.lost_seconds if settings.cluster == "slurm" else 5.0,
            away=settings.return_minutes * 60,
        )
        self.items: dict[Any, Item] = {}  # by Snakemake's job
        self.desk = Desk(base, settings, limits, os.getcwd(), backend, self.logger.info)

    def _keep_out(self, base: Path) -> None:
        """One head per folder. Its lock ends with the process, so nothing stale is ever left to be removed."""
        try:
            self.head.acquire()
        except Taken as other:
            self.wait = False
            raise WorkflowError(
                f"Another Snakemake works in this folder ({other}; lock {self.head.path}). It will submit what is "
                "missing; wait for it, or stop it first: started again, this one attaches to its jobs."
            ) from None
        except OSError as error:
            self.wait = False
            raise WorkflowError(f"{self.head.path}: cannot be locked ({error.strerror}).") from error

    # ---- in ----

    def run_job(self, job: Any) -> None:
        self.run_jobs([job])

    def run_jobs(self, jobs: list[Any]) -> None:
        attached = 0
        for job in jobs:
            self.run_job_pre(job)
            needs = work.Needs.of(job.resources, job.threads, self.workflow.executor_settings)
            item = Item(
                work.describe(job), needs.asdict(), lambda folder, job=job: self._command(job, folder), job.attempt
            )
            item.logs = [str(path) for member in _members(job) for path in member.log]
            info = SubmittedJobInfo(job=job, aux={"item": item})
            self.items[job] = item
            attached += self.desk.take(item)
            info.external_jobid = item.id
            self.report_job_submission(info)
        if attached:
            self.logger.info(f"Attached to {attached} jobs that were submitted earlier.")

    def _command(self, job: Any, folder: Path) -> str:
        self._folder = folder
        return self.format_job_exec(job)

    def get_job_args(self, job: Any, **kwargs: Any) -> str:
        """As the base class has it, but with nothing that lies in a folder which ends with this process, and naming
        the job so that the Snakemake on the node runs this one and no other.
        """
        needed = [str(file) for file in job.get_wait_for_files()]
        if len(needed) > 20:
            (self._folder / "inputs.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")
            waiting = format_cli_arg("--wait-for-files-file", str(self._folder / "inputs.txt"))
        else:
            waiting = format_cli_arg("--wait-for-files", needed, skip=not needed)
        args = f"{RealExecutor.get_job_args(self, job, cores=max(1, job.threads))} {waiting}"
        members = _members(job)
        if not any("," in str(value) for member in members for value in member.wildcards_dict.values()):
            return args
        # Snakemake writes `--target-jobs rule:name="a,b"` and reads it as name=a (9.27): say it by files instead
        named = format_cli_arg("--target-jobs", encode_target_jobs_cli_args(job.get_target_spec()))
        if named not in args or not all(member.output for member in members):
            raise WorkflowError(f"{job}: Snakemake cannot hand a wildcard with a comma to a job without output files.")
        targets = " ".join(shlex.quote(str(member.output[0])) for member in members)
        return f"{targets} {args.replace(named, '')}"

    def additional_general_args(self) -> str:
        # a rule's own `retries:` are for this process to make, each as a new job, and not for the one on the node
        return "--preemptible-rules --preemptible-retries 0"

    # ---- out ----

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        if self.desk is not None:
            await self.desk.step()
            self.next_seconds_between_status_checks = self.desk.pace()
        for info in active_jobs:
            item = info.aux["item"]
            if item.fate is None:
                yield info
                continue
            fate, message = item.fate
            info.external_jobid = item.id
            if fate is Fate.DONE:
                self.report_job_success(info)
            else:
                if Quietness.RULES in (self.workflow.output_settings.quiet or ()):
                    # `--quiet rules` keeps Snakemake's own report of a failed job to itself as well
                    logs = "".join(_last_words(path) for path in item.logs)
                    self.logger.error(f"Failed: {item.info['work']} (attempt {item.attempt})\n{message}{logs}")
                self.report_job_error(info, msg=message + "\n")

    def handle_job_success(self, job: Any) -> None:
        super().handle_job_success(job)
        self._acknowledge(job)

    def handle_job_error(self, job: Any) -> None:
        super().handle_job_error(job)
        self._acknowledge(job)

    def _acknowledge(self, job: Any) -> None:
        if (item := self.items.pop(job, None)) is not None:
            self.desk.acknowledge(item)

    # ---- away ----

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        # not `active_jobs`: that list is empty while a round of checks is under way
        if self.workflow.executor_settings.keep_jobs:
            self.desk.closing = True
            # on its way out Snakemake removes folders that are still empty, and with them the jobs' output folders
            self.workflow.dag.cleanup_workdir = lambda: None
            self.logger.info("Jobs stay in the queue; started again, Snakemake attaches to them.")
        else:
            self.desk.cancel()

    def shutdown(self) -> None:
        super().shutdown()
        with contextlib.suppress(OSError):
            self.head.release()
