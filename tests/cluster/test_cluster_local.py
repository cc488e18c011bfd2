"""Local mode: the same jobs on this machine; and the profile where no Slurm is installed."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from heads import WorkflowFolder
from job_driver import HANG_S, JobDriver, done, until, wait, why

from petvr.cli import main
from petvr.commands import jobs as jobs_command
from petvr.errors import PetvrError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def driver(tmp_path):
    return JobDriver(tmp_path, cluster="local")


def test_no_more_jobs_at_a_time_than_cores_and_each_gpu_has_one(driver):
    manager = driver.manager(cores=3, gpus=2)
    body = f"echo $CUDA_VISIBLE_DEVICES >> gpu; {until('go')}"
    jobs = driver.submit(manager, *(driver.job(f"j{i}", body, gpu=1) for i in range(5)))
    gpus = driver.folder / "gpu"
    driver.step_until(manager, lambda: gpus.exists() and len(gpus.read_text().split()) == 2)
    asyncio.run(manager.step())
    assert len(manager.backend.machine.running) == 2 and sorted(gpus.read_text().split()) == ["0", "1"]
    driver.allow()
    driver.finish(manager, jobs)
    assert done(*jobs) and all(driver.starts(f"j{i}") == 1 for i in range(5))
    assert set(gpus.read_text().split()) == {"0", "1"}


def test_a_job_without_gpu_sees_none_and_one_with_too_many_is_refused(driver):
    plain, greedy, wide = driver.run(
        driver.job("plain", 'test -z "$CUDA_VISIBLE_DEVICES"'),
        driver.job("greedy", "true", gpu=3),
        driver.job("wide", "true", cpus_per_task=99),
        gpus=2,
    )
    assert done(plain, wide) and "3 GPUs" in why(greedy) and driver.starts("greedy") == 0


def test_a_new_head_attaches_to_what_runs_and_starts_what_waited(driver):
    manager = driver.manager(cores=1)
    first = driver.submit(manager, driver.job("a", until("go")), driver.job("b", "true"))
    driver.step_until(manager, lambda: driver.starts("a"))
    again = driver.manager(cores=1)  # the first is simply forgotten, as if it had been killed
    jobs = [driver.job("a", until("go")), driver.job("b", "true")]
    assert [again.submit(job) for job in jobs] == [True, True]
    driver.allow()
    driver.finish(again, jobs)
    assert done(*jobs) and not first[0].outcome
    assert [driver.starts(name) for name in "ab"] == [1, 1]


def test_cancel(driver):
    manager = driver.manager(cores=1)
    driver.submit(manager, driver.job("a", "sleep 1000"), driver.job("b", "true"))
    driver.step_until(manager, lambda: driver.starts("a"))
    pid = int((driver.folder / "starts" / "a").read_text())
    manager.cancel_all(HANG_S)
    wait(lambda: not Path(f"/proc/{pid}").exists())
    assert driver.starts("b") == 0


def test_a_finished_job_is_run_again_when_asked_for(driver):
    """An outcome that Snakemake has noted is no reason not to run: the number of the job may even be the same."""
    for count in (1, 2):
        manager = driver.manager()
        (job,) = driver.submit(manager, driver.job("j", "true"))
        driver.finish(manager, [job])
        manager.acknowledge(job)
        assert done(job) and driver.starts("j") == count


HEAD = """
import sys
from snakemake_executor_plugin_submitit.ledger import HeadLock
lock = HeadLock(sys.argv[1])
lock.acquire()
print(flush=True)
input()
"""


def test_prune_removes_what_succeeded_and_keeps_what_somebody_may_look_for(driver, monkeypatch, capsys):
    """Files of a failure, of a success that Snakemake has not heard of, and the ledger's knowledge of all of them."""
    manager = driver.manager()
    base = driver.folder / "ledger"
    jobs = [driver.job(name, body) for name, body in (("good", "true"), ("bad", "exit 3"), ("unheard", "true"))]
    driver.submit(manager, *jobs)
    driver.finish(manager, jobs)
    for job in jobs[:2]:
        manager.acknowledge(job)
    before, size = jobs_command.list_jobs(base), (base / "ledger.jsonl").stat().st_size
    files = [path for path in base.rglob("*") if path.is_file() and "jobs" in path.parts]
    kept = [path for path in files if "good" not in path.parts]
    head = subprocess.Popen([sys.executable, "-c", HEAD, base / "head.lock"], stdin=-1, stdout=-1)
    head.stdout.readline()
    monkeypatch.chdir(ROOT)
    assert main(["jobs", "prune", "--folder", str(base)]) == 2 and "in use" in capsys.readouterr().err
    head.communicate(b"\n")
    assert main(["jobs", "prune", "--folder", str(base)]) == 0 and "1 job" in capsys.readouterr().out
    assert not (base / "jobs" / "job" / "good").exists() and all(path.exists() for path in kept)
    assert (base / "ledger.jsonl").stat().st_size < size
    after = jobs_command.list_jobs(base)
    assert [(row["job"], row["state"], row["reason"]) for row in after] == [
        (row["job"], row["state"], row["reason"]) for row in before
    ]
    again, same = driver.manager(), [driver.job(name, "true") for name in ("good", "bad", "unheard")]
    assert [again.submit(job) for job in same] == [False, False, True]  # the last one is attached to
    driver.finish(again, same)
    assert [driver.starts(name) for name in ("good", "bad", "unheard")] == [2, 2, 1]


