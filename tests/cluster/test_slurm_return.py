"""What goes away and comes back: preemption, requeue, hold, suspension, dead nodes, time limits."""

import sys
from pathlib import Path

import pytest
from counting import metric_after
from desk_driver import Bench, done, wait, why
from heads import Folder

from snakemake_executor_plugin_submitit import files

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

TRAIN = Path(__file__).with_name("counting.py")


def train(bench, name, goal, **resources):
    return bench.item(name, f"{sys.executable} {TRAIN} {goal} {name}", **resources)


def expected(goal):
    return str(metric_after(goal))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_preempted_with_and_without_grace_and_without_requeue(slurm, bench):
    """Three partitions: told in time, killed at once, cancelled instead of requeued. All end as if undisturbed."""
    desk = bench.desk()
    names = {"main": "told", "abrupt": "killed", "cancel": "dropped"}
    jobs = bench.take(desk, *(train(bench, name, 20, slurm_partition=part) for part, name in names.items()))
    bench.rounds(desk, lambda: all((bench.folder / f"state-{name}").exists() for name in names.values()))
    slurm.run("sbatch", "-p", "high", "--exclusive", "-N2", "--output=/dev/null", "--wrap=sleep 2")
    with slurm.hurry():
        bench.finish(desk, jobs, 120)
    assert done(*jobs), [job.fate for job in jobs]
    for name in names.values():
        assert bench.starts(name) == 2 and bench.ends(name) == 1, name
        assert (bench.folder / f"metric-{name}").read_text() == expected(20)
    told = (desk.jobs / jobs[0].folder / "log.txt").read_text()
    assert told.count("--- ") == 2  # both starts in one log, of one job
    assert "/2" in jobs[2].folder  # Slurm would not bring this one back: it was submitted once more


def test_preempted_where_slurm_says_so_by_sigterm_alone(bare, bench):
    """A cluster without preempt_send_user_signal sends SIGTERM to all processes, of which a program and the shells
    around it die. That is no failure: with and without GraceTime they go on from the last periodic checkpoint."""
    desk = bench.desk()
    names = {"main": "told", "abrupt": "killed"}
    jobs = bench.take(desk, *(train(bench, name, 20, slurm_partition=part) for part, name in names.items()))
    bench.rounds(desk, lambda: all((bench.folder / f"state-{name}").exists() for name in names.values()))
    bare.run("sbatch", "-p", "high", "--exclusive", "-N6", "--output=/dev/null", "--wrap=sleep 2")
    with bare.hurry():
        bench.finish(desk, jobs, 120)
    assert done(*jobs), [job.fate for job in jobs]
    for name in names.values():
        assert bench.starts(name) == 2 and bench.ends(name) == 1, name
        assert (bench.folder / f"metric-{name}").read_text() == expected(20)
    stopped = files.read(desk.jobs / jobs[0].folder / "stopped.json")
    assert (stopped["told"], stopped["code"], stopped["left"]) == ("term", 143, True)
    assert not any(job.again for job in jobs)  # Slurm's own requeue, nothing was sent twice


def test_an_operator_requeues_holds_and_suspends(slurm, bench):
    desk = bench.desk()
    names = ("requeued", "held", "suspended")
    jobs = bench.take(desk, *(train(bench, name, 16) for name in names))
    bench.rounds(desk, lambda: all((bench.folder / f"state-{name}").exists() for name in names))
    requeued, held, suspended = jobs
    slurm.run("scontrol", "requeue", requeued.id)
    slurm.run("scontrol", "requeuehold", held.id)
    slurm.run("scontrol", "suspend", suspended.id)
    desk.interval = 0
    bench.rounds(desk, lambda: suspended.seen and suspended.seen.state == "SUSPENDED")
    slurm.run("scontrol", "resume", suspended.id)
    wait(
        lambda: (
            "HOLD" in slurm.run("squeue", "-h", "-j", held.id, "-o", "%T %r").upper()
            or "HELD" in slurm.run("squeue", "-h", "-j", held.id, "-o", "%T %r").upper()
        )
    )
    slurm.run("scontrol", "release", held.id)
    with slurm.hurry():
        bench.finish(desk, jobs, 120)
    assert done(*jobs), [job.fate for job in jobs]
    assert [bench.starts(name) for name in names] == [2, 2, 1]
    assert all(bench.ends(name) == 1 for name in names)
    assert all((bench.folder / f"metric-{name}").read_text() == expected(16) for name in names)


def test_held_for_too_long_is_a_failure(slurm, bench):
    desk = bench.desk()
    (job,) = bench.take(desk, bench.item("j", "sleep 60"))
    bench.rounds(desk, lambda: bench.starts("j"))
    slurm.run("scontrol", "suspend", job.id)
    bench.finish(desk, [job])
    assert "SUSPENDED" in why(job)
    wait(lambda: not slurm.run("squeue", "-h"), 30)


LONGER = """
rule all:
    input: "slow.txt"
    localrule: True
rule slow:
    output: "slow.txt"
    retries: 1
    resources: mem_mb=300, runtime=lambda w, attempt: [1, 9][attempt - 1], slurm_extra="--exclusive"
    shell: "echo {resources.runtime} >> starts-slow; if [ {resources.runtime} = 1 ]; then sleep 300; fi; touch {output}"
"""


def test_dead_nodes_and_time_limits(bare, bench, tmp_path_factory):
    """Four jobs on nodes of their own. Slurm notices a dead node after half a minute, and a time limit, in whole
    minutes, just as late; so all four run side by side."""
    desk = bench.desk()
    own = {"slurm_extra": "--exclusive"}
    dies = train(bench, "dies", 24, **own)  # its node is gone at once
    cut = bench.item("cut", "sleep 60", **own)  # its node is cut off, the process runs on
    limited = train(bench, "limited", 130, runtime=1, **own)  # longer than its limit, with checkpoints
    jobs = bench.take(desk, dies, cut, limited)
    deaf = Folder(tmp_path_factory.mktemp("deaf"), LONGER)  # longer than its limit, without; its retry has more time
    head = deaf.head()
    bench.rounds(desk, lambda: (bench.folder / "state-dies").exists() and bench.starts("cut"), 60)
    numbers = [job.id for job in jobs]
    first = int((bench.folder / "starts" / "cut").read_text())
    bare.kill_node(bare.run("squeue", "-h", "-j", dies.id, "-o", "%N"))
    bare.cut_off(bare.run("squeue", "-h", "-j", cut.id, "-o", "%N"))
    with bare.hurry():
        bench.finish(desk, jobs, 240)
    assert done(dies, cut, limited), [job.fate for job in jobs]
    assert head.wait(200) == 0, deaf.log.read_text()[-3000:]
    assert "TIMEOUT" in deaf.log.read_text()
    assert (deaf.path / "starts-slow").read_text().split() == ["1", "9"] and deaf.batches() == 2
    assert [job.id for job in jobs] == numbers  # Slurm's own requeue every time, nothing was sent twice
    # from its last periodic checkpoint, on another node
    assert bench.starts("dies") == 2 and bench.ends("dies") == 1
    assert (bench.folder / "metric-dies").read_text() == expected(24)
    # the first process ended when it learned of the second
    assert bench.starts("cut") == 2 and bench.ends("cut") == 1
    assert not files.alive(files.process(first))
    assert bench.starts("limited") >= 2 and bench.ends("limited") == 1
    assert (bench.folder / "metric-limited").read_text() == expected(130)
