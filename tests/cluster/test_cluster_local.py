"""Local mode: the same jobs on this machine; and the profile where no Slurm is installed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from desk_driver import Bench, done, wait, why

from petvr.commands import jobs as jobs_command
from petvr.errors import PetvrError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, cluster="local")


def test_no_more_jobs_at_a_time_than_cores_and_each_gpu_has_one(bench):
    body = "ls running | wc -l >> most; touch running/$$; echo $CUDA_VISIBLE_DEVICES >> gpu; sleep 0.4; rm running/$$"
    (bench.folder / "running").mkdir()
    jobs = bench.run(*(bench.item(f"j{i}", body, gpu=1) for i in range(5)), cores=3, gpus=2)
    assert done(*jobs) and all(bench.starts(f"j{i}") == 1 for i in range(5))
    assert max(map(int, (bench.folder / "most").read_text().split())) <= 1  # one other at most: two GPUs
    assert set((bench.folder / "gpu").read_text().split()) == {"0", "1"}


def test_a_job_without_gpu_sees_none_and_one_with_too_many_is_refused(bench):
    plain, greedy, wide = bench.run(
        bench.item("plain", 'test -z "$CUDA_VISIBLE_DEVICES"'),
        bench.item("greedy", "true", gpu=3),
        bench.item("wide", "true", cpus_per_task=99),
        gpus=2,
    )
    assert done(plain, wide) and "3 GPUs" in why(greedy) and bench.starts("greedy") == 0


def test_a_new_head_attaches_to_what_runs_and_starts_what_waited(bench):
    desk = bench.desk(cores=1)
    first = bench.take(desk, bench.item("a", "sleep 2"), bench.item("b", "true"))
    bench.rounds(desk, lambda: bench.starts("a"))
    again = bench.desk(cores=1)  # the first is simply forgotten, as if it had been killed
    jobs = [bench.item("a", "sleep 2"), bench.item("b", "true")]
    assert [again.take(job) for job in jobs] == [True, True]
    bench.finish(again, jobs)
    assert done(*jobs) and not first[0].fate
    assert [bench.starts(name) for name in "ab"] == [1, 1]


def test_cancel(bench):
    desk = bench.desk(cores=1)
    bench.take(desk, bench.item("a", "sleep 99"), bench.item("b", "true"))
    bench.rounds(desk, lambda: bench.starts("a"))
    pid = int((bench.folder / "starts" / "a").read_text())
    desk.cancel()
    wait(lambda: not Path(f"/proc/{pid}").exists(), 5)
    assert bench.starts("b") == 0


def test_a_finished_job_is_run_again_when_asked_for(bench):
    """An outcome that Snakemake has noted is no reason not to run: the number of the job may even be the same."""
    for count in (1, 2):
        desk = bench.desk()
        (job,) = bench.take(desk, bench.item("j", "true"))
        bench.finish(desk, [job])
        desk.acknowledge(job)
        assert done(job) and bench.starts("j") == count


WORKFLOW = """
rule all:
    input: "b.txt"
    localrule: True
rule a:
    output: "a@{s}.txt"
    shell: "echo out of a; test '{wildcards.s}' = ds=16,r=8; touch {output}"
rule b:
    input: "a@ds=16,r=8.txt"
    output: "b.txt"
    shell: "echo out of b; {config[command]}; touch {output}"
"""


def snakemake(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", "--nolock", "--scheduler", "greedy", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)


@pytest.mark.slow
def test_snakemake_and_petvr_jobs(tmp_path, monkeypatch, capsys):
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    local = ["--executor", "submitit", "--submitit-cluster", "local", "--jobs", "9", "--latency-wait", "1"]
    failed = snakemake(tmp_path, *local, "--config", "command=exit 3")
    assert failed.returncode == 1 and "exit code 3" in failed.stderr and "out of b" in failed.stderr
    monkeypatch.chdir(tmp_path)
    rows = {row["job"]: row for row in jobs_command.listing(jobs_command.FOLDER)}
    assert {name: row["state"] for name, row in rows.items()} == {"a ds=16,r=8": "done", "b/_": "failed"}
    assert "out of b" in Path(rows["b/_"]["log"]).read_text() and rows["b/_"]["reason"] == "exit code 3"
    good = snakemake(tmp_path, *local, "--config", "command=true")
    assert good.returncode == 0, good.stderr
    assert jobs_command.listing(jobs_command.FOLDER)[1]["state"] == "done"
    from petvr.cli import main

    monkeypatch.chdir(ROOT)
    assert main(["jobs", "done", "--folder", str(tmp_path / jobs_command.FOLDER)]) == 0
    assert "2 done" in capsys.readouterr().out


def test_the_jobs_command_knows_its_states(monkeypatch, tmp_path):
    import argparse

    parser = argparse.ArgumentParser()
    jobs_command.arguments(parser)
    with pytest.raises(PetvrError, match="did you mean 'done'"):
        jobs_command.run(parser.parse_args(["don"]), None)


def test_a_dry_run_of_the_profile_needs_no_slurm(tmp_path):
    """On a laptop, before anything is sent anywhere."""
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ("bash", "sh", "env", "git", "uname"):  # a PATH without Slurm's commands
        if found := next((Path(p) / name for p in path.split(os.pathsep) if (Path(p) / name).exists()), None):
            (bin / name).symlink_to(found)
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "-n", "all_tables"]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": str(bin)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.slow
def test_ctrl_c_in_local_mode_leaves_nothing(tmp_path):
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    command = [sys.executable, "-m", "snakemake", "--nolock", "--executor", "submitit", "--submitit-cluster", "local"]
    command += ["--jobs", "9", "--config", "command=echo $$ > pid; sleep 99"]
    head = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
    wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
    pid = int((tmp_path / "pid").read_text())
    os.killpg(head.pid, signal.SIGINT)
    assert head.wait(30) == 1
    wait(lambda: not Path(f"/proc/{pid}").exists(), 5)
