"""Jobs on a real Slurm: arrays, failures, refusals, environment; nothing lost and nothing run twice."""

import getpass
import os
import re
import shutil
import signal
import subprocess

import pytest
from desk_driver import Bench, done, wait, why

from snakemake_executor_plugin_submitit import files
from snakemake_executor_plugin_submitit.truth import Limits

pytestmark = pytest.mark.slurm


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def kill_runner(desk, job):
    """SIGKILL for the process that would have written the result."""
    owner = desk.jobs / job.folder / "owner.json"
    wait(lambda: files.read(owner))
    os.kill(files.read(owner)["pid"], signal.SIGKILL)


def test_equal_jobs_are_one_array_and_each_has_its_own_gpu(slurm, bench):
    desk = bench.desk()
    jobs = [
        bench.item(f"j{i}", f"echo $CUDA_VISIBLE_DEVICES $SLURMD_NODENAME > g{i}; sleep 3", gpu=1) for i in range(4)
    ]
    bench.take(desk, *jobs)
    bench.finish(desk, jobs)
    assert done(*jobs) and desk.backend.sent == 1
    assert len({job.id.partition("_")[0] for job in jobs}) == 1
    assert len({(bench.folder / f"g{i}").read_text() for i in range(4)}) == 4  # two nodes, two GPUs each
    assert all(bench.starts(f"j{i}") == bench.ends(f"j{i}") == 1 for i in range(4))


def test_more_jobs_than_an_array_may_hold(slurm, bench):
    desk = bench.desk()
    jobs = bench.take(desk, *(bench.item(f"j{i}", "true") for i in range(24)))
    bench.finish(desk, jobs, 120)
    assert done(*jobs) and desk.backend.sent == 3  # MaxArraySize is 11
    assert all(bench.starts(f"j{i}") == bench.ends(f"j{i}") == 1 for i in range(24))


def test_a_failure_says_where_and_why(slurm, bench):
    bad, good = bench.run(bench.item("bad", "echo no such split; exit 3"), bench.item("good", "true"))
    assert done(good)
    assert "exit code 3" in why(bad) and "no such split" in why(bad)
    assert re.search(r"Slurm job \d+_0: ", why(bad)) and "job/name=bad/1/log.txt" in why(bad).replace(
        "job/bad", "job/name=bad"
    )


def test_what_slurm_refuses_fails_at_once_with_its_words(slurm, bench):
    jobs = [bench.item("nowhere", "true", slurm_partition="nowhere"), bench.item("huge", "true", gpu=99)]
    bench.run(*jobs, bench.item("good", "true"))
    assert "invalid partition" in why(jobs[0]).lower() and "sbatch" in why(jobs[0])
    assert "sbatch" in why(jobs[1])
    assert bench.starts("nowhere") == bench.starts("huge") == 0 and bench.ends("good") == 1


def test_over_its_memory(slurm, bench):
    hog = bench.item("hog", "exec python3 -c 'import time; x = b\"x\" * (900 << 20); time.sleep(60)'", mem_mb=300)
    bench.run(hog)
    assert "memory" in why(hog)


@pytest.mark.slow
def test_killed_without_a_last_word(slurm, bench):
    """No result will ever come: the queue says so, and nobody waits for ever."""
    desk = bench.desk()
    (job,) = bench.take(desk, bench.item("j", "sleep 100"))
    bench.rounds(desk, lambda: bench.starts("j"))
    kill_runner(desk, job)
    bench.finish(desk, [job])
    assert "FAILED" in why(job)


def test_killed_without_a_last_word_and_without_accounting(bare, bench):
    desk = bench.desk()
    job, other = bench.take(desk, bench.item("j", "sleep 100"), bench.item("other", "true"))
    bench.rounds(desk, lambda: bench.starts("j"))
    kill_runner(desk, job)
    bench.finish(desk, [job, other])
    assert "FAILED" in why(job) and done(other)


@pytest.mark.slow
def test_a_waiting_task_of_an_array_cancelled_by_somebody(slurm, bench):
    """It vanishes from accounting, and is a failure all the same, not a wait without end."""
    desk = bench.desk()
    jobs = [bench.item(f"j{i}", "sleep 4", threads=4) for i in range(3)]
    bench.take(desk, *jobs)
    bench.rounds(desk, lambda: all(job.id for job in jobs) and sum(bench.starts(f"j{i}") for i in range(3)) == 2)
    waiting = next(job for i, job in enumerate(jobs) if not bench.starts(f"j{i}"))
    slurm.run("scancel", waiting.id)
    bench.finish(desk, jobs)
    assert "CANCELLED" in why(waiting) or "gone from the queue" in why(waiting)
    assert done(*(job for job in jobs if job is not waiting))


def test_the_callers_slurm_variables_do_not_leak_and_secrets_are_in_no_file(slurm, bench, monkeypatch):
    for name, value in {"SBATCH_PARTITION": "high", "SBATCH_TIMELIMIT": "1", "SLURM_NTASKS": "9"}.items():
        monkeypatch.setenv(name, value)
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MY_TOKEN", "s3cret-value")
    monkeypatch.setenv("OTHER", "not chosen")
    bench.settings.env = "MY_*"
    body = 'echo "$SLURM_JOB_PARTITION $SLURM_NTASKS ${OTHER-unset} ${#MY_TOKEN} $(command -v python)" > seen'
    (job,) = bench.run(bench.item("j", body))
    assert done(job)
    python = subprocess.check_output(["bash", "-c", "command -v python"], text=True).strip()
    assert (bench.folder / "seen").read_text().strip() == f"main 1 unset 12 {python}"
    texts = [path.read_bytes() for path in (bench.folder / "ledger").rglob("*") if path.is_file()]
    assert len(texts) > 8 and not any(b"s3cret-value" in text for text in texts)


