"""petvr itself through the Slurm profile: the same numbers as on one machine, whatever happens to a run on the way."""

import os
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from job_driver import HANG_S, wait
from small_petvr import FRAMES, RUN, RUNS, TABLE, Copy

from petvr.commands import jobs as jobs_command
from petvr.rehearsal import parts
from petvr.rehearsal.parts import Answer
from snakemake_executor_plugin_submitit.json_files import read_json
from snakemake_executor_plugin_submitit.ledger import Ledger

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """One on this machine, one for the cluster, which is given the other's weights: a head makes them itself anyway.

    The first one's runs are made by one process meanwhile; `finished` waits for it.
    """
    folder = tmp_path_factory.mktemp("petvr")
    here, cluster = Copy(folder / "here"), Copy(folder / "cluster")
    commands = ["weights tiny", "world msvd", "data msvd", f"frames {FRAMES}"]
    commands += [f"train {run} --threads 1" for run in RUNS]
    process = here.local(*commands, f"table {TABLE}", f"long train {RUN.format(seed=5)} --threads 1")
    here.finished = lambda: end(process, here)
    try:
        weights = here.folder / "results" / "weights"
        wait(lambda: (weights / "tiny").exists() or process.poll() is not None)
        assert (weights / "tiny").exists(), here.log.read_text()[-4000:]
        shutil.copytree(weights, cluster.folder / "results" / "weights")
        yield here, cluster
    finally:
        process.kill()


def end(process: subprocess.Popen, copy: Copy, seconds: float = 4 * HANG_S) -> None:
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert code == 0, copy.log.read_text()[-4000:]


def run_to_its_end(copy: Copy, head: subprocess.Popen) -> None:
    try:
        end(head, copy)
    finally:
        head.kill()


def same(one: Copy, other: Copy, run: str) -> None:
    """Metrics of every epoch, ranks of every query and the trained weights, to the last bit."""
    here, there = one.result(run), other.result(run)
    assert here["evaluations"] == there["evaluations"] and here["selected"] == there["selected"]
    left, right = (np.load(copy.run(run) / "ranks.npz") for copy in (one, other))
    assert left.files == right.files and all(np.array_equal(left[name], right[name]) for name in left.files)
    weights = [(copy.run(run) / "adapter.safetensors").read_bytes() for copy in (one, other)]
    assert weights[0] == weights[1]


def test_all_tables_through_slurm_are_those_of_a_local_run_and_the_rehearsal_asks_a_job_of_each_kind(slurm, copies):
    here, cluster = copies
    run_to_its_end(cluster, cluster.slurm("all_tables", "rehearsal"))
    here.finished()
    runs = sorted(path.parent.relative_to(cluster.folder / "results/runs") for path in _results(cluster))
    assert sorted(map(str, runs)) == sorted(RUNS)
    for run in runs:
        same(here, cluster, str(run))
    for suffix in ("md", "tex"):  # the .csv also tells how many seconds each run took
        assert len({(copy.folder / "results/tables" / f"{TABLE}.{suffix}").read_text() for copy in copies}) == 1
    assert (cluster.folder / "results" / "tables" / "index.html").exists()
    # what is heavy was on the cluster, once, and `petvr jobs` knows where
    rows = jobs_command.list_jobs(cluster.folder / jobs_command.FOLDER)
    assert {"frames", "train", "world"} <= {one.name for one in _ledger(cluster).latest.values()}
    assert all(row["state"] == "done" and row["starts"] == row["attempt"] == 1 for row in rows)
    assert all(row["id"] and row["node"] in slurm.nodes and row["seconds"] > 0 for row in rows)
    assert set(RUNS) < {row["job"] for row in rows} and all(Path(row["log"]).exists() for row in rows)
    # its files are seen on the other side, the signal before preemption reaches petvr
    for kind in ("train", "frames"):
        assert any(row["job"].startswith(f"rehearse_node_{kind}") for row in rows)
        part = parts.read_part(cluster.folder / "results" / "rehearsal" / "parts", f"node-{kind}")
        assert part and part.facts["job"] and "disk delay s" in part.facts
        answers = {finding.asked: finding for finding in part.findings}
        assert answers["does the signal before preemption arrive?"].answer is Answer.YES
        assert answers["how late are files of another machine seen?"].answer is Answer.YES


def _results(copy: Copy) -> list[Path]:
    return list((copy.folder / "results" / "runs").rglob("result.json"))


def _ledger(copy: Copy) -> Ledger:
    return Ledger(copy.folder / ".snakemake" / "submitit" / "ledger.jsonl")


