"""The process on the node, without a cluster: results, signals, process groups, and never twice."""

import json
import os
import signal
import subprocess
import sys

import pytest
from job_driver import until, wait

from snakemake_executor_plugin_submitit.json_files import is_alive, process_identity, read_json, write_json

LISTENER = """
import pathlib, signal, sys
out = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGUSR2, lambda *_: (out.write_text("checkpoint"), sys.exit(75)))
out.write_text("ready")
while True:
    signal.pause()
"""


@pytest.fixture
def start(tmp_path):
    started = []
    (tmp_path / "listener.py").write_text(LISTENER)

    def start(command, number="1", env=None, **spec):
        folder = tmp_path / "rule" / "x=1" / number
        folder.mkdir(parents=True, exist_ok=True)
        base = {"command": command, "cwd": str(tmp_path), "signal": "USR2", "requeue_codes": [75], "max_requeues": 3}
        write_json(folder / "spec.json", {**base, **spec})
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake_executor_plugin_submitit.node_runner", str(folder)],
            env={**clean, **(env or {})},
        )
        started.append(process)
        return folder, process

    yield start
    for process in started:
        process.kill()
        process.wait()


def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_success_and_failure_are_told_with_code_and_log(start):
    folder, process = start("echo hello; echo there >&2")
    assert process.wait() == 0 and result(folder)["outcome"] == "success"
    assert (folder / "log.txt").read_text().splitlines()[1:] == ["hello", "there"]
    folder, process = start("exit 3", "2")
    assert process.wait() == 1
    assert (result(folder)["outcome"], result(folder)["code"], result(folder)["reason"]) == ("failed", 3, "exit code 3")


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_a_job_has_few_files_at_any_time(start, tmp_path):
    """Two while it runs and two when it is done; a second start finds what to run with the owner of the first."""
    command = f"echo start >> {tmp_path}/count; test -e {tmp_path}/go || exit 75; {until(tmp_path / 'end')}"
    folder, process = start(command)
    assert process.wait() == 75 and files(folder) == {"owner.json", "stopped.json", "log.txt"}
    (tmp_path / "go").touch()
    again = subprocess.Popen([sys.executable, "-m", "snakemake_executor_plugin_submitit.node_runner", str(folder)])
    wait(lambda: (tmp_path / "count").read_text() == "start\nstart\n")
    assert files(folder) == {"owner.json", "stopped.json", "log.txt"}
    (tmp_path / "end").touch()
    assert again.wait() == 0 and files(folder) == {"result.json", "stopped.json", "log.txt"}


def test_the_rules_own_exit_code_is_read_through_the_inner_snakemake(start):
    words = "Command 'set -euo pipefail; train' returned non-zero exit status {code}."
    folder, process = start(f'echo "{words.format(code=4)}"; exit 1')
    assert process.wait() == 1 and result(folder)["code"] == 4
    folder, process = start(f'echo "{words.format(code=75)}"; exit 1', "2")
    assert process.wait() == 75  # checkpoint written: no failure
    assert not (folder / "result.json").exists() and read_json(folder / "stopped.json")["code"] == 75


def test_a_job_that_sees_fewer_gpus_than_it_asked_for_does_not_begin(start, tmp_path):
    folder, process = start("touch began", gpu=2, env={"CUDA_VISIBLE_DEVICES": "0"})
    assert process.wait() == 1 and not (tmp_path / "began").exists()
    assert "asked for 2 GPUs and sees 1" in result(folder)["reason"]
    _, process = start("touch began", "2", gpu=1, env={"CUDA_VISIBLE_DEVICES": "GPU-5d1f"})
    assert process.wait() == 0 and (tmp_path / "began").exists()


@pytest.mark.slow
def test_the_file_that_cancels_is_enough_where_slurm_cannot_send_a_signal(start):
    folder, process = start("sleep 1000", env={"SUBMITIT_JOB_TICK": "0.2"})
    wait(lambda: (folder / "log.txt").exists())
    (folder / "cancel").touch()
    process.wait()
    assert result(folder)["outcome"] == "cancelled"


def test_the_signal_reaches_a_grandchild_that_listens_and_kills_nobody_else(start, tmp_path):
    out = tmp_path / "out"
    folder, process = start(f'sh -c "exec {sys.executable} listener.py {out}"')
    wait(lambda: out.exists() and out.read_text() == "ready")
    process.send_signal(signal.SIGUSR2)
    assert process.wait() == 75
    assert out.read_text() == "checkpoint"
    assert not (folder / "result.json").exists() and read_json(folder / "owner.json")["left"]


