"""A private Slurm for these tests, one per session; everything that asks for it is skipped where Slurm is not there."""

import contextlib
import getpass
import shutil
import tempfile
import time
from pathlib import Path

import pytest
import slurm_cluster
from desk_driver import wait


def _cluster(**kwargs):
    if absent := slurm_cluster.missing():
        pytest.skip(f"Slurm is not installed ({', '.join(absent)}); tests/cluster/install.sh brings it")
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # sockets want short paths
    cluster = slurm_cluster.Cluster(root, **kwargs)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def _full():
    yield from _cluster()


@pytest.fixture(scope="session")
def _bare():
    yield from _cluster(accounting=False, nodes=6, user_signal=False)


def _borrow(cluster, monkeypatch):
    for name in ("slurmctld", *cluster.nodes):  # what a test before this one took down
        if name not in cluster.daemons:
            start = cluster.start_controller if name == "slurmctld" else lambda name=name: cluster.start_node(name)
            start()
    wait(lambda: cluster.idle() == len(cluster.nodes), 60)
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    yield cluster
    mine = ("squeue", "-h", "-u", getpass.getuser(), "-t", "PENDING,RUNNING,SUSPENDED", "-o", "%i %T")
    with contextlib.suppress(AssertionError):  # the controller hears of a job's end a little after its result is there
        wait(lambda: not cluster.run(*mine, check=False), 10)
    left = cluster.run(*mine, check=False)
    ids = cluster.run("squeue", "-h", "-o", "%A", check=False).split()
    if ids:
        cluster.run("scancel", *sorted(set(ids)), check=False)
    wait(lambda: not cluster.run("squeue", "-h", check=False), 60)
    deadline = time.monotonic() + 30
    while (orphans := cluster.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not orphans, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in orphans]
    assert not left, f"jobs were left in the queue: {left}"


@pytest.fixture
def slurm(_full, monkeypatch):
    """Two nodes of four CPUs and two GPUs, with accounting. Afterwards no job and no process of one may be left."""
    yield from _borrow(_full, monkeypatch)


@pytest.fixture
def bare(_bare, monkeypatch):
    """Six nodes, no accounting (no slurmdbd, no sacct), and no signal before preemption but SIGTERM."""
    yield from _borrow(_bare, monkeypatch)
