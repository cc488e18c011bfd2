"""What a person sees of a run: a bar where one watches, plain lines where not, and log.txt in both cases."""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

QUIET_SECONDS = 30.0  # between two plain lines about steps


class RunLog:
    """Lines go to `log` with their UTC time and, unless `show` is False, to stderr.

    show: None decides by whether stderr is a terminal; True draws the bar in any case. A log that cannot be written
    never stops a run.
    """

    def __init__(self, log: Path, show: bool | None = None) -> None:
        self.bar_wanted = sys.stderr.isatty() if show is None else show
        self.quiet = show is False
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()
        self._stream: TextIO | None = None
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            self._stream = open(log, "a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()

    def line(self, text: str) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n")
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        elif not self.quiet:
            with contextlib.suppress(OSError):
                print(text, file=sys.stderr, flush=True)

    def start_bar(self, step: int, total: int, title: str) -> None:
        if not self.bar_wanted or total == 0:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *(TextColumn(part) if isinstance(part, str) else part for part in columns), console=Console(stderr=True)
        )
        self._task = self._progress.add_task(title, total=total, completed=step)
        self._progress.start()

    def step(self, step: int, total: int, loss: float | None, what: str = "step") -> None:
        """After each step; `loss` is the mean since the last evaluation, None where it is not known without waiting."""
        if self._progress is not None:
            self._progress.update(self._task, completed=step)
        elif time.monotonic() - self._last_line >= QUIET_SECONDS:
            self._last_line = time.monotonic()
            self.line(f"{what} {step} of {total}" + ("" if loss is None else f", loss {loss:.4f}"))