def test_a_second_signal_to_a_program_that_is_leaving_is_no_failure(start, tmp_path):
    """Python has no handlers any more while it ends, and dies of the signal that Slurm sends beside ours."""
    (tmp_path / "slow.py").write_text("""
import builtins, os, pathlib, signal, sys, time

class Last:
    def __del__(self):
        pathlib.Path("leaving").write_text(str(os.getpid()))
        time.sleep(600)

signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75))
builtins.last = Last()
pathlib.Path("ready").touch()
while True:
    signal.pause()
""")
    folder, process = start(f"{sys.executable} slow.py")
    wait((tmp_path / "ready").exists)
    process.send_signal(signal.SIGUSR2)
    wait(lambda: (tmp_path / "leaving").exists() and (tmp_path / "leaving").read_text())
    os.kill(int((tmp_path / "leaving").read_text()), signal.SIGUSR2)
    assert process.wait() == 75
    assert not (folder / "result.json").exists() and read_json(folder / "owner.json")["left"]


def test_who_does_not_listen_is_not_disturbed(start, tmp_path):
    out = tmp_path / "out"
    folder, process = start(f"{sys.executable} listener.py {out} & {until(tmp_path / 'go')}; echo finished")
    wait(lambda: out.exists() and out.read_text() == "ready")
    process.send_signal(signal.SIGUSR2)
    wait(lambda: out.read_text() == "checkpoint")  # it went to the whole group: to the shell and its sleep as well
    (tmp_path / "go").touch()
    assert process.wait() == 0 and result(folder)["outcome"] == "success"
    assert (folder / "log.txt").read_text().endswith("finished\n")


def test_told_to_leave_too_often_is_a_failure(start):
    for count in range(3):
        folder, process = start("exit 75", max_requeues=2)
        process.wait()
        assert (folder / "result.json").exists() == (count == 2)
    assert "max-requeues" in result(folder)["reason"]


@pytest.mark.slow
def test_cancel_ends_the_whole_process_group(start, tmp_path):
    folder, process = start(f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/child; wait")
    wait(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    child = int((tmp_path / "child").read_text())
    (folder / "cancel").touch()
    process.terminate()
    process.wait()
    assert result(folder)["outcome"] == "cancelled"
    wait(lambda: not is_alive(process_identity(child)))


def test_no_orphan_where_the_process_itself_is_killed(start, tmp_path):
    _, process = start(f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    wait(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    child = int((tmp_path / "child").read_text())
    process.kill()
    process.wait()
    wait(lambda: not is_alive(process_identity(child)))


def test_a_process_left_behind_by_the_command_is_ended(start, tmp_path):
    _, process = start(f"nohup sleep 1000 > /dev/null 2>&1 & echo $! > {tmp_path}/child")
    assert process.wait() == 0
    wait(lambda: not is_alive(process_identity(int((tmp_path / "child").read_text()))))


def test_what_has_ended_or_was_replaced_is_not_run_again(start, tmp_path):
    folder, process = start(f"echo once >> {tmp_path}/count")
    process.wait()
    _, process = start(f"echo once >> {tmp_path}/count")  # Slurm starts it again: its node looked dead
    process.wait()
    assert (tmp_path / "count").read_text() == "once\n"
    write_json(folder.parent / "latest.json", {"folder": "3"})
    _, process = start(f"echo once >> {tmp_path}/count", "2")  # a newer submission has taken its place
    process.wait()
    assert (tmp_path / "count").read_text() == "once\n"


@pytest.mark.slow
def test_a_second_start_elsewhere_ends_the_first(start, tmp_path):
    command = f"echo start >> {tmp_path}/count; {until(tmp_path / 'go')}; echo end >> {tmp_path}/count"
    _, first = start(command, env={"SUBMITIT_JOB_TICK": "0.5"})
    wait(lambda: (tmp_path / "count").exists())
    folder, second = start(command, env={"SUBMITIT_JOB_TICK": "0.5"})
    first.wait()
    (tmp_path / "go").touch()
    assert second.wait() == 0
    assert (tmp_path / "count").read_text().split() == ["start", "start", "end"]
    assert result(folder)["starts"] == 2
