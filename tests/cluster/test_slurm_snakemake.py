"""Snakemake itself on a real Slurm: whole workflows, heads that are killed, Ctrl-C, retries with more memory."""

import os
import signal
import sys
from pathlib import Path

import pytest
from counting import metric_after
from heads import WorkflowFolder
from job_driver import HANG_S, until, wait

from petvr.commands import jobs as jobs_command

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

WORKFLOW = """
import os
N = int(config.get("count", 3))
WAIT = "for _ in $(seq 36000); do [ ! -e go ] || break; sleep 0.1; done" if config.get("wait") else "true"
rule all:
    input: "table.txt"
    localrule: True
rule table:
    input: [f"out/{i}.txt" for i in range(N)]
    output: "table.txt"
    localrule: True
    shell: "cat {input} > {output}"
rule work:
    output: "out/{i}.txt"
    resources: mem_mb=500, runtime=10
    shell: "echo start >> starts-{wildcards.i}; {WAIT}; echo {wildcards.i} > {output}"
"""


@pytest.fixture
def folder(tmp_path):
    yield (one := WorkflowFolder(tmp_path, WORKFLOW))
    for head in one.heads:
        if head.poll() is None:
            head.kill()
            head.wait()


def test_more_jobs_than_two_arrays_hold(slurm, folder):
    folder.run(count=24)
    assert folder.batches() == 3  # arrays of at most 11, the MaxArraySize here
    assert all(folder.starts(i) == 1 for i in range(24))
    assert (folder.path / "table.txt").read_text().split() == [str(i) for i in range(24)]
    assert all(one.outcome == "success" and one.acknowledged for one in folder.ledger().latest.values())
    base = folder.path / ".snakemake" / "submitit"  # two files a job are left, and none of the arrays
    left = [path.relative_to(base).parts for path in base.rglob("*") if path.is_file()]
    assert len(left) == 2 * 24 + 2 and not any("batches" in parts for parts in left)
    assert "Nothing to be done" in folder.run(count=24)


SLOW = """#!/bin/bash
{before}
{real} "$@"; code=$?
{after}
exit $code
"""


@pytest.mark.parametrize("moment", ["before sbatch", "after sbatch", "running", "all ended"])
def test_the_head_is_killed_and_started_again(slurm, folder, monkeypatch, moment):
    """At each moment: the new head attaches to what is there, and every job runs once."""
    here = folder.path
    if moment.endswith("sbatch"):  # an sbatch that takes its time
        real = slurm.root / "bin" / "sbatch"
        (here / "bin").mkdir()
        pause = f"touch {here}/pause; {until(here / 'resume')}"
        before, after = (pause, "") if moment == "before sbatch" else ("", pause)
        (here / "bin" / "sbatch").write_text(SLOW.format(here=here, before=before, after=after, real=real))
        (here / "bin" / "sbatch").chmod(0o755)
        monkeypatch.setenv("PATH", f"{here}/bin:{os.environ['PATH']}")
    head = folder.head(wait=1)
    wait(lambda: (here / "pause").exists() if moment.endswith("sbatch") else folder.started(3))
    if moment == "all ended":
        head.send_signal(signal.SIGSTOP)  # it sees nothing of the end
        folder.allow()
        wait(lambda: not slurm.run("squeue", "-h"))
        assert all((here / "out" / f"{i}.txt").exists() for i in range(3))
    head.send_signal(signal.SIGHUP if moment == "running" else signal.SIGKILL)  # its shell is gone, or itself
    head.wait()
    if moment == "after sbatch":  # and the process that was to note sbatch's answer
        for path in (here / ".snakemake" / "submitit" / "batches").glob("*/helper.json"):
            os.kill(int(path.read_text().split('"pid": ')[1].split(",")[0]), signal.SIGKILL)
    again = folder.head(wait=1)
    if moment != "all ended":  # else there may be nothing left to do
        wait(lambda: "Attached to 3 jobs" in folder.log.read_text() or again.poll() is not None)
        assert "Attached to 3 jobs" in folder.log.read_text()
    (here / "resume").touch()
    folder.allow()
    folder.end(again)
    assert [folder.starts(i) for i in range(3)] == [1, 1, 1]
    assert folder.batches() == 1 and (here / "table.txt").exists()