@pytest.mark.skipif(getpass.getuser() != "root", reason="only root can submit as another user")
def test_another_users_jobs_are_nothing_to_us(slurm, bench):
    theirs = slurm.run("sbatch", "--parsable", "--uid=nobody", "--chdir=/tmp", "--output=/dev/null", "--wrap=sleep 60")
    desk = bench.desk()
    quick, _ = bench.take(desk, bench.item("quick", "true"), bench.item("long", "sleep 100"))
    bench.rounds(desk, lambda: quick.fate and bench.starts("long"))
    desk.cancel()
    assert done(quick) and slurm.run("squeue", "-h", "-o", "%A %T") == f"{theirs} RUNNING"


def test_a_number_that_slurm_gives_again(slurm, tmp_path):
    """After a cluster was set up anew, its jobs have numbers that stand in the ledger with other work, ended and
    open: nothing of it is taken for the new job's, and the new job is not taken for the old work."""
    bench = Bench(tmp_path, Limits(files=3, settle=8, lost=2, away=6))
    (first,) = bench.run(bench.item("first", "true"))
    again = str(int(first.id) + 1)
    desk = bench.desk()
    for name, outcome in (("old", "success"), ("lost", None)):  # as an earlier head left them behind
        line = {"folder": f"job/{name}/1", "work": f"job/{name}", "name": "job", "digest": "same"}
        (one,) = desk.ledger.prepared(f"job.{name}", [line])
        desk.ledger.submitted(f"job.{name}", again)
        if outcome:
            files.write(desk.jobs / one.folder / "result.json", {"outcome": outcome, "job": again})
    new, lost = bench.item("new", "while [ ! -e go ]; do sleep 0.2; done; exit 3"), bench.item("lost", "true")
    assert not desk.take(new)
    bench.rounds(desk, lambda: bench.starts("new") and new.id)  # it may start before sbatch has said its number
    assert new.id == again
    assert desk.take(lost)
    bench.rounds(desk, lambda: lost.fate)
    assert "gone from the queue" in why(lost)
    desk.backend.abandon(lost.submission)  # takes back what is its own, and that is nothing
    assert slurm.run("squeue", "-h", "-j", again, "-o", "%T") == "RUNNING"
    (bench.folder / "go").touch()
    bench.finish(desk, [new])
    assert "exit code 3" in why(new)


@pytest.mark.slow
def test_the_controller_is_away_at_submission(slurm, bench):
    slurm.terminate("slurmctld")
    desk = bench.desk()
    jobs = bench.take(desk, bench.item("a", "true"), bench.item("b", "true"))
    bench.rounds(desk, lambda: list((bench.folder / "ledger" / "batches").glob("*/helper.json")))
    slurm.start_controller()
    bench.finish(desk, jobs, 120)
    assert done(*jobs) and bench.starts("a") == bench.starts("b") == 1


@pytest.mark.parametrize("accepted", [False, True])
def test_sbatch_gives_no_proper_answer(slurm, bench, tmp_path, monkeypatch, accepted):
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
    desk = bench.desk()
    jobs = bench.take(desk, bench.item("a", "true"), bench.item("b", "true"))
    bench.finish(desk, jobs)
    assert done(*jobs) and bench.starts("a") == bench.starts("b") == 1
    assert any("trying again" in line for line in bench.said) is not accepted


@pytest.mark.slow
def test_the_controller_is_restarted_while_jobs_run(slurm, bench):
    desk = bench.desk()
    jobs = bench.take(desk, *(bench.item(f"j{i}", "sleep 6") for i in range(3)))
    bench.rounds(desk, lambda: all(bench.starts(f"j{i}") for i in range(3)))
    slurm.terminate("slurmctld")
    desk.interval = 0
    bench.rounds(desk, lambda: any("No answer" in line for line in bench.said), 90)
    slurm.start_controller()
    bench.finish(desk, jobs, 90)
    assert done(*jobs)
    assert all(bench.starts(f"j{i}") == bench.ends(f"j{i}") == 1 for i in range(3))


@pytest.mark.slow
def test_accounting_is_down(slurm, bench):
    """Success, failure and death without a word are all told apart without it."""
    slurm.terminate("slurmdbd")
    try:
        desk = bench.desk()
        good, bad, dead = jobs = [
            bench.item("good", "true"),
            bench.item("bad", "exit 4"),
            bench.item("dead", "sleep 99"),
        ]
        bench.take(desk, *jobs)
        bench.rounds(desk, lambda: bench.starts("dead"))
        kill_runner(desk, dead)
        bench.finish(desk, jobs, 90)
    finally:
        slurm.start_dbd()
    assert done(good) and "exit code 4" in why(bad) and "FAILED" in why(dead)


def test_cancel_leaves_no_process_and_writes_no_checkpoint(slurm, bench):
    desk = bench.desk()
    body = "trap 'touch checkpoint' USR2; trap '' TERM; sleep 100 & wait; wait"
    bench.take(desk, *(bench.item(f"j{i}", body) for i in range(3)))
    bench.rounds(desk, lambda: all(bench.starts(f"j{i}") for i in range(3)))
    desk.cancel()
    assert not slurm.run("squeue", "-h") and not (bench.folder / "checkpoint").exists()
    wait(lambda: not slurm.processes(), 10)
    again = bench.desk()  # what was cancelled is not attached to
    assert not again.take(bench.item("j0", "true"))
    assert again.backend.waiting
