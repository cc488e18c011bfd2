"""What Snakemake calls: jobs in, successes and failures out. job_manager.JobManager does everything else."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

from snakemake.common.tbdstring import TBDString
from snakemake.settings.enums import Quietness
from snakemake.target_jobs import parse_target_jobs_cli_args
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
from snakemake_interface_executor_plugins.settings import CommonSettings
from snakemake_interface_executor_plugins.utils import TargetSpec, encode_target_jobs_cli_args, format_cli_arg

from snakemake_executor_plugin_submitit.environment import job_environment
from snakemake_executor_plugin_submitit.job_manager import Backend, JobManager, TrackedJob
from snakemake_executor_plugin_submitit.job_request import ResourceRequest, describe_job
from snakemake_executor_plugin_submitit.job_state import JobOutcome, Timeouts
from snakemake_executor_plugin_submitit.json_files import tail
from snakemake_executor_plugin_submitit.ledger import AlreadyRunning, HeadLock, Ledger
from snakemake_executor_plugin_submitit.local_backend import LocalBackend, LocalMachine, available_cores, available_gpus
from snakemake_executor_plugin_submitit.resource_names import RequestError, refuse_flags, refuse_unknown
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.slurm_backend import SlurmBackend

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,  # values go by the environment: a command line can be read by everybody
    auto_deploy_default_storage_provider=False,
    pass_group_args=True,
)

CLOSE_S = 3.0


def _members(job: Any) -> list[Any]:
    return list(job.jobs) if job.is_group() else [job]


def _reads_back(spec: list[TargetSpec], encoded: list[str]) -> bool:
    """Whether Snakemake on the node will read these rules and wildcards as they are."""
    try:
        read = parse_target_jobs_cli_args(encoded)
    except ValueError:
        return False
    left, right = ([(one.rulename, dict(one.wildcards_dict)) for one in specs] for specs in (read, spec))
    return left == right


def _slurm_flags() -> dict[str, Any]:
    """What was set of snakemake-executor-plugin-slurm, by command line or profile, where that is installed as well."""
    plugins = ExecutorPluginRegistry().plugins
    if "slurm" not in plugins or Path(sys.argv[0]).name not in ("snakemake", "__main__.py"):
        return {}
    from snakemake.cli import parse_args  # which imports the plugins

    settings = plugins["slurm"].get_settings(parse_args(sys.argv[1:])[1])
    usual = vars(type(settings)())
    return {name: value for name, value in vars(settings).items() if value != usual[name]}


def _last_lines(path: str) -> str:
    lines = tail(path, 10)
    return f"Last lines of {path}:\n{lines}\n" if lines else ""


def end_local_rules() -> None:
    """SIGTERM for what Snakemake itself runs here: its processes keep it alive, and only a terminal's Ctrl-C reaches
    them. What has a session of its own, as jobs and submissions have, is left alone.
    """
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, parent, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if int(session) == os.getsid(0):
                children.setdefault(int(parent), []).append(int(path.parent.name))
    generation = [os.getpid()]
    while generation := [child for pid in generation for child in children.get(pid, ())]:
        for pid in generation:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)


def patience(settings: ExecutorSettings, latency_wait: float) -> Timeouts:
    return Timeouts(
        result=max(10.0, latency_wait),
        lost=settings.lost_seconds if settings.cluster == "slurm" else 5.0,
        away=settings.return_minutes * 60,
        blocked=settings.blocked_minutes * 60,
    )


class Executor(RemoteExecutor):
    ready = False  # the base class starts its status thread before __post_init__
    hears_sigterm = False

    def __post_init__(self) -> None:
        settings = self.workflow.executor_settings
        base = Path(os.path.expandvars(settings.folder)).expanduser().absolute()
        if settings.cluster == "slurm" and "%" in str(base):
            self.wait = False
            raise WorkflowError(f"{base}: Slurm would replace the % in the names of logs; set another submitit-folder.")
        self.head = HeadLock(base / "head.lock")
        try:
            self._check_requests()
        except RequestError as error:
            self.wait = False
            raise WorkflowError(str(error)) from None
        self._lock_folder()
        declared, ledger = self.envvars(), Ledger(base / "ledger.jsonl", self.logger.warning)
        if settings.cluster == "local":
            env = job_environment(os.environ, ",".join(filter(None, ("TMPDIR", settings.env))), declared)
            gpus = available_gpus(settings.local_gpus, os.environ)
            machine = LocalMachine(base / "jobs", settings.local_cores or available_cores(), gpus, env)
            backend: Backend = LocalBackend(machine, ledger)
        else:
            env = job_environment(os.environ, settings.env, declared)
            backend = SlurmBackend(base, settings, env, self.logger.info, ledger)
        timeouts = patience(settings, self.workflow.execution_settings.latency_wait)
        self.tracked: dict[Any, TrackedJob] = {}  # by Snakemake's job
        self.manager = JobManager(base, settings, timeouts, os.getcwd(), backend, self.logger.info)
        self.ready = True

    def _check_requests(self) -> None:
        """What the first job of each rule asks must be understood: an error before anything is sent, not a surprise."""
        refuse_flags(_slurm_flags())
        checkpoints = sorted(rule.name for rule in self.workflow.rules if rule.is_checkpoint)
        if self.workflow.group_settings.group_components and checkpoints:
            raise RequestError(
                f"--group-components and a checkpoint ({checkpoints[0]}): Snakemake 9 then puts a job into two groups, "
                "each of which would run it. Leave --group-components out; groups themselves are fine."
            )
        for job in {job.rule.name: job for job in self.dag.needrun_jobs() if not job.is_local}.values():
            try:
                self._request(job)
            except RequestError as error:
                raise RequestError(f"rule {job.rule.name}: {error}") from None

    def _request(self, job: Any) -> ResourceRequest:
        settings = self.workflow.executor_settings
        limited = {*self.workflow.global_resources, *self.workflow.resource_scopes}
        values = {name: value for name, value in job.resources.items() if not isinstance(value, TBDString)}
        refuse_unknown(values, limited, settings.ignore_resources)
        return ResourceRequest.from_resources(values, job.threads, settings)

    def _lock_folder(self) -> None:
        """One head per folder. Its lock ends with the process, so nothing stale is ever left to be removed."""
        try:
            self.head.acquire()
        except AlreadyRunning as other:
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
        self._end_on_sigterm()
        attached = 0
        for job in jobs:
            self.run_job_pre(job)
            try:
                request = self._request(job)
            except RequestError as error:  # only this job's wildcards or attempt ask so
                self.report_job_error(SubmittedJobInfo(job=job), msg=f"{error}\n")
                continue
            tracked = TrackedJob(describe_job(job), request.asdict(), partial(self._command, job), job.attempt)
            tracked.logs = [str(path) for member in _members(job) for path in member.log]
            info = SubmittedJobInfo(job=job, aux={"tracked": tracked})
            self.tracked[job] = tracked
            attached += self.manager.submit(tracked)
            info.external_jobid = tracked.id
            self.report_job_submission(info)
        if attached:
            self.logger.info(f"Attached to {attached} jobs that were submitted earlier.")

    def _end_on_sigterm(self) -> None:
        """Told to end, Snakemake waits for the jobs that run, which may be days or for ever: take it as Ctrl-C."""

        def interrupt(*_: Any) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise KeyboardInterrupt

        if not self.hears_sigterm and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, interrupt)
            self.hears_sigterm = True

    def _command(self, job: Any, folder: Path) -> str:
        return self.format_job_exec(job)

    def get_job_args(self, job: Any, **kwargs: Any) -> str:
        """As the base class has it, but with nothing that lies in a folder which ends with this process, and naming
        the job so that the Snakemake on the node runs this one and no other.
        """
        needed = [str(file) for file in job.get_wait_for_files()]
        if len(needed) > 20:
            waiting = f"--wait-for-files-file <(printf '%s\\n' {shlex.join(needed)})"  # no file, and no limit of length
        else:
            waiting = format_cli_arg("--wait-for-files", needed, skip=not needed)
        args = f"{RealExecutor.get_job_args(self, job, cores=max(1, job.threads))} {waiting}"
        spec, members = job.get_target_spec(), _members(job)
        # Snakemake writes `--target-jobs rule:name="a,b"` and reads it as name=a, and takes quotes at the ends for its
        # own (9.27): say it by files where it would not read what it wrote
        encoded = encode_target_jobs_cli_args(spec)
        if _reads_back(spec, encoded):
            return args
        named = format_cli_arg("--target-jobs", encoded)
        if named not in args or not all(member.output for member in members):
            raise WorkflowError(f"{job}: Snakemake cannot hand these wildcards to a job without output files.")
        targets = " ".join(shlex.quote(str(member.output[0])) for member in members)
        return f"{targets} {args.replace(named, '')}"

    def additional_general_args(self) -> str:
        # a rule's own `retries:` are for this process to make, each as a new job, and not for the one on the node
        return "--preemptible-rules --preemptible-retries 0"

    # ---- out ----

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        if self.ready:
            await self.manager.step()
            self.next_seconds_between_status_checks = self.manager.pace()
        for info in active_jobs:
            tracked = info.aux["tracked"]
            if tracked.outcome is None:
                yield info
                continue
            outcome, message = tracked.outcome
            info.external_jobid = tracked.id
            if outcome is JobOutcome.DONE:
                self.report_job_success(info)
            else:
                if Quietness.RULES in (self.workflow.output_settings.quiet or ()):
                    # `--quiet rules` keeps Snakemake's own report of a failed job to itself as well
                    logs = "".join(_last_lines(path) for path in tracked.logs)
                    self.logger.error(f"Failed: {tracked.info['work']} (attempt {tracked.attempt})\n{message}{logs}")
                self.report_job_error(info, msg=message + "\n")

    def handle_job_success(self, job: Any) -> None:
        super().handle_job_success(job)
        self._acknowledge(job)

    def handle_job_error(self, job: Any) -> None:
        super().handle_job_error(job)
        self._acknowledge(job)

    def _acknowledge(self, job: Any) -> None:
        if (tracked := self.tracked.pop(job, None)) is not None:
            self.manager.acknowledge(tracked)

    # ---- away ----

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        end_local_rules()
        # not `active_jobs`: that list is empty while a round of checks is under way
        if self.workflow.executor_settings.keep_jobs:
            self.manager.close()
            # on its way out Snakemake removes folders that are still empty, and with them the jobs' output folders
            self.workflow.dag.cleanup_workdir = lambda: None
            self.logger.info("Jobs stay in the queue; started again, Snakemake attaches to them.")
        else:
            self.manager.cancel_all()

    def shutdown(self) -> None:
        with self.lock:
            self.wait = False
        # as the base class does it, but without waiting for a Slurm that does not answer
        self.wait_thread.join(CLOSE_S if self.ready and self.manager.closing else None)
        shutil.rmtree(self.tmpdir, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.head.release()
