"""Jobs on a real Slurm: arrays, failures, refusals, environment; nothing lost and nothing run twice."""

import asyncio
import getpass
import os
import re
import shutil
import signal
import subprocess

import pytest
from job_driver import HANG_S, JobDriver, done, until, wait, why

from snakemake_executor_plugin_submitit.job_state import Timeouts
from snakemake_executor_plugin_submitit.json_files import read_json, write_json

pytestmark = pytest.mark.slurm


@pytest.fixture
def driver(tmp_path):
    return JobDriver(tmp_path)


def batches(driver):
    """What was given to sbatch, as folders."""
    return list((driver.folder / "ledger" / "batches").iterdir())


def kill_runner(manager, job):
    """SIGKILL for the process that would have written the result."""
    owner = manager.jobs / job.folder / "owner.json"
    wait(lambda: read_json(owner))
    os.kill(read_json(owner)["pid"], signal.SIGKILL)


def test_equal_jobs_are_one_array_and_each_has_its_own_gpu(slurm, driver):
    manager = driver.manager()
    body = f"echo $CUDA_VISIBLE_DEVICES $SLURMD_NODENAME > g$SLURM_ARRAY_TASK_ID; {until('go')}"
    jobs = driver.submit(manager, *(driver.job(f"j{i}", body, gpu=1) for i in range(4)))
    driver.step_until(manager, lambda: all(driver.starts(f"j{i}") for i in range(4)))  # all at the same time
    driver.allow()
    driver.finish(manager, jobs)
    assert done(*jobs) and len(batches(driver)) == 1
    assert len({job.id.partition("_")[0] for job in jobs}) == 1
    assert len({(driver.folder / f"g{i}").read_text() for i in range(4)}) == 4  # two nodes, two GPUs each
    assert all(driver.starts(f"j{i}") == driver.ends(f"j{i}") == 1 for i in range(4))


def test_what_is_asked_arrives_and_jobs_that_ask_differently_share_no_array(slurm, driver):
    """Each job writes what Slurm says it was given; its memory with 200 MB for its own Snakemake."""
    fields = "$SLURM_CPUS_PER_TASK $SLURMD_NODENAME ${CUDA_VISIBLE_DEVICES-none} $SLURM_MEM_PER_NODE"
    see = f"echo {fields} $(scontrol show -o job $SLURM_JOB_ID | grep -oE ' (Nice|TimeLimit|Comment)=[^ ]*')"
    asked = {
        "plain": ({}, "1 n. none 500 Nice=0 TimeLimit=00:30:00"),
        "extra": (
            {"slurm_extra": "--nice 150 -w n2 --comment x"},
            "1 n2 none 500 Nice=150 TimeLimit=00:30:00 Comment=x",
        ),
        "without": ({"exclude": "n2", "runtime": 0}, "1 n1 none 500 Nice=0 TimeLimit=00:01:00"),
        "on": ({"nodelist": "n2", "cpus_per_task": 3}, "3 n2 none 500 Nice=0 TimeLimit=00:30:00"),
        "gres": ({"gres": "gpu:2"}, "1 n. 0,1 500 Nice=0 TimeLimit=00:30:00"),
        "model": ({"gpu": "fake:2"}, "1 n. 0,1 500 Nice=0 TimeLimit=00:30:00"),
        "shard": ({"gres": "shard:2"}, "1 n. [01] 500 Nice=0 TimeLimit=00:30:00"),
        "per_gpu": ({"gpu": 2, "cpus_per_gpu": 1, "mem_mb_per_gpu": 200}, "2 n. 0,1 600 Nice=0 TimeLimit=00:30:00"),
    }
    jobs = [driver.job(name, f"{see} > {name}", **resources) for name, (resources, _) in asked.items()]
    driver.run(*jobs)
    assert done(*jobs), [job.outcome for job in jobs]
    assert len(batches(driver)) == len(jobs)
    for name, (_, given) in asked.items():
        assert re.fullmatch(given, (driver.folder / name).read_text().strip()), (driver.folder / name).read_text()


