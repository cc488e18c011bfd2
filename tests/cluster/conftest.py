"""A private Slurm for these tests: at most one at a time in a worker, in two workers (groups: tests/conftest.py).
Everything that asks for it is skipped where Slurm is not installed.
"""

import contextlib
import getpass
import shutil
import tempfile
from pathlib import Path

import pytest
import slurm_cluster
from job_driver import wait

# a node counts as dead after `node_timeout` seconds: only where a test takes one down may that be short
KINDS = {"full": {"node_timeout": 300}, "bare": {"accounting": False, "nodes": 6, "user_signal": False}}


@contextlib.contextmanager
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
def _lend():
    """Gives the Slurm of a kind, after ending that of another."""
    running = {}
    with contextlib.ExitStack() as stack:

        def lend(kind):
            if kind not in running:
                stack.close()
                running.clear()
                running[kind] = stack.enter_context(_cluster(**KINDS[kind]))
            return running[kind]

        yield lend


def _borrow(cluster, monkeypatch):
    for name in ("slurmctld", *cluster.nodes):  # what a test before this one took down
        if name not in cluster.daemons:
            start = cluster.start_controller if name == "slurmctld" else lambda name=name: cluster.start_node(name)
            start()
    wait(lambda: cluster.idle() == len(cluster.nodes))
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    yield cluster
    mine = ("squeue", "-h", "-u", getpass.getuser(), "-t", "PENDING,RUNNING,SUSPENDED", "-o", "%i %T")
    with contextlib.suppress(AssertionError):  # the controller hears of a job's end a little after its result is there
        wait(lambda: not cluster.run(*mine, check=False), 120)
    left = cluster.run(*mine, check=False)
    ids = cluster.run("squeue", "-h", "-o", "%A", check=False).split()
    if ids:
        cluster.run("scancel", *sorted(set(ids)), check=False)
    wait(lambda: not cluster.run("squeue", "-h", check=False))
    with contextlib.suppress(AssertionError):
        wait(lambda: not cluster.processes(), 120)
    orphans = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in cluster.processes()]
    assert not orphans, orphans
    assert not left, f"jobs were left in the queue: {left}"


@pytest.fixture
def slurm(_lend, monkeypatch):
    """Two nodes of four CPUs and two GPUs, with accounting. Afterwards no job and no process of one may be left."""
    yield from _borrow(_lend("full"), monkeypatch)


@pytest.fixture
def bare(_lend, monkeypatch):
    """Six nodes, no accounting (no slurmdbd, no sacct), and no signal before preemption but SIGTERM."""
    yield from _borrow(_lend("bare"), monkeypatch)
