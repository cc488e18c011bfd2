"""SIGTERM and SIGUSR2 (Slurm's warning before the time limit): finish the step, save, leave with a named code."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from petvr.training import EXIT_CHECKPOINTED

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class Checkpointed(SystemExit):
    """The run was asked to stop and its state is on disk; an uncaught one ends the process with EXIT_CHECKPOINTED."""

    def __init__(self, message: str) -> None:
        super().__init__(EXIT_CHECKPOINTED)
        self.message = message


class Interrupted(Exception):
    """Raised inside an evaluation to leave it early; the evaluation is done again after the resume."""


class Stop:
    """Remembers that a signal came."""

    def __init__(self) -> None:
        self.name = ""

    def ask(self, name: str) -> None:
        self.name = name

    def pause(self) -> None:
        if self.name:
            raise Interrupted(self.name)


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """Signals set the flag while the block runs; outside the main thread nothing is installed."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda got, _: stop.ask(signal.Signals(got).name))
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