def test_a_run_that_is_disturbed_three_times_has_the_metrics_of_an_undisturbed_one(slurm, copies):
    """Told of its time limit, preempted when it was requeued already, and its process killed outright, which the
    profile's `retries` answers: the next start goes on from the last periodic checkpoint."""
    here, cluster = copies
    run = RUN.format(seed=5)
    log, held = cluster.run(run) / "log.txt", cluster.folder / "held"
    (cluster.folder / "go").unlink()
    head = cluster.slurm(f"results/runs/{run}/result.json", more=True)

    def training(start: int) -> str:
        """Wait until its start number `start` has written some checkpoints; Slurm's id of the job."""

        def ready() -> bool:
            assert head.poll() is None, cluster.log.read_text()[-4000:]
            return held.exists() and len(held.read_text().split()) == start

        wait(ready)
        assert log.read_text().count("continuing at step") == start - 1
        return slurm.run("squeue", "-h", "-t", "RUNNING", "-p", "main", "-o", "%A")

    try:
        with slurm.hurry():
            slurm.run("scancel", "--signal=USR2", training(1))  # what comes before the time limit
            training(2)
            slurm.run("sbatch", "-p", "high", "--exclusive", "-N2", "--output=/dev/null", "--wrap=sleep 1")
            training(3)
            killed = [pid for pid in slurm.processes() if _is_training(pid)]
            assert killed
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            training(4)
            (cluster.folder / "go").touch()
            end(head, cluster)
    finally:
        head.kill()
    here.finished()
    same(here, cluster, run)
    assert (here.result(run)["cost"]["resumed"], cluster.result(run)["cost"]["resumed"]) == (0, 3)
    submissions = [one for one in _ledger(cluster).submissions.values() if "seed=5" in one.work]
    assert [(one.attempt, one.outcome) for one in submissions] == [(1, "failed"), (2, "success")]


def _is_training(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return command[1:4] == [b"-m", b"petvr", b"train"]


OFFICIAL = "snakemake_executor_plugin_slurm"


@pytest.mark.skipif(find_spec(OFFICIAL) is None, reason="pip install snakemake-executor-plugin-slurm (2.8.0 was tried)")
def test_one_run_through_the_official_plugin(slurm, tmp_path):
    """Nothing in the rules needs the executor of this project; but Snakemake 9.27 cuts wildcards at a comma where no
    executor prevents it, so the run has but one setting."""
    copy, run = Copy(tmp_path / "petvr"), "cross_modal_adapter/msvd/tiny/full/seed-0"
    options = ["--executor", "slurm", "--slurm-init-seconds-before-status-checks", "1"]
    options += ["--set-resources", "train:mem_mb=2000", "frames:mem_mb=2000"]
    options += ["--default-resources", "mem_mb=1000", "runtime=30"]
    run_to_its_end(copy, copy.slurm(f"results/runs/{run}/result.json", options=options))
    assert copy.result(run)["evaluations"] and not (copy.folder / ".snakemake" / "submitit").exists()
    assert "has been submitted with SLURM jobid" in copy.log.read_text()


def test_trials_of_a_rung_go_out_together_and_the_chosen_rate_trains_the_final_run(slurm, copies):
    """The fair comparison's own tuning: the jobs of a rung are one array, the decision is made from what they left."""
    _, cluster = copies
    cell = "fair/msvd/tiny/bias"
    tuning = {"seed": 9, "trials": 2, "rungs": [0.5, 1], "keep": [1], "rates": {"lr_clip": [1e-5, 1e-3]}}
    more = {"papers": ["fair"], "tables": ["fair/msvd"], "methods": ["bias"], "tuning": tuning}
    small = yaml.safe_load((cluster.folder / "small.yaml").read_text())
    demo = yaml.safe_load((cluster.folder / "workflow" / "demo.yaml").read_text())
    demo["recipe"] = {"default": {"captions": "one_per_video", "precision": "fp32"}}  # rates are left to tuning
    (cluster.folder / "small.yaml").write_text(yaml.safe_dump(small | more))
    (cluster.folder / "workflow" / "demo.yaml").write_text(yaml.safe_dump(demo))
    run_to_its_end(cluster, cluster.slurm(f"results/runs/{cell}/seed-0/result.json"))
    trials = [one for one in _ledger(cluster).submissions.values() if one.name == "tune_trial"]
    arrays = [one.id.partition("_")[0] for one in trials]
    assert sorted(arrays.count(array) for array in set(arrays)) == [1, 2]
    decision = read_json(cluster.folder / "results" / "tuning" / cell / "decision-1.json")
    assert cluster.result(f"{cell}/seed-0")["spec"]["tuned"] == decision["chosen"] != {}
