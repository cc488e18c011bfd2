"""The ledger or the whole folder is lost while jobs run, the disk is full, one file is made by two jobs: nothing runs
twice at once, and nothing fails for it."""

import os
import shutil
import subprocess

import pytest
from job_driver import JobDriver, done, until, wait

from snakemake_executor_plugin_submitit.job_state import Timeouts

pytestmark = pytest.mark.slurm
ALONE = "exec 9> lock-{0}; flock -n 9 || touch twice-{0}\n"  # two at once leave a trace


def running(driver, manager, names):
    driver.step_until(manager, lambda: all(driver.starts(name) for name in names))


def test_the_ledger_is_lost_while_jobs_run(slurm, tmp_path):
    """Jobs of an array, a single one and one that waits are attached to by what their own files say, and their
    numbers found where sbatch's answers are lost as well."""
    driver = JobDriver(tmp_path)
    manager = driver.manager()
    bodies = {name: ALONE.format(name) + until("go") for name in ("a", "b", "single", "waits")}
    asked = {"single": {"threads": 2}, "waits": {"slurm_extra": "--hold"}}
    jobs = [driver.job(name, body, **asked.get(name, {})) for name, body in bodies.items()]
    driver.submit(manager, *jobs)
    running(driver, manager, ["a", "b", "single"])
    driver.step_until(manager, lambda: all(job.id for job in jobs))
    (tmp_path / "ledger" / "ledger.jsonl").unlink()
    for answer in (tmp_path / "ledger" / "batches").glob("*/submitted.json"):
        answer.unlink()
    again = driver.manager()
    assert any("4 jobs it does not know are known by their own files" in line for line in driver.logged)
    new = [driver.job(name, body, **asked.get(name, {})) for name, body in bodies.items()]
    assert [again.submit(job) for job in new] == [True] * 4
    driver.step_until(again, lambda: [job.id for job in new] == [job.id for job in jobs])
    slurm.run("scontrol", "release", new[3].id)
    driver.allow()
    driver.finish(again, new)
    assert done(*new) and [driver.starts(name) for name in bodies] == [1] * 4
    assert not list(tmp_path.glob("twice-*"))


def test_all_files_are_lost_while_jobs_run(slurm, tmp_path):
    """Then the queue still knows whose they are: they are taken back before anything is sent."""
    driver = JobDriver(tmp_path)
    manager = driver.manager()
    jobs = driver.submit(manager, *(driver.job(name, ALONE.format(name) + until("go")) for name in ("a", "b")))
    running(driver, manager, ["a", "b"])
    driver.step_until(manager, lambda: all(job.id for job in jobs))
    shutil.rmtree(tmp_path / "ledger")
    again = driver.manager()
    new = driver.submit(again, *(driver.job(name, ALONE.format(name)) for name in ("a", "b")))
    driver.finish(again, new)
    assert done(*new) and [driver.starts(name) for name in "ab"] == [2, 2] and not list(tmp_path.glob("twice-*"))
    assert any("2 Slurm jobs of this folder are in no file of it" in line for line in driver.logged)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_stops_nothing_for_good_and_burns_no_attempt(slurm, tmp_path):
    """The ledger, the jobs' files, their logs and results lie on a disk that is full at submission and at the end."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=500", "tmpfs", str(disk)], check=True)
    try:
        driver = JobDriver(disk, Timeouts(result=1, lost=12))
        driver.logged = LogThatMakesRoom(disk / "ballast")
        fill(disk / "ballast")
        manager = driver.manager()
        (job,) = driver.submit(manager, driver.job("a", until(tmp_path / "go")))  # told, and room is made
        assert any("waiting for room" in line for line in driver.logged)
        driver.step_until(manager, lambda: driver.starts("a"))
        fill(disk / "ballast")
        (tmp_path / "go").touch()
        driver.finish(manager, [job])
        assert done(job) and job.attempt == 1 and driver.ends("a") == 1
        assert any("A disk is full: it is submitted again" in line for line in driver.logged)
    finally:
        wait(lambda: subprocess.run(["umount", str(disk)], capture_output=True).returncode == 0)


class LogThatMakesRoom(list):
    """Somebody reads it, and deletes something where a disk is full."""

    def __init__(self, ballast):
        super().__init__()
        self.ballast = ballast

    def append(self, line):
        super().append(line)
        if "disk is full" in line or "waiting for room" in line:
            self.ballast.unlink(missing_ok=True)


def fill(path):
    with open(path, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError:
            return
