"""A ledger that is lost or damaged, one file of two jobs: what is in flight is not begun again. Without a cluster."""

import json

import pytest
from heads import WorkflowFolder
from job_driver import JobDriver, done, until

from snakemake_executor_plugin_submitit.ledger import Ledger


@pytest.fixture
def driver(tmp_path):
    return JobDriver(tmp_path, cluster="local")


def ledger_file(driver):
    return driver.folder / "ledger" / "ledger.jsonl"


def test_the_ledger_is_lost_while_a_job_runs(driver):
    manager = driver.manager()
    driver.submit(manager, driver.job("a", until("go")))
    driver.step_until(manager, lambda: driver.starts("a"))
    ledger_file(driver).unlink()
    again = driver.manager()
    (job,) = [driver.job("a", until("go"))]
    assert again.submit(job)
    driver.allow()
    driver.finish(again, [job])
    assert done(job) and driver.starts("a") == 1


def test_a_head_whose_ledger_is_taken_away_writes_all_of_it_again(driver):
    manager = driver.manager()
    first = driver.submit(manager, driver.job("a", until("go")))
    driver.step_until(manager, lambda: driver.starts("a"))
    ledger_file(driver).unlink()
    second = driver.submit(manager, driver.job("b", until("go")))
    driver.step_until(manager, lambda: driver.starts("b"))
    latest = Ledger(ledger_file(driver)).latest
    assert {one.work: one.id for one in latest.values()} == {job.info["work"]: job.id for job in first + second}
    driver.allow()
    driver.finish(manager, first + second)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", ["{torn", "[]", '"text"', '{"event": "prepared", "time": 1, "folder": 7}', '{"event": "submitted"}']
)
def test_damaged_lines_are_set_aside_and_what_they_said_is_known_from_the_jobs(driver, damage):
    manager = driver.manager()
    driver.submit(manager, driver.job("a", until("go")))
    driver.step_until(manager, lambda: driver.starts("a"))
    lines = ledger_file(driver).read_text().splitlines()
    assert json.loads(lines[0])["event"] == "prepared"
    ledger_file(driver).write_text("\n".join([damage, *lines[1:]]) + "\n")
    again = driver.manager()
    aside = ledger_file(driver).with_name("ledger-damaged.jsonl")
    assert aside.read_text() == f"{damage}\n" and not Ledger(ledger_file(driver)).damaged
    assert any("1 damaged lines are set aside in ledger-damaged.jsonl" in line for line in driver.logged)
    job = driver.job("a", until("go"))
    assert again.submit(job)
    driver.allow()
    driver.finish(again, [job])
    assert done(job) and driver.starts("a") == 1


def test_a_file_that_another_job_is_to_make_is_waited_for(driver):
    manager = driver.manager()
    shared = str(driver.folder / "out" / "shared")
    jobs = [driver.job("a", f"{until('go')}; echo a >> {shared}"), driver.job("b", f"echo b >> {shared}")]
    for job in jobs:
        job.info["outputs"].append(shared)
    driver.submit(manager, *jobs)
    driver.step_until(manager, lambda: driver.starts("a"))
    assert any(f"job/b waits for job/a, which is to make {shared} too" in line for line in driver.logged)
    driver.allow()
    driver.finish(manager, jobs)
    assert done(*jobs) and (driver.folder / "out" / "shared").read_text().split() == ["a", "b"]


@pytest.mark.slow
def test_what_an_earlier_head_left_is_taken_back_before_another_job_makes_its_files(driver):
    manager = driver.manager()
    driver.submit(manager, driver.job("group", f"trap '' TERM; exec 9> lock; flock 9; {until('never')}"))
    driver.step_until(manager, lambda: driver.starts("group"))
    again = driver.manager()
    job = driver.job("alone", "exec 9> lock; flock -n 9")  # fails where both run
    job.info["outputs"].append(str(driver.folder / "out" / "group"))
    driver.submit(again, job)
    driver.finish(again, [job])
    assert done(job) and any("job/alone is to make" in line for line in driver.logged)


CHECKPOINT = """
checkpoint parts:
    output: directory("parts")
    shell: "mkdir {output}"
rule a:
    output: "a.txt"
    group: "g"
    shell: "touch {output}"
"""


@pytest.mark.slow
def test_joined_groups_and_a_checkpoint_are_refused_at_once(tmp_path):
    folder = WorkflowFolder(tmp_path, CHECKPOINT)
    local = ["--submitit-cluster", "local", "a.txt"]
    assert "--group-components and a checkpoint (parts)" in folder.run(*local, "--group-components", "g=2", code=1)
    folder.run(*local)
    assert (tmp_path / "a.txt").exists()
