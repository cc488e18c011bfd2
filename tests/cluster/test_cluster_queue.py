"""Slurm's commands that are slow, absent or silent: pretended ones, first in PATH."""

import asyncio

import pytest
from job_driver import JobDriver, why

from petvr.commands import jobs as jobs_command
from snakemake_executor_plugin_submitit import slurm_queue
from snakemake_executor_plugin_submitit.executor import patience
from snakemake_executor_plugin_submitit.job_state import Timeouts
from snakemake_executor_plugin_submitit.json_files import write_json
from snakemake_executor_plugin_submitit.settings import ExecutorSettings

NEVER = "exec sleep 1000"


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def pretend(**commands):
        for name, body in commands.items():
            path = tmp_path / "bin" / name
            path.with_suffix(".new").write_text(f"#!/bin/sh\n{body}\n")
            path.with_suffix(".new").chmod(0o755)
            path.with_suffix(".new").rename(path)

    return pretend


def test_a_sacct_that_does_not_answer_holds_nothing_up(pretend, monkeypatch):
    monkeypatch.setattr(slurm_queue, "HISTORY_S", 0.5)
    asked, ask = [], slurm_queue.run_slurm_command

    async def counted(*command, **options):
        asked.append(command[0])
        return await ask(*command, **options)

    monkeypatch.setattr(slurm_queue, "run_slurm_command", counted)
    pretend(squeue="echo '7|RUNNING|None|n1|main|a'", sacct=NEVER)
    queue = slurm_queue.SlurmQueue()
    entries = asyncio.run(queue.poll([("7", "a"), ("8", "b")]))
    assert [one.state for one in entries.values()] == ["RUNNING"]
    queue.no_history_before += 1000
    asyncio.run(queue.poll([("8", "b")]))
    assert asked == ["squeue", "sacct", "squeue"]  # it is left alone for a while


def test_no_sacct_and_one_without_a_database_are_the_same(pretend):
    for sacct in (None, "echo 'Slurm accounting storage is disabled' >&2; exit 1"):
        pretend(squeue="echo '7|PENDING|Priority||main|a'", **({"sacct": sacct} if sacct else {}))
        entries = asyncio.run(slurm_queue.SlurmQueue().poll([("7", "a"), ("8", "b")]))
        assert list(entries) == [("7", "a")]


def submitted(driver, manager):
    """A job that an earlier head gave to Slurm, attached to."""
    entry = {"folder": "job/a/1", "work": "job/a", "name": "job", "digest": "same"}
    manager.ledger.prepared("job.x", [entry])
    manager.ledger.submitted("job.x", "7")
    job = driver.job("a", "true")
    assert manager.submit(job)
    return job


def test_a_controller_that_is_away_is_no_evidence_however_long(pretend, tmp_path):
    pretend(squeue="echo 'Unable to contact slurm controller' >&2; exit 1", sacct="true", scontrol="true")
    driver = JobDriver(tmp_path / "jobs", Timeouts(lost=0, result=0))
    manager = driver.manager()
    job = submitted(driver, manager)
    for _ in range(5):
        manager.last_poll = -1000.0
        asyncio.run(manager.step())
    assert job.outcome is None and len([line for line in driver.logged if "No answer from Slurm" in line]) == 1
    pretend(squeue="true")
    manager.last_poll = -1000.0
    asyncio.run(manager.step())
    assert "gone from the queue" in why(job) and "Slurm answers again." in driver.logged


@pytest.mark.slow
def test_cancelling_ends_though_slurm_is_silent_and_jobs_are_told_by_a_file(pretend, tmp_path):
    pretend(squeue=NEVER, scancel=NEVER)
    driver = JobDriver(tmp_path / "jobs")
    manager = driver.manager()
    submitted(driver, manager)
    manager.cancel_all(0.5)
    assert (manager.jobs / "job" / "a" / "1" / "cancel").exists()
    assert any("Slurm does not answer" in line for line in driver.logged)


def test_a_federation_is_refused(pretend, tmp_path):
    """A real one leaves its traces in the accounting of the Slurm that the other tests use."""
    federation = "Federation: several\\nSelf:       test:127.0.0.1:6817 ID:1 FedState:ACTIVE Features:"
    pretend(squeue="true", scontrol=f"printf '{federation}'", sbatch=f"touch {tmp_path}/sent")
    driver = JobDriver(tmp_path / "jobs")
    (job,) = driver.run(driver.job("a", "true"))
    assert "in the federation several" in why(job) and not (tmp_path / "sent").exists()


def test_latency_wait_is_waited_for_in_full():
    assert patience(ExecutorSettings(), 120).result == 120


def test_a_node_whose_clock_is_ahead_has_worked_no_negative_time(tmp_path):
    driver = JobDriver(tmp_path)
    manager = driver.manager()
    (one,) = manager.ledger.prepared("b", [{"folder": "job/a/1", "work": "job/a", "name": "job", "digest": "d"}])
    write_json(manager.jobs / one.folder / "owner.json", {"started": 1e11, "starts": 1})
    (row,) = jobs_command.list_jobs(tmp_path / "ledger")
    assert row["state"] == "running" and row["seconds"] == 0
