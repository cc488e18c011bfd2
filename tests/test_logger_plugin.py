"""`--logger progress`: a workflow in one line, what failed in full, and a dry-run as ever."""

import fcntl
import logging
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

import snakemake_logger_plugin_progress as plugin

WORKFLOW = """
rule all:
    input: expand("out/{i}", i=range(6))
rule train:
    output: "out/{i}"
    log: "logs/{i}.log"
    shell: "for n in $(seq 40); do echo line $n of {wildcards.i}; done > {log}; test {wildcards.i} != 4; touch {output}"
onstart:
    logger.info("Two minutes.", extra={"progress": {"rule": "train", "noun": "runs", "seconds": {"train": 9.0}}})
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    base = [sys.executable, "-m", "snakemake", "--logger", "progress", "--cores", "2", "--keep-going"]
    return lambda *more: [*base, "--directory", str(tmp_path), "-s", str(tmp_path / "Snakefile"), *more]


@pytest.mark.slow
def test_where_nobody_watches_each_line_says_more_and_a_failed_job_is_shown_with_the_end_of_its_log(command):
    done = subprocess.run(command(), capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    start = lines.index("Two minutes.")
    failed = lines.index("FAILED: rule train, out/4")
    log = lines[failed + 2 : failed + 2 + 1 + plugin.LOG_LINES]
    assert log[0] == "    logs/4.log, its end:" and log[1:] == [f"    | line {n} of 4" for n in range(11, 41)]
    progress = [line for line in lines if line.startswith("runs ")]
    counts = [int(line.split()[1]) for line in progress]
    assert start < lines.index(progress[0]) and counts == sorted(counts) and counts[-1] == 5
    assert all(" of 6, all jobs " in line for line in progress)
    assert "1 FAILED" in progress[-1] or failed > lines.index(progress[-1])
    assert lines[-1].startswith("5 of 7 jobs done, 1 failed, in ")
    assert not [line for line in lines if "Select jobs" in line or "returned non-zero" in line or "jobid" in line]


@pytest.mark.slow
def test_on_a_terminal_of_80_columns_one_line_is_written_over_and_over(command):
    try:
        master, slave = pty.openpty()
    except OSError as error:
        pytest.skip(f"this system has no pseudo-terminal ({error})")
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command(*(f"out/{i}" for i in (0, 1, 2, 3, 5))), stderr=slave, stdout=slave, stdin=slave, env=environment
    )
    os.close(slave)
    text = b""

    def read():
        nonlocal text
        try:
            while piece := os.read(master, 4096):
                text += piece
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait() == 0
    reader.join()
    os.close(master)
    lines = text.decode().replace("\r\n", "\n").split("\n")
    (line,) = [line for line in lines if "runs " in line]
    states = line.split("\r\x1b[K")
    assert states[0] == "" and len(states) == 6 and all(len(state) < 80 for state in states)
    assert states[1].startswith("runs 1 of 5; ") or states[1].startswith("runs 1 of 5, all jobs 1 of 5; ")
    assert lines[-2].startswith("5 of 5 jobs done, in ")


@pytest.mark.slow
def test_a_dry_run_lists_the_jobs_as_snakemake_does(command):
    done = subprocess.run(command("-n"), capture_output=True, text=True)
    assert done.returncode == 0
    text = done.stdout + done.stderr
    assert text.count("rule train:") == 6 and "This was a dry-run" in text and "runs " not in text


def handler(monkeypatch):
    """A handler and a clock that the test sets."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(plugin.time, "monotonic", lambda: clock.now)
    asked = dict.fromkeys(("stdout", "dryrun", "verbose", "printshellcmds", "debug_dag"), False)
    return plugin.LogHandler(SimpleNamespace(**asked), None), clock


def report(to, event=None, message="", **facts):
    record = logging.LogRecord("snakemake", logging.INFO, "", 0, message, (), None)
    vars(record).update(facts, **({"event": event} if event else {}))
    to.emit(record)


def test_the_time_left_is_that_of_the_work_left_not_of_the_number_of_jobs(monkeypatch, capsys):
    shown, clock = handler(monkeypatch)
    report(shown, LogEvent.RUN_INFO, stats={"weights": 1, "train": 10, "total": 11})
    report(shown, progress={"rule": "train", "noun": "runs", "seconds": {"weights": 100.0, "train": 20.0}})
    report(shown, LogEvent.JOB_INFO, jobid=1, rule_name="weights")
    clock.now += 200  # twice as slow: of 300 seconds 100 are done, 400 are left
    report(shown, LogEvent.JOB_FINISHED, job_id=1)
    assert shown.line() == "runs 0 of 10, all jobs 1 of 11; 3:20 gone, about 7 min left"
    report(shown, LogEvent.JOB_STARTED, jobs=[2])
    report(shown, LogEvent.JOB_INFO, jobid=2, rule_name="train")
    clock.now += 20  # the running one counts half: 110 of 300
    assert shown.line() == "runs 0 of 10, all jobs 1 of 11; 3:40 gone, about 6 min left"
    assert capsys.readouterr().err.count("runs 0 of 10") == 1


def test_it_knows_nothing_of_petvr():
    assert "petvr" not in Path(plugin.__file__).read_text(encoding="utf-8")