def test_more_jobs_than_an_array_may_hold(slurm, driver):
    manager = driver.manager()
    jobs = driver.submit(manager, *(driver.job(f"j{i}", "true") for i in range(24)))
    driver.finish(manager, jobs)
    assert done(*jobs) and len(batches(driver)) == 3  # MaxArraySize is 11
    assert all(driver.starts(f"j{i}") == driver.ends(f"j{i}") == 1 for i in range(24))


def test_a_failure_says_where_and_why(slurm, driver):
    bad, good = driver.run(driver.job("bad", "echo no such split; exit 3"), driver.job("good", "true"))
    assert done(good)
    assert "exit code 3" in why(bad) and "no such split" in why(bad)
    assert re.search(r"Slurm job \d+_0: ", why(bad)) and "job/name=bad/1/log.txt" in why(bad).replace(
        "job/bad", "job/name=bad"
    )


def test_what_slurm_refuses_fails_at_once_with_its_words(slurm, driver):
    jobs = [driver.job("nowhere", "true", slurm_partition="nowhere"), driver.job("huge", "true", gpu=99)]
    jobs.append(driver.job("long", "true", slurm_qos="short"))  # its words also name the submit limit, which passes
    jobs.append(driver.job("wide", "true", slurm_qos="short", runtime=1, threads=3))
    jobs.append(driver.job("odd", "true", constraint="nosuch"))
    driver.run(*jobs, driver.job("good", "true"))
    assert "QOSMaxCpuPerJobLimit" in why(jobs[3]) and "Invalid feature specification" in why(jobs[4])
    assert "QOSMaxWallDurationPerJobLimit" in why(jobs[2]) and not any("trying again" in one for one in driver.logged)
    assert "invalid partition" in why(jobs[0]).lower() and "sbatch" in why(jobs[0])
    assert "sbatch" in why(jobs[1])
    assert driver.starts("nowhere") == driver.starts("huge") == 0 and driver.ends("good") == 1


def test_over_its_memory(slurm, driver):
    hog = driver.job("hog", "exec python3 -c 'import time; x = b\"x\" * (900 << 20); time.sleep(1000)'", mem_mb=300)
    twin = driver.job("twin", "true", mem_mb=300)
    driver.run(hog, twin)
    assert "Over its memory (mem_mb=300, and 200 MB for" in why(hog) and "attempt" in why(hog)
    assert done(twin) and hog.id.endswith("_0")  # a task of an array


@pytest.mark.slow
def test_killed_without_a_last_word(slurm, driver):
    """No result will ever come: the queue says so, and nobody waits for ever."""
    manager = driver.manager()
    (job,) = driver.submit(manager, driver.job("j", "sleep 1000"))
    driver.step_until(manager, lambda: driver.starts("j"))
    kill_runner(manager, job)
    driver.finish(manager, [job])
    assert "FAILED" in why(job)


def test_killed_without_a_last_word_and_without_accounting(bare, driver):
    manager = driver.manager()
    job, other = driver.submit(manager, driver.job("j", "sleep 1000"), driver.job("other", "true"))
    driver.step_until(manager, lambda: driver.starts("j"))
    kill_runner(manager, job)
    driver.finish(manager, [job, other])
    assert "FAILED" in why(job) and done(other)


@pytest.mark.slow
def test_a_waiting_task_of_an_array_cancelled_by_somebody(slurm, driver):
    """It vanishes from accounting, and is a failure all the same, not a wait without end."""
    manager = driver.manager()
    jobs = [driver.job(f"j{i}", until("go"), threads=4) for i in range(3)]
    driver.submit(manager, *jobs)
    driver.step_until(manager, lambda: all(job.id for job in jobs) and sum(map(driver.starts, ("j0", "j1", "j2"))) == 2)
    waiting = next(job for i, job in enumerate(jobs) if not driver.starts(f"j{i}"))
    slurm.run("scancel", waiting.id)
    driver.step_until(manager, lambda: waiting.outcome)
    driver.allow()
    driver.finish(manager, jobs)
    assert "CANCELLED" in why(waiting) or "gone from the queue" in why(waiting)
    assert done(*(job for job in jobs if job is not waiting))


