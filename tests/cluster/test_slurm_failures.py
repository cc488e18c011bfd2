"""What a person reads when a job fails on a real Slurm: what was wrong, and what to do, for tasks of arrays as well."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from job_driver import JobDriver, done, wait, why

pytestmark = pytest.mark.slurm

BODIES = {  # what fails: what a person reads
    f"{sys.executable} -c 'import nosuch.part'": "The job's Python has no module nosuch",
    "nosuchcommand --x": "The node has no command nosuchcommand",
    "echo x > /dev/full": "A disk is full, or a quota used up",
    "kill -9 $$": "Killed by signal 9, mostly for want of memory (mem_mb=300)",
    "echo 'RuntimeError: No CUDA GPUs are available'; exit 1": "No GPU is visible and the rule asks for none (gpu=1)",
}


def test_each_failure_has_its_own_line_and_remedy(slurm, tmp_path, monkeypatch):
    plain = JobDriver(tmp_path / "plain")
    manager = plain.manager()
    jobs = plain.submit(manager, *(plain.job(f"j{i}", body) for i, body in enumerate(BODIES)))

    setup = JobDriver(tmp_path / "setup", setup="true && module load nosuch")
    other = setup.manager()
    tasks = setup.submit(other, setup.job("a", "true"), setup.job("b", "true"))

    # the environment that Snakemake runs in lies on a disk that the nodes do not see
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    source = Path(__file__).parents[2] / "src"
    monkeypatch.setenv("PYTHONPATH", f"{source}:{sysconfig.get_path('purelib')}:{os.environ.get('PYTHONPATH', '')}")
    away = JobDriver(tmp_path / "away")
    third = away.manager()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(python))
        (absent,) = away.submit(third, away.job("absent", "true", slurm_extra="--hold"))
        away.step_until(third, lambda: absent.id)
    python.unlink()
    slurm.run("scontrol", "release", absent.id)

    plain.finish(manager, jobs)
    for job, words in zip(jobs, BODIES.values(), strict=True):
        assert words in why(job) and "_" in job.id
    setup.finish(other, tasks)
    for task in tasks:
        assert "set-up of the node (submitit-setup) failed" in why(task) and "exit code 127" in why(task)
        assert "_" in task.id
    assert setup.starts("a") == setup.starts("b") == 0
    away.finish(third, [absent])
    assert f"The node has no {python}" in why(absent)
    wait(lambda: not slurm.run("squeue", "-h"))


def test_a_site_that_refuses_gpus_is_asked_by_gres(slurm, tmp_path, monkeypatch):
    real, wrapper = shutil.which("sbatch"), tmp_path / "bin" / "sbatch"
    wrapper.parent.mkdir()
    refuse = "echo 'sbatch: error: --gpus is not supported here, use --gres' >&2; exit 1"
    wrapper.write_text(f'#!/bin/bash\nif grep -q -e --gpus "${{@: -1}}"; then {refuse}; fi\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    driver = JobDriver(tmp_path / "jobs")
    see = "test 1 = $(tr , '\\n' <<< $CUDA_VISIBLE_DEVICES | grep -c .)"
    refused, given = driver.run(driver.job("a", see, gpu=1), driver.job("b", see, gpu=1, gres="gpu:1"))
    assert "--gpus is not supported here, use --gres" in why(refused) and done(given)
