"""What goes away and comes back: preemption, requeue, hold, suspension, dead nodes, time timeouts."""

import re
import sys
from pathlib import Path

import pytest
from counting import metric_after
from heads import WorkflowFolder
from job_driver import HANG_S, JobDriver, done, until, wait, why

from snakemake_executor_plugin_submitit.job_state import Timeouts
from snakemake_executor_plugin_submitit.json_files import is_alive, process_identity, read_json

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

TRAIN = Path(__file__).with_name("counting.py")


def train(driver, name, goal, **resources):
    return driver.job(name, f"{sys.executable} {TRAIN} {goal} {name}", **resources)


def expected(goal):
    return str(metric_after(goal))


@pytest.fixture
def driver(tmp_path):
    return JobDriver(tmp_path)


def test_preempted_with_and_without_grace_and_without_requeue(slurm, driver, tmp_path):
    """Three partitions: told in time, killed at once, cancelled instead of requeued. All end as if undisturbed."""
    impatient = JobDriver(tmp_path / "impatient", Timeouts(requeue=2))
    again = impatient.manager()
    (dropped,) = impatient.submit(again, train(impatient, "dropped", 20, slurm_partition="cancel"))
    impatient.step_until(again, (impatient.folder / "state-dropped").exists)
    manager = driver.manager()
    names = {"main": "told", "abrupt": "killed"}
    jobs = driver.submit(manager, *(train(driver, name, 20, slurm_partition=part) for part, name in names.items()))
    driver.step_until(manager, lambda: all((driver.folder / f"state-{name}").exists() for name in names.values()))
    slurm.run("sbatch", "-p", "high", "--exclusive", "-N2", "--output=/dev/null", "--wrap=sleep 2")
    with slurm.hurry():
        driver.step_until(manager, lambda: all(driver.starts(name) == 2 for name in names.values()))
        driver.allow()
        driver.finish(manager, jobs)
    assert done(*jobs), [job.outcome for job in jobs]
    for name in names.values():
        assert driver.starts(name) == 2 and driver.ends(name) == 1, name
        assert (driver.folder / f"metric-{name}").read_text() == expected(20)
    log = (manager.jobs / jobs[0].folder / "log.txt").read_text()
    assert log.count("--- ") == 2  # both starts in one log, of one job
    impatient.allow()
    impatient.finish(again, [dropped])
    assert done(dropped) and (impatient.folder / "metric-dropped").read_text() == expected(20)
    assert dropped.folder.endswith("/2")  # Slurm would not bring this one back: it was submitted once more
    assert impatient.starts("dropped") == 2 and impatient.ends("dropped") == 1


def test_preempted_where_slurm_says_so_by_sigterm_alone(bare, driver):
    """A cluster without preempt_send_user_signal sends SIGTERM to all processes, of which a program and the shells
    around it die. That is no failure: with and without GraceTime they go on from the last periodic checkpoint."""
    manager = driver.manager()
    names = {"main": "told", "abrupt": "killed"}
    jobs = driver.submit(manager, *(train(driver, name, 20, slurm_partition=part) for part, name in names.items()))
    driver.step_until(manager, lambda: all((driver.folder / f"state-{name}").exists() for name in names.values()))
    bare.run("sbatch", "-p", "high", "--exclusive", "-N6", "--output=/dev/null", "--wrap=sleep 2")
    with bare.hurry():
        driver.step_until(manager, lambda: all(driver.starts(name) == 2 for name in names.values()))
        driver.allow()
        driver.finish(manager, jobs)
    assert done(*jobs), [job.outcome for job in jobs]
    for name in names.values():
        assert driver.starts(name) == 2 and driver.ends(name) == 1, name
        assert (driver.folder / f"metric-{name}").read_text() == expected(20)
    stopped = read_json(manager.jobs / jobs[0].folder / "stopped.json")
    assert (stopped["told"], stopped["code"], stopped["left"]) == ("term", 143, True)
    assert not any(job.resubmissions for job in jobs)  # Slurm's own requeue, nothing was sent twice