def test_with_the_setting_a_success_leaves_no_file(tmp_path):
    driver = JobDriver(tmp_path, cluster="local", prune=True)
    manager = driver.manager()
    jobs = driver.submit(manager, driver.job("good", "true"), driver.job("bad", "exit 3"))
    driver.finish(manager, jobs)
    for job in jobs:
        manager.acknowledge(job)
    assert [path.name for path in (tmp_path / "ledger" / "jobs" / "job").iterdir()] == ["bad"]


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
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_a_folder_whose_name_slurm_would_change_is_refused_before_anything_is_sent(tmp_path):
    (tmp_path / "50%j").mkdir()
    folder = WorkflowFolder(tmp_path / "50%j", WORKFLOW)
    assert "set another submitit-folder" in folder.run(code=1, command="true")
    assert not (folder.path / ".snakemake" / "submitit").exists()


@pytest.mark.slow
def test_snakemake_and_petvr_jobs(tmp_path, monkeypatch, capsys):
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    local = ["--executor", "submitit", "--submitit-cluster", "local", "--jobs", "9", "--latency-wait", "1"]
    failed = snakemake(tmp_path, *local, "--config", "command=exit 3")
    assert failed.returncode == 1 and "exit code 3" in failed.stderr and "out of b" in failed.stderr
    monkeypatch.chdir(tmp_path)
    rows = {row["job"]: row for row in jobs_command.list_jobs(jobs_command.FOLDER)}
    assert {name: row["state"] for name, row in rows.items()} == {"a ds=16,r=8": "done", "b/_": "failed"}
    assert "out of b" in Path(rows["b/_"]["log"]).read_text() and rows["b/_"]["reason"] == "exit code 3"
    good = snakemake(tmp_path, *local, "--config", "command=true")
    assert good.returncode == 0, good.stderr
    assert jobs_command.list_jobs(jobs_command.FOLDER)[1]["state"] == "done"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")  # no config.yaml there
    assert main(["jobs", "done", "--folder", str(tmp_path / jobs_command.FOLDER)]) == 0
    assert "2 done" in capsys.readouterr().out


def test_the_jobs_command_knows_its_states(monkeypatch, tmp_path):
    import argparse

    parser = argparse.ArgumentParser()
    jobs_command.arguments(parser)
    with pytest.raises(PetvrError, match="did you mean 'done'"):
        jobs_command.run(parser.parse_args(["don"]), None)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["submitit", "slurm"])
def test_a_dry_run_of_the_profile_needs_no_slurm(tmp_path, executor):
    """On a laptop, before anything is sent anywhere; through the official plugin too, where that is installed."""
    if find_spec(f"snakemake_executor_plugin_{executor}") is None:
        pytest.skip("pip install snakemake-executor-plugin-slurm (2.8.0 was tried)")
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in ("bash", "sh", "env", "git", "uname", "which"):  # a PATH without Slurm's commands
        if found := next((Path(p) / name for p in path.split(os.pathsep) if (Path(p) / name).exists()), None):
            (bin / name).symlink_to(found)
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "--executor", executor, "-n"]
    command += ["results/tables/mv_adapter/table_10.md"]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": str(bin)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert re.search(r"^train +36$", run.stdout, re.MULTILINE), run.stdout[-2000:]


