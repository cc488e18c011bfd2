"""An MLflow server on PostgreSQL, as labs run one: the same runs as in a local file, by the client alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from table_factory import put, spec

from petvr.layout import Layout
from petvr.report import tracking
from petvr.report.tracking import live
from petvr.report.tracking import store as stores

pytestmark = pytest.mark.slow  # two servers

PATIENCE = 1800  # seconds; only what hangs for good fails by time


def postgresql(name: str) -> str:
    """A program of PostgreSQL's server, or a skip that says what is missing."""
    folders = [os.environ["PATH"], *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)]
    program = shutil.which(name, path=os.pathsep.join(folders))
    if program is None:
        pytest.skip(f"no {name}: apt install postgresql")
    return program


@pytest.fixture
def server():
    """The address of an MLflow server whose store is a fresh PostgreSQL, reached by a socket in a folder."""
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("no psycopg2: pip install psycopg2-binary")
    programs = {name: postgresql(name) for name in ("initdb", "pg_ctl")}
    home = Path(tempfile.mkdtemp(prefix="petvr-pg-", dir="/tmp"))  # a socket's path is short
    who: dict = {}
    if os.getuid() == 0:  # it does not run as root
        try:
            shutil.chown(home, "postgres")
        except LookupError:
            pytest.skip("no user postgres, and PostgreSQL does not run as root")
        who = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data, environment = str(home / "data"), {**os.environ, "LC_ALL": "C", "HOME": str(home)}

    def call(name: str, *words: str) -> None:
        with open(home / f"{name}.log", "a") as log:
            subprocess.run(
                [programs[name], *words], check=True, cwd=home, env=environment, stdout=log, stderr=log, **who
            )

    call("initdb", "-D", data, "-U", "petvr", "-A", "trust", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={home} -c fsync=off"
    call("pg_ctl", "-D", data, "-l", str(home / "server.log"), "-w", "-t", str(PATIENCE), "-o", options, "start")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"postgresql://petvr@/postgres?host={home}"]
    command += ["--artifacts-destination", tempfile.mkdtemp(prefix="petvr-artifacts-")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    started = subprocess.Popen(
        command, env=os.environ | quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health").close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert started.poll() is None and time.monotonic() < end, "the MLflow server did not come up"
                time.sleep(0.1)
        yield address
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        started.wait()
        call("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(command[-1], ignore_errors=True)


def told_by(uri: str) -> list:
    """All that is shown of each run, but its ids."""
    with stores.locked(uri):
        opened = stores.open_store(uri, "petvr")
        runs = stores.search(opened)
    lines, client = [], opened.client
    for run in runs:
        curves = {
            name: sorted((one.step, one.value, one.timestamp)
                         for one in client.get_metric_history(run.info.run_id, name))
            for name in ("curve/train_loss", "curve/v2t_MnR")
        }  # fmt: skip
        inputs = sorted((one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs)
        artifacts = sorted(one.path for one in client.list_artifacts(run.info.run_id))
        tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"}
        info = (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time)
        lines.append((*info, tags, run.data.params, run.data.metrics, curves, inputs, artifacts))
    return sorted(lines, key=lambda line: line[0])  # fmt: skip


def test_a_server_on_postgresql_holds_what_a_local_file_holds(server, tmp_path, monkeypatch):
    results, run = tmp_path / "results", spec("vop", 1)
    put(results, "vop", [44.0, 45.0])
    put(results, "bias", [40.0])
    (Layout(results).run(run) / "adapter.safetensors").write_bytes(b"weights")
    assert tracking.sync(results).ok
    status = tracking.sync(results, server)
    assert (status.ok, status.logged) == (True, 3), status
    local, remote = told_by(tracking.default_uri(results)), told_by(server)
    assert remote == local and len(local) == 5
    assert ["README.md", "adapter.safetensors", "result.json"] in [line[-1] for line in remote]
    status = tracking.sync(results, server, again=True)
    assert (status.logged, status.unchanged, status.removed) == (0, 3, 0)
    # a run that trains appears there from any machine; its result takes its place
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert live.shows_live(server)
    monkeypatch.setattr(live, "AFTER", 0)
    training = spec("vop", 2)
    Layout(results).state(training).mkdir(parents=True)

    class State:
        step, evaluations, losses = 0, [], None

    feed = live.LiveFeed(training, results, server, "petvr", {})
    feed.evaluations = -1  # something to say at once
    feed(State)
    feed.close(finished=False)
    assert [line[1] for line in told_by(server) if line[0].endswith("training")] == ["KILLED"]
    put(results, "vop", [44.0, 45.0, 46.0])
    assert tracking.sync(results, server).ok
    assert [line[1] for line in told_by(server)] == ["FINISHED"] * 6
