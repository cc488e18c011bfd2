"""Processes that work through tasks with a time limit each; one that hangs or crashes is replaced, the rest goes on.

decord can loop for ever inside native code while it holds the GIL, so no thread can end it; and a foreign
file may crash any decoder. Only a process can be ended from outside.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any

from petvr.errors import PetvrError

START_SECONDS = 300  # importing the decoders on a loaded machine


@dataclass(frozen=True)
class TaskOutcome:
    key: Any
    value: Any = None
    error: str = ""  # one line; empty when the task succeeded
    lost: bool = False  # the process was ended at the time limit, or died


@dataclass
class _Worker:
    process: Any
    pipe: connection.Connection
    key: Any = None
    busy: bool = False
    ready: bool = False
    deadline: float = field(default=float("inf"))


def _serve(pipe: connection.Connection, function: Callable[..., Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        pipe.send(("ready", None))
        while (arguments := pipe.recv()) is not None:
            pipe.send(attempt(function, arguments))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone


def attempt(function: Callable[..., Any], arguments: tuple) -> tuple[str, Any]:
    """("ok", what the function gives) or ("error", why it gives nothing, in one line)."""
    try:
        return "ok", function(*arguments)
    except PetvrError as error:
        return "error", getattr(error, "reason", str(error))
    except Exception as error:
        raised = traceback.extract_tb(error.__traceback__)[-1]
        return "error", f"{type(error).__name__}: {error} ({os.path.basename(raised.filename)}:{raised.lineno})"


def run_tasks(
    function: Callable[..., Any], tasks: Iterator[tuple[Any, tuple] | None], *, workers: int, seconds: float
) -> Iterator[TaskOutcome]:
    """Yield an Outcome for each (key, arguments) of `tasks`, as they finish; `function` must be importable by name.

    `tasks` may be fed while outcomes are read: it is asked for the next one whenever a process is free, and once more
    after each outcome; None means that there is none at the moment. Raises PetvrError when no process can be started.
    """
    context = multiprocessing.get_context("spawn")
    crew = [_start(context, function) for _ in range(max(1, workers))]
    try:
        while True:
            for index, worker in enumerate(crew):
                if not worker.ready or worker.busy or (task := next(tasks, None)) is None:
                    continue
                worker.key, worker.busy, worker.deadline = task[0], True, time.monotonic() + seconds
                try:
                    worker.pipe.send(task[1])
                except OSError:  # died while it waited for work
                    yield TaskOutcome(task[0], error="the decoding process died while idle", lost=True)
                    _end(worker)
                    crew[index] = _start(context, function)
            if not any(worker.busy or not worker.ready for worker in crew):
                return
            for index, worker in _reports(crew):
                outcome, gone = _take(worker, seconds)
                if gone:
                    _end(worker)
                    crew[index] = _start(context, function)
                if outcome is not None:
                    yield outcome
    finally:
        for worker in crew:
            _end(worker)


def _start(context: Any, function: Callable[..., Any]) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, deadline=time.monotonic() + START_SECONDS)


def _reports(crew: list[_Worker]) -> list[tuple[int, _Worker]]:
    """The workers that sent something, died, or ran over their time; waits until there is one."""
    active = [(index, worker) for index, worker in enumerate(crew) if worker.busy or not worker.ready]
    now = time.monotonic()
    patience = max(0.0, min(worker.deadline for _, worker in active) - now)
    sources = {worker.pipe: None for _, worker in active} | {worker.process.sentinel: None for _, worker in active}
    ready = set(connection.wait(list(sources), timeout=min(patience, 3600)))
    now = time.monotonic()
    return [(p, w) for p, w in active if w.pipe in ready or w.process.sentinel in ready or w.deadline <= now]


def _take(worker: _Worker, seconds: float) -> tuple[TaskOutcome | None, bool]:
    """What a worker has to say, and whether it has to be replaced."""
    try:
        if worker.pipe.poll():
            state, value = worker.pipe.recv()
            key, worker.busy, worker.deadline = worker.key, False, float("inf")
            if state == "ready":
                worker.ready = True
                return None, False
            return (TaskOutcome(key, value) if state == "ok" else TaskOutcome(key, error=value)), False
    except (EOFError, OSError):
        worker.process.join(10)
    if not worker.ready:
        raise PetvrError("a decoding process could not be started (it ended or hung before its first video)")
    if time.monotonic() < worker.deadline:
        worker.process.join(10)  # a dying process closes its files a moment before it can be reaped
    if worker.process.is_alive():
        return TaskOutcome(worker.key, error=f"decoding did not end within {seconds:g} s", lost=True), True
    code = worker.process.exitcode
    how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
    return TaskOutcome(worker.key, error=f"the decoding process died ({how})", lost=True), True


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join(10)
    worker.pipe.close()