HANGING = """
rule all:
    input: "here", "there"
    localrule: True
rule here:
    output: "here"
    localrule: True
    shell: "echo $$ > pid-here; sleep 1000"
rule there:
    output: "there"
    shell: "echo $$ > pid-there; sleep 1000"
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_head_ends_and_leaves_nothing(tmp_path, number):
    """Ctrl-C in a terminal, or told to end: neither a job nor a rule that the head runs itself keeps it."""
    folder = WorkflowFolder(tmp_path, HANGING)
    head = folder.head("--submitit-cluster", "local", "--local-cores", "2")
    files = [tmp_path / "pid-here", tmp_path / "pid-there"]
    wait(lambda: all(file.exists() and file.read_text() for file in files))
    os.killpg(head.pid, number) if number == signal.SIGINT else head.send_signal(number)
    assert head.wait(HANG_S) == 1
    wait(lambda: not any(Path(f"/proc/{file.read_text().strip()}").exists() for file in files))


OTHER_PLUGIN = """
from dataclasses import dataclass, field
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase
@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    qos: str = field(default=None, metadata={"help": "", "env_var": False, "required": False})
common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False)
class Executor(RemoteExecutor): pass
"""


@pytest.mark.slow
def test_what_is_not_understood_ends_the_head_before_a_job_is_sent(tmp_path, monkeypatch):
    """A resource of a rule; a flag that Snakemake takes because the official plugin is installed as well."""
    rule = 'rule a:\n    output: "a"\n    resources: nvidia_gpu=1\n    shell: "touch {output}"'
    (tmp_path / "Snakefile").write_text(rule)
    local = ["--executor", "submitit", "--submitit-cluster", "local", "--jobs", "9"]
    failed = snakemake(tmp_path, *local)
    assert failed.returncode == 1 and "rule a: the resource nvidia_gpu means nothing to Slurm; did you" in failed.stderr
    package = tmp_path / "lib" / "snakemake_executor_plugin_slurm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(OTHER_PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text("slurm-qos: fast\nsubmitit-ignore-resources: nvidia_*\n")
    failed = snakemake(tmp_path, *local, "--profile", "profile")
    assert failed.returncode == 1 and "--slurm-qos belongs to --executor slurm; here: --submitit-qos" in failed.stderr
    assert not (tmp_path / ".snakemake" / "submitit" / "jobs").exists()
    assert snakemake(tmp_path, *local, "--resources", "nvidia_gpu=1").returncode == 0


def test_no_rule_needs_the_executor_of_this_project():
    """The same rules run through any other: only the profile names this one."""
    rules = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]
    assert len(rules) > 3 and not [path.name for path in rules if "submitit" in path.read_text()]


def test_install_waits_for_an_apt_that_is_at_work_and_ends_at_any_other_fault(tmp_path):
    """With an apt-get that says twice, in Debian's words, that another one holds its lock."""
    script = (ROOT / "tests" / "cluster" / "install.sh").read_text()
    function = script[script.index("patient_apt()") :].partition("\n}\n")[0] + "\n}\n"
    (tmp_path / "apt-get").write_text("""#!/bin/sh
echo "$*" >> calls
case "$*" in *nosuch*) echo "E: Unable to locate package nosuch" >&2; exit 100;; esac
[ $(wc -l < calls) -gt 2 ] || { echo "E: Could not get lock /var/lib/dpkg/lock-frontend" >&2; exit 100; }
""")
    (tmp_path / "apt-get").chmod(0o755)

    def call(*arguments):
        shell = f"sleep() {{ :; }}\n{function}patient_apt {' '.join(arguments)}"
        environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run(["bash", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = call("install", "-y", "munge")
    assert done.returncode == 0 and done.stderr.count("another apt is at work (E: Could not get lock") == 1, done.stderr
    assert (tmp_path / "calls").read_text() == 3 * "-qq install -y munge\n"
    refused = call("install", "nosuch")
    assert refused.returncode == 1 and "Unable to locate package" in refused.stderr