def test_an_operator_requeues_holds_and_suspends(slurm, driver):
    manager = driver.manager()
    names = ("requeued", "held", "suspended")
    jobs = driver.submit(manager, *(train(driver, name, 16) for name in names))
    driver.step_until(manager, lambda: all((driver.folder / f"state-{name}").exists() for name in names))
    requeued, held, suspended = jobs
    slurm.run("scontrol", "requeue", requeued.id)
    slurm.run("scontrol", "requeuehold", held.id)
    slurm.run("scontrol", "suspend", suspended.id)
    manager.interval = 0
    driver.step_until(manager, lambda: suspended.queue_entry and suspended.queue_entry.state == "SUSPENDED")
    slurm.run("scontrol", "resume", suspended.id)
    wait(lambda: re.search("HOLD|HELD", slurm.run("squeue", "-h", "-j", held.id, "-o", "%T %r").upper()))
    slurm.run("scontrol", "release", held.id)
    with slurm.hurry():
        driver.step_until(manager, lambda: [driver.starts(name) for name in names] == [2, 2, 1])
        driver.allow()
        driver.finish(manager, jobs)
    assert done(*jobs), [job.outcome for job in jobs]
    assert [driver.starts(name) for name in names] == [2, 2, 1]
    assert all(driver.ends(name) == 1 for name in names)
    assert all((driver.folder / f"metric-{name}").read_text() == expected(16) for name in names)


def test_held_for_too_long_is_a_failure(slurm, tmp_path):
    driver = JobDriver(tmp_path, Timeouts(away=2))
    manager = driver.manager()
    (job,) = driver.submit(manager, driver.job("j", "sleep 1000"))
    driver.step_until(manager, lambda: driver.starts("j"))
    slurm.run("scontrol", "suspend", job.id)
    driver.finish(manager, [job])
    assert "SUSPENDED" in why(job)
    wait(lambda: not slurm.run("squeue", "-h"))


LONGER = """
rule all:
    input: "slow.txt"
    localrule: True
rule slow:
    output: "slow.txt"
    retries: 1
    resources: mem_mb=300, runtime=lambda w, attempt: [1, 9][attempt - 1], slurm_extra="--exclusive"
    shell: "echo {resources.runtime} >> starts-slow; [ {resources.runtime} != 1 ] || sleep 1000; touch {output}"
"""


def test_dead_nodes_and_time_limits(bare, driver, tmp_path_factory):
    """Four jobs on nodes of their own. Slurm notices a dead node after half a minute, and a time limit, in whole
    minutes, just as late; so all four run side by side."""
    manager = driver.manager()
    own = {"slurm_extra": "--exclusive"}
    dies = train(driver, "dies", 24, **own)  # its node is gone at once
    cut = driver.job("cut", until("go"), **own)  # its node is cut off, the process runs on
    limited = train(driver, "limited", 24, runtime=1, **own)  # longer than its limit, with checkpoints
    jobs = driver.submit(manager, dies, cut, limited)
    # longer than its limit, without; its retry has more time
    deaf = WorkflowFolder(tmp_path_factory.mktemp("deaf"), LONGER)
    head = deaf.head()
    driver.step_until(manager, lambda: (driver.folder / "state-dies").exists() and driver.starts("cut"))
    numbers = [job.id for job in jobs]
    first = int((driver.folder / "starts" / "cut").read_text())
    bare.kill_node(bare.run("squeue", "-h", "-j", dies.id, "-o", "%N"))
    bare.cut_off(bare.run("squeue", "-h", "-j", cut.id, "-o", "%N"))
    with bare.hurry():
        driver.step_until(manager, lambda: all(driver.starts(name) >= 2 for name in ("dies", "cut", "limited")))
        # the first process ends when it learns of the second
        driver.step_until(manager, lambda: not is_alive(process_identity(first)))
        driver.allow()
        driver.finish(manager, jobs)
    assert done(dies, cut, limited), [job.outcome for job in jobs]
    assert head.wait(HANG_S) == 0, deaf.log.read_text()[-3000:]
    assert "TIMEOUT" in deaf.log.read_text() and "Over its time limit (runtime=1 minutes)" in deaf.log.read_text()
    assert (deaf.path / "starts-slow").read_text().split() == ["1", "9"] and deaf.batches() == 2
    assert [job.id for job in jobs] == numbers  # Slurm's own requeue every time, nothing was sent twice
    # from its last periodic checkpoint, on another node
    assert driver.starts("dies") == 2 and driver.ends("dies") == 1
    assert (driver.folder / "metric-dies").read_text() == expected(24)
    assert driver.starts("cut") == 2 and driver.ends("cut") == 1
    assert driver.starts("limited") >= 2 and driver.ends("limited") == 1  # one a minute until the others are there
    assert (driver.folder / "metric-limited").read_text() == expected(24)
