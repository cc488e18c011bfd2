"""SIGTERM and SIGUSR2 (Slurm's warning before the time limit): leave at the next safe point, with a named exit code."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from petvr.training import EXIT_CHECKPOINTED

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class StopRequested(SystemExit):
    """A signal asked the run to stop; uncaught, it ends the process with EXIT_CHECKPOINTED."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(EXIT_CHECKPOINTED)
        self.signal_name = signal_name


class StopSignal:
    """Remembers that a signal came."""

    def __init__(self) -> None:
        self.name = ""

    def request(self, name: str) -> None:
        self.name = name

    def raise_if_stopped(self) -> None:
        """Between two steps, and between two batches of an evaluation, which is then done again after the resume."""
        if self.name:
            raise StopRequested(self.name)


@contextlib.contextmanager
def catch_signals() -> Iterator[StopSignal]:
    """Signals set the flag while the block runs; outside the main thread nothing is installed."""
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda received, _: stop.request(signal.Signals(received).name))
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