def test_the_callers_slurm_variables_do_not_leak_and_secrets_are_in_no_file(slurm, driver, monkeypatch):
    for name, value in {"SBATCH_PARTITION": "high", "SBATCH_TIMELIMIT": "1", "SLURM_NTASKS": "9"}.items():
        monkeypatch.setenv(name, value)
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MY_TOKEN", "s3cret-value")
    monkeypatch.setenv("OTHER", "not chosen")
    driver.settings.env = "MY_*"
    body = 'echo "$SLURM_JOB_PARTITION $SLURM_NTASKS ${OTHER-unset} ${#MY_TOKEN} $(command -v python)" > seen'
    (job,) = driver.run(driver.job("j", body))
    assert done(job)
    python = subprocess.check_output(["bash", "-c", "command -v python"], text=True).strip()
    assert (driver.folder / "seen").read_text().strip() == f"main 1 unset 12 {python}"
    files = [path for path in (driver.folder / "ledger").rglob("*") if path.is_file()]
    assert {"result.json", "log.txt", "batch.json", "ledger.jsonl"} <= {path.name for path in files}
    texts = [path.read_bytes() for path in files]
    assert not any(b"s3cret-value" in text for text in texts)


def test_a_user_is_known_by_number_not_by_name(slurm, tmp_path, monkeypatch):
    """Where LOGNAME is somebody else's, a running job is not gone from the queue."""
    monkeypatch.setenv("LOGNAME", "daemon")
    driver = JobDriver(tmp_path, Timeouts(lost=0))
    manager = driver.manager()
    (job,) = driver.submit(manager, driver.job("j", until("go")))
    driver.step_until(manager, lambda: job.outcome or (job.queue_entry and job.queue_entry.state == "RUNNING"))
    driver.allow()
    driver.finish(manager, [job])
    assert done(job) and driver.starts("j") == 1


@pytest.mark.skipif(getpass.getuser() != "root", reason="only root can submit as another user")
def test_another_users_jobs_are_nothing_to_us(slurm, driver):
    theirs = slurm.run(
        "sbatch", "--parsable", "--uid=nobody", "--chdir=/tmp", "--output=/dev/null", "--wrap=sleep 1000"
    )
    wait(lambda: slurm.run("squeue", "-h", "-o", "%T") == "RUNNING")
    manager = driver.manager()
    quick, _ = driver.submit(manager, driver.job("quick", "true"), driver.job("long", "sleep 1000"))
    driver.step_until(manager, lambda: quick.outcome and driver.starts("long"))
    manager.cancel_all(HANG_S)
    assert done(quick) and slurm.run("squeue", "-h", "-o", "%A %T") == f"{theirs} RUNNING"


def test_a_number_that_slurm_gives_again(slurm, tmp_path):
    """After a cluster was set up anew, its jobs have numbers that stand in the ledger with other work, ended and
    open: nothing of it is taken for the new job's, and the new job is not taken for the old work."""
    driver = JobDriver(tmp_path, Timeouts(result=3, lost=2))
    (first,) = driver.run(driver.job("first", "true"))
    again = str(int(first.id) + 1)
    manager = driver.manager()
    for name, outcome in (("old", "success"), ("lost", None)):  # as an earlier head left them behind
        line = {"folder": f"job/{name}/1", "work": f"job/{name}", "name": "job", "digest": "same"}
        (one,) = manager.ledger.prepared(f"job.{name}", [line])
        manager.ledger.submitted(f"job.{name}", again)
        if outcome:
            write_json(manager.jobs / one.folder / "result.json", {"outcome": outcome, "job": again})
    new, lost = driver.job("new", f"{until('go')}; exit 3"), driver.job("lost", "true")
    assert not manager.submit(new)
    driver.step_until(
        manager, lambda: driver.starts("new") and new.id
    )  # it may start before sbatch has said its number
    assert new.id == again
    assert manager.submit(lost)
    driver.step_until(manager, lambda: lost.outcome)
    assert "gone from the queue" in why(lost)
    asyncio.run(manager.backend.cancel([lost.submission]))  # takes back what is its own, and that is nothing
    assert slurm.run("squeue", "-h", "-j", again, "-o", "%T") == "RUNNING"
    driver.allow()
    driver.finish(manager, [new])
    assert "exit code 3" in why(new)


