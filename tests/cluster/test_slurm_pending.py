"""Jobs that Slurm takes and does not start: said why, given up after a stated patience, released, waited for."""

import dataclasses

import pytest
from job_driver import JobDriver, done, until, wait, why

from petvr.commands import jobs as jobs_command
from snakemake_executor_plugin_submitit.job_state import Timeouts

pytestmark = pytest.mark.slurm

REASONS = {  # Slurm's word: (what is asked, what a person reads)
    "PartitionTimeLimit": ({"slurm_partition": "brief"}, "runtime is over its partition's limit"),
    "QOSMaxCpuPerJobLimit": ({"slurm_qos": "narrow", "threads": 2}, "over a limit of its QOS"),
    "JobHeldUser": ({"slurm_extra": "--hold"}, "scontrol release"),
    "DependencyNeverSatisfied": ({"slurm_extra": "--dependency=afterok:{failed}"}, "what it depends on has failed"),
    "PartitionDown": ({"slurm_partition": "shut"}, "its partition starts no jobs"),
}


def test_what_can_never_start_is_told_listed_and_given_up_and_the_rest_waits(slurm, tmp_path, monkeypatch):
    patient = Timeouts(result=3, lost=12, blocked=5000, away=9000)
    driver = JobDriver(tmp_path, patient)
    failed = slurm.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 1")
    wait(lambda: slurm.run("squeue", "-h", "-t", "all", "-j", failed, "-o", "%T") == "FAILED")
    manager = driver.manager()
    stuck = {}
    for reason, (asked, _) in REASONS.items():
        asked = {name: value.format(failed=failed) if name == "slurm_extra" else value for name, value in asked.items()}
        stuck[reason] = driver.job(reason, "true", **asked)
    ordinary = driver.job("ordinary", until("go"), slurm_extra="--begin=now+1hour")
    jobs = driver.submit(manager, *stuck.values(), ordinary)

    def waits_for() -> dict[str, str]:
        return {
            row["job"].removeprefix("job "): row["waits_for"] for row in jobs_command.list_jobs(tmp_path / "ledger")
        }

    driver.step_until(manager, lambda: all(any(word in line for line in driver.logged) for word in REASONS))
    wait(lambda: waits_for()["ordinary"])  # Slurm looks at one job after the other
    for reason, (_, meaning) in REASONS.items():
        (line,) = [line for line in driver.logged if f"({reason})" in line]  # once
        assert meaning in line and f"job/{reason} ({stuck[reason].id})" in line
        assert "cancelled in 83 min" in line or "cancelled in 150 min" in line or "cancelled in 149 min" in line
    assert not any("(BeginTime)" in line for line in driver.logged)  # it starts by itself
    assert waits_for() == {name: name for name in REASONS} | {"ordinary": "BeginTime"}
    assert not any(job.outcome for job in jobs)
    manager.timeouts = dataclasses.replace(patient, blocked=0, away=0)
    driver.step_until(manager, lambda: all(job.outcome for job in stuck.values()))
    for reason, job in stuck.items():
        assert reason in why(job) and REASONS[reason][1] in why(job) and "cancelled" in why(job)
    left = f"squeue -h --array -t PENDING,RUNNING -o %i -u {manager.backend.queue.user}".split()
    driver.step_until(manager, lambda: slurm.run(*left).split() == [ordinary.id])  # the others are gone from the queue
    slurm.run("scontrol", "update", f"jobid={ordinary.id}", "starttime=now")
    driver.allow()
    driver.finish(manager, [ordinary])
    assert done(ordinary) and not any(driver.starts(name) for name in REASONS)


def test_what_slurm_held_because_a_node_failed_to_start_it_is_released(slurm, tmp_path):
    driver = JobDriver(tmp_path, Timeouts(result=3, lost=12, release=0))
    manager = driver.manager()
    slurm.set_prolog(1)
    try:
        jobs = driver.submit(manager, driver.job("a", "true"), driver.job("b", "true"))
        driver.step_until(manager, lambda: all(job.id for job in jobs))
        wait(lambda: slurm.run("squeue", "-h", "--array", "-o", "%r").count("launch failed") == 2)
    finally:
        slurm.set_prolog(0)
        for node in slurm.nodes:  # not each of them is drained
            slurm.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
    with slurm.hurry(release=False):
        driver.finish(manager, jobs)
    assert done(*jobs) and any("releasing it (1 of 3)" in line for line in driver.logged)
    assert driver.starts("a") == driver.starts("b") == 1


def test_what_slurm_does_not_take_now_is_told_and_sent_later_once(slurm, tmp_path):
    """A partition that is drained for a while; more jobs than a QOS takes at a time."""
    driver = JobDriver(tmp_path)
    manager = driver.manager()
    few = [driver.job(f"few{i}", "true", slurm_qos="few") for i in range(4)]
    jobs = driver.submit(manager, driver.job("drained", "true", slurm_partition="drained"), *few)

    def told(words):
        return any("trying again" in line and words in line for line in driver.logged)

    driver.step_until(manager, lambda: told("Required partition not available") and told("QOSMaxSubmitJobPerUserLimit"))
    slurm.run("scontrol", "update", "partitionname=drained", "state=up")
    try:
        driver.finish(manager, jobs)
    finally:
        slurm.run("scontrol", "update", "partitionname=drained", "state=drain")
    assert done(*jobs) and all(driver.starts(job.info["wildcards"]["name"]) == 1 for job in jobs)
