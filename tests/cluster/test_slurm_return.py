"""What goes away and comes back: preemption, requeue, hold, suspension, dead nodes, time limits."""

import sys
from pathlib import Path

import pytest
from counting import metric_after
from desk_driver import Bench, done, wait, why

pytestmark = pytest.mark.slurm

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


@pytest.mark.slow
def test_a_node_dies(slurm, bench):
    """Its job starts again on the other node, from its last periodic checkpoint, under the same number."""
    desk = bench.desk()
    (job,) = bench.take(desk, train(bench, "j", 24))
    bench.rounds(desk, lambda: (bench.folder / "state-j").exists())
    node = slurm.run("squeue", "-h", "-j", job.id, "-o", "%N")
    number = job.id
    slurm.kill_node(node)
    with slurm.hurry():
        bench.finish(desk, [job], 150)
    assert done(job) and job.id == number
    assert bench.starts("j") == 2 and bench.ends("j") == 1
    assert (bench.folder / "metric-j").read_text() == expected(24)


@pytest.mark.slow
def test_a_node_is_cut_off_and_its_job_runs_on(slurm, bench):
    """Slurm gives the job to the other node while the first process lives: that one ends when it learns of it."""
    desk = bench.desk()
    (job,) = bench.take(desk, bench.item("j", "sleep 90"))
    bench.rounds(desk, lambda: bench.starts("j"))
    first = int((bench.folder / "starts" / "j").read_text())
    node = slurm.run("squeue", "-h", "-j", job.id, "-o", "%N")
    slurm.kill(node)
    for pid in slurm._steps(node):
        slurm._kill(pid)
    with slurm.hurry():
        bench.rounds(desk, lambda: bench.starts("j") == 2, 150)
    from snakemake_executor_plugin_submitit import files

    wait(lambda: not files.alive(files.process(first)), 5)
    desk.cancel()


@pytest.mark.slow
def test_time_limit_with_and_without_a_checkpoint(slurm, bench):
    """Slurm counts in minutes and looks every half minute: this takes one and a half."""
    desk = bench.desk()
    trained = train(bench, "trained", 150, runtime=1)
    deaf = bench.item("deaf", "sleep 200", runtime=1)
    bench.take(desk, trained, deaf)
    with slurm.hurry():
        bench.finish(desk, [trained, deaf], 240)
    assert done(trained) and bench.ends("trained") == 1
    assert bench.starts("trained") >= 2 and (bench.folder / "metric-trained").read_text() == expected(150)
    assert "TIMEOUT" in why(deaf) and bench.starts("deaf") == 1
