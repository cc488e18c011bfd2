"""What an earlier version left behind: its ledger, its job files, and jobs in the queue that start it by its old name.

ledger_of_0_1.json has the files of a head that was killed, written by the version before modules and classes were
renamed: one job done and one failed, one that left with a checkpoint, one that waited, and an array in Slurm's queue.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from job_driver import JobDriver, done

from petvr.commands import jobs as jobs_command
from snakemake_executor_plugin_submitit.ledger import Ledger

FILES = json.loads(Path(__file__).with_name("ledger_of_0_1.json").read_text())


@pytest.fixture
def left_behind(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "ledger" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("@FOLDER@", str(tmp_path)))
    for name in ("checkpoint", "out/done"):  # what the jobs themselves wrote
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_new_head_attaches_and_each_job_goes_on(left_behind):
    driver = JobDriver(left_behind, cluster="local")
    manager = driver.manager()
    jobs = [driver.job(name, "echo not the submitted command; exit 1") for name in ("done", "left", "waiting")]
    assert [manager.submit(job) for job in jobs] == [True, True, True]
    driver.finish(manager, jobs)
    assert done(*jobs) and [driver.starts(name) for name in ("done", "left", "waiting")] == [0, 1, 1]
    assert not manager.submit(driver.job("failed", "true"))  # its failure was known: it is tried again


def test_tasks_of_an_array_have_their_numbers_and_start_by_the_old_name(left_behind):
    latest = Ledger(left_behind / "ledger" / "ledger.jsonl").latest
    assert [latest[f"job/task{i}"].id for i in range(2)] == ["4711_0", "4711_1"]
    (batch,) = (left_behind / "ledger" / "batches").iterdir()
    driver = JobDriver(left_behind)
    for task in ("0", "1"):
        command = [sys.executable, "-u", "-m", "snakemake_executor_plugin_submitit.job", str(batch)]
        subprocess.run(command, env={**os.environ, "SLURM_ARRAY_TASK_ID": task}, check=True)
    assert [driver.ends(f"task{i}") for i in range(2)] == [1, 1]


def test_petvr_jobs_lists_them(left_behind):
    states = {row["job"]: row["state"] for row in jobs_command.list_jobs(left_behind / "ledger")}
    assert states == {
        "job done": "done",
        "job failed": "failed",
        "job left": "requeued",
        "job waiting": "queued",
        "job task0": "queued",
        "job task1": "queued",
    }
