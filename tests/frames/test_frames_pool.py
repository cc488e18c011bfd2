"""The pool ends what hangs or crashes and finishes the rest."""

import ctypes
import os
import signal
import time
from types import SimpleNamespace

import pytest

from petvr.data.frames import pool
from petvr.data.frames.probe import Unreadable
from petvr.errors import PetvrError


def work(what, value=None):
    if what == "hang":  # holds the GIL, as decord's endless loop does: no thread of this process could end it
        ctypes.PyDLL(None).sleep(600)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "exit":
        os._exit(3)
    if what == "unreadable":
        raise Unreadable("some/file.mp4", "empty file")
    if what == "bug":
        raise ZeroDivisionError("division by zero")
    return value


def outcomes(tasks, **options):
    options = {"workers": 2, "seconds": 1800} | options
    return {o.key: o for o in pool.run_tasks(work, iter(tasks), **options)}


def test_results_come_back_under_their_keys():
    found = outcomes([(f"k{i}", ("fine", i)) for i in range(7)])
    assert {key: outcome.value for key, outcome in found.items()} == {f"k{i}": i for i in range(7)}
    assert not any(outcome.error or outcome.lost for outcome in found.values())


@pytest.mark.slow
def test_a_hang_costs_one_task(monkeypatch):
    """The clock jumps as that task is handed out: of its ten minutes one second is left, the other has all of them."""
    jumps = []
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() - (jumps.pop() if jumps else 0))
    monkeypatch.setattr(pool, "time", clock)

    def tasks():
        jumps.append(599)
        yield "hang", ("hang",)
        yield "fine", ("fine", 1)

    found = outcomes(tasks(), workers=1, seconds=600)
    assert found["hang"].lost and found["hang"].error == "decoding did not end within 600 s"
    assert found["fine"].value == 1


@pytest.mark.slow
def test_a_crash_costs_one_task():
    tasks = [("crash", ("crash",)), ("exit", ("exit",)), *((i, ("fine", i)) for i in range(4))]
    found = outcomes(tasks)
    assert [found[i].value for i in range(4)] == [0, 1, 2, 3]
    assert found["crash"].lost and "SIGSEGV" in found["crash"].error
    assert found["exit"].lost and "exit code 3" in found["exit"].error


def test_errors_are_one_line():
    found = outcomes([("a", ("unreadable",)), ("b", ("bug",)), ("c", ("fine", 1))], workers=1)
    assert found["a"].error == "empty file" and not found["a"].lost
    assert found["b"].error.startswith("ZeroDivisionError: division by zero (test_frames_pool.py:")
    assert found["c"].value == 1


def test_tasks_may_be_added_after_an_outcome():
    again = []

    def feed():
        yield "first", ("crash",)
        while True:
            yield ("second", ("fine", 2)) if again and again.pop() else None

    found = {}
    for outcome in pool.run_tasks(work, feed(), workers=1, seconds=1800):
        found[outcome.key] = outcome
        if outcome.lost:
            again.append(True)
    assert found["first"].lost and found["second"].value == 2


def test_a_function_that_cannot_start_is_an_error_not_a_loop(monkeypatch):
    monkeypatch.setattr(pool, "_serve", os._exit)  # called with a pipe: dies before it is ready
    with pytest.raises(PetvrError, match="could not be started"):
        list(pool.run_tasks(work, iter([("a", ("fine",))]), workers=1, seconds=1800))


def test_no_process_is_left_behind():
    stop = pool.run_tasks(work, iter([("a", ("fine", 1)), ("b", ("hang",))]), workers=2, seconds=1800)
    assert next(stop).value == 1
    import multiprocessing

    children = multiprocessing.active_children()
    assert children
    stop.close()
    deadline = time.monotonic() + 1800
    while any(child.is_alive() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(child.is_alive() for child in children)