@pytest.mark.slow
def test_the_controller_is_away_at_submission(slurm, driver):
    driver.run(driver.job("first", "true"))  # in a new folder the queue is asked for jobs of a lost ledger before
    slurm.terminate("slurmctld")
    manager = driver.manager()
    jobs = driver.submit(manager, driver.job("a", "true"), driver.job("b", "true"))
    driver.step_until(manager, lambda: list((driver.folder / "ledger" / "batches").glob("*/helper.json")))
    slurm.start_controller()
    driver.finish(manager, jobs)
    assert done(*jobs) and driver.starts("a") == driver.starts("b") == 1


@pytest.mark.parametrize("accepted", [False, True])
def test_sbatch_gives_no_proper_answer(slurm, driver, tmp_path, monkeypatch, accepted):
    """Refused for the moment: tried again. Accepted, but the answer was lost: found in the queue, not sent twice."""
    real = shutil.which("sbatch")
    (tmp_path / "bin").mkdir()
    first = f'{real} "$@"' if accepted else "true"
    (tmp_path / "bin" / "sbatch").write_text(
        f"""#!/bin/bash
if [ -e {tmp_path}/asked ]; then exec {real} "$@"; fi
touch {tmp_path}/asked; {first} > /dev/null
echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)" >&2; exit 1
"""
    )
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{slurm.env['PATH']}")
    manager = driver.manager()
    jobs = driver.submit(manager, driver.job("a", "true"), driver.job("b", "true"))
    driver.finish(manager, jobs)
    assert done(*jobs) and driver.starts("a") == driver.starts("b") == 1
    assert any("trying again" in line for line in driver.logged) is not accepted


@pytest.mark.slow
def test_the_controller_is_restarted_while_jobs_run(slurm, driver):
    manager = driver.manager()
    jobs = driver.submit(manager, *(driver.job(f"j{i}", until("go")) for i in range(3)))
    driver.step_until(manager, lambda: all(driver.starts(f"j{i}") for i in range(3)))
    slurm.terminate("slurmctld")
    manager.interval = 0
    driver.step_until(manager, lambda: any("No answer" in line for line in driver.logged))
    slurm.start_controller()
    driver.allow()
    driver.finish(manager, jobs)
    assert done(*jobs)
    assert all(driver.starts(f"j{i}") == driver.ends(f"j{i}") == 1 for i in range(3))


@pytest.mark.slow
def test_accounting_is_down(slurm, driver):
    """Success, failure and death without a word are all told apart without it."""
    slurm.terminate("slurmdbd")
    try:
        manager = driver.manager()
        good, bad, dead = jobs = [
            driver.job("good", "true"),
            driver.job("bad", "exit 4"),
            driver.job("dead", "sleep 1000"),
        ]
        driver.submit(manager, *jobs)
        driver.step_until(manager, lambda: driver.starts("dead"))
        kill_runner(manager, dead)
        driver.finish(manager, jobs)
    finally:
        slurm.start_dbd()
    assert done(good) and "exit code 4" in why(bad) and "FAILED" in why(dead)


def test_cancel_leaves_no_process_and_writes_no_checkpoint(slurm, driver):
    manager = driver.manager()
    body = "trap 'touch checkpoint' USR2; trap '' TERM; sleep 1000 & wait; wait"
    driver.submit(manager, *(driver.job(f"j{i}", body) for i in range(3)))
    driver.step_until(manager, lambda: all(driver.starts(f"j{i}") for i in range(3)))
    manager.cancel_all(HANG_S)
    assert not slurm.run("squeue", "-h") and not (driver.folder / "checkpoint").exists()
    wait(lambda: not slurm.processes())
    again = driver.manager()  # what was cancelled is not attached to
    assert not again.submit(driver.job("j0", "true"))
    assert again.backend.waiting