def test_a_second_head_is_refused(slurm, folder):
    first = folder.head(wait=1)
    wait(lambda: folder.starts(0))
    text = folder.run(code=1, wait=1)
    assert f"Another Snakemake works in this folder (process {first.pid}" in text
    folder.allow()
    assert first.wait(HANG_S) == 0 and [folder.starts(i) for i in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("keep, number", [(False, signal.SIGTERM), (True, signal.SIGTERM), (False, signal.SIGINT)])
def test_interrupted(slurm, folder, keep, number):
    """Ctrl-C, or being told to end, takes everything back, or leaves it for the next head."""
    head = folder.head(*(["--submitit-keep-jobs"] if keep else []), wait=1, count=10)
    wait(lambda: sum(folder.starts(i) for i in range(10)) >= 8)  # eight run, two wait
    os.killpg(head.pid, number) if number == signal.SIGINT else head.send_signal(number)
    head.wait(HANG_S)
    if keep:
        left = slurm.run("squeue", "-h", "--array", "-t", "PENDING,RUNNING", "-o", "%i").split()
        assert len(left) == 10
        again = folder.head(count=10, wait=1)
        wait(lambda: "Attached to 10 jobs" in folder.log.read_text())
        folder.allow()
        folder.end(again)
        assert all(folder.starts(i) == 1 for i in range(10)) and folder.batches() == 1
    else:
        wait(lambda: not slurm.run("squeue", "-h") and not slurm.processes())
        assert all(one.outcome == "cancelled" for one in folder.ledger().latest.values())


GROWING = """
rule all:
    input: "fat.txt", "flaky.txt", "b.txt"
    localrule: True
rule fat:
    output: "fat.txt"
    retries: 1
    resources: mem_mb=lambda w, attempt: 300 * attempt * attempt, runtime=10
    shell:
        "echo {resources.mem_mb} >> starts-fat; "
        "python3 -c 'import time; x = b\\"x\\" * (600 << 20); time.sleep(1000 if {resources.mem_mb} < 400 else 0)'; "
        "touch {output}"
rule flaky:
    output: "flaky.txt"
    retries: 2
    resources: mem_mb=500, runtime=10
    shell: "echo start >> starts-flaky; echo sorry; test $(wc -l < starts-flaky) = 3; touch {output}"
rule a:
    output: temp("a.txt")
    group: "pair"
    resources: mem_mb=500, runtime=10
    shell: "echo start >> starts-a; touch {output}"
rule b:
    input: "a.txt"
    output: "b.txt"
    group: "pair"
    resources: mem_mb=500, runtime=10
    shell: "echo start >> starts-b; cp {input} {output}"
"""


def test_retries_with_more_memory_and_groups(slurm, tmp_path):
    """Each attempt is a job of its own with its own resources; a rule's retries are not made inside of a job. And
    where Snakemake gives out no more than two jobs at a time, none of them waits for others to share its array."""
    folder = WorkflowFolder(tmp_path, GROWING)
    text = folder.run("--jobs", "2")
    assert (tmp_path / "starts-fat").read_text().split() == ["300", "1200"] and "memory limit" in text
    assert folder.starts("flaky") == 3 and folder.ledger().latest["flaky/_"].attempt == 3
    assert "sorry" in text and "exit code 1" in text and "flaky/_/1/log.txt" in text
    assert folder.starts("a") == folder.starts("b") == 1
    assert len([one for one in folder.ledger().latest.values() if one.work.startswith("group/")]) == 1


MIXED = """
import os
envvars: "MY_TOKEN"
rule all:
    input: expand("long-{i}.txt", i=range(3)), "bad.txt"
    localrule: True
rule bad:
    output: "bad.txt"
    log: "bad.log"
    resources: mem_mb=500, runtime=10
    shell: "echo no such split; echo no such clip > {log}; exit 3"
rule long:
    output: "long-{i}.txt"
    threads: 3
    resources: mem_mb=500, runtime=10
    shell:
        "echo start >> starts-{wildcards.i}; for _ in $(seq 36000); do [ ! -e go ] || break; sleep 0.1; done; "
        "echo ${{#MY_TOKEN}} > {output}"
"""


def test_a_failure_is_told_while_others_run_and_petvr_jobs_knows_all_states(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "s3cret-value")
    folder = WorkflowFolder(tmp_path, MIXED)
    base = tmp_path / jobs_command.FOLDER
    head = folder.head("--quiet", "rules")  # as the profile has it; Snakemake then tells of no failure

    def rows():
        return {row["job"]: row for row in jobs_command.list_jobs(base)}

    def states():
        return sorted(row["state"] for row in rows().values())

    wait(lambda: states() == ["failed", "queued", "running", "running"])  # two nodes of four CPUs
    wait(lambda: "exit code 3" in folder.log.read_text() and "no such split" in folder.log.read_text())
    assert "Last lines of bad.log:\nno such clip" in folder.log.read_text()
    assert head.poll() is None and sum(folder.starts(i) for i in range(3)) == 2
    bad = rows()["bad/_"]
    assert "no such split" in Path(bad["log"]).read_text() and bad["node"] in slurm.nodes
    assert bad["id"] == folder.ledger().latest["bad/_"].id
    running = [row for row in rows().values() if row["state"] == "running"]
    known = slurm.run("squeue", "-h", "--array", "-t", "RUNNING", "-o", "%i %N").splitlines()
    assert sorted(f"{row['id']} {row['node']}" for row in running) == sorted(known)
    folder.allow()
    assert head.wait(HANG_S) == 1
    assert states() == ["done", "done", "done", "failed"] and all(row["id"] for row in rows().values())
    assert [(tmp_path / f"long-{i}.txt").read_text() for i in range(3)] == ["12\n"] * 3  # the secret got there
    texts = [path.read_bytes() for path in base.rglob("*") if path.is_file()]
    assert len(texts) > 8 and not any(b"s3cret-value" in text for text in texts)  # and is in no file


def test_changed_work_is_taken_back_not_attached_to(slurm, folder):
    head = folder.head(wait=1, count=1)
    wait(lambda: folder.starts(0))
    head.kill()
    head.wait()
    (folder.path / "Snakefile").write_text(WORKFLOW.replace("echo {wildcards.i} >", "echo new >"))
    assert "changed since" in folder.run(count=1)
    assert (folder.path / "table.txt").read_text() == "new\n" and folder.batches() == 2


COUNTING = Path(__file__).with_name("counting.py")
TRAINING = f"""
rule train:
    output: "metric.txt"
    resources: mem_mb=500, runtime=10
    shell: "echo start >> starts-train; {sys.executable} {COUNTING} 30 x; cp metric-x {{output}}"
"""


def test_a_training_that_is_disturbed_three_times_ends_as_if_it_were_not(slurm, tmp_path):
    """Told to leave twice, once with a preempting job behind it, and killed outright once."""
    folder = WorkflowFolder(tmp_path, TRAINING)
    head, listens = folder.head(), tmp_path / "listens-x"

    def job() -> str:
        return slurm.run("squeue", "-h", "-t", "RUNNING", "-p", "main", "-o", "%A")

    def ready(start: int) -> None:
        wait(lambda: listens.exists() and len(listens.read_text().split()) == start)
        assert folder.starts("train") == start

    with slurm.hurry():
        ready(1)
        slurm.run("scancel", "--signal=USR2", job())  # what comes before the time limit
        ready(2)
        slurm.run("sbatch", "-p", "high", "--exclusive", "-N2", "--output=/dev/null", "--wrap=sleep 1")
        ready(3)
        slurm.run("scontrol", "requeue", job())  # no signal that could be heard
        ready(4)
        folder.allow()
        folder.end(head)
    assert (tmp_path / "metric.txt").read_text() == str(metric_after(30))
    one = folder.ledger().latest["train/_"]
    assert folder.starts("train") == 4 and one.folder == "train/_/1" and one.attempt == 1  # one submission all along
