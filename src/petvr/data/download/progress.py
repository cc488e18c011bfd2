"""BarProgress where a person watches, a line now and then where not, nothing in tests; all on stderr."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

EVERY_SECONDS = 15.0
OnProgress = Callable[[int, int | None], None]


class SilentProgress:
    """Hears of every transfer and says nothing."""

    @contextlib.contextmanager
    def bytes(self, name: str) -> Iterator[OnProgress]:
        """A function for (bytes that are there, bytes in all or None)."""
        yield lambda have, total: None

    @contextlib.contextmanager
    def items(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """A function to be called after each of `total` things."""
        yield lambda: None

    def say(self, line: str) -> None:
        """One line that stays."""


class LogProgress(SilentProgress):
    """For logs."""

    def __init__(self) -> None:
        self._guard = threading.Lock()

    def say(self, line: str) -> None:
        with self._guard:
            print(line, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def bytes(self, name: str) -> Iterator[OnProgress]:
        started = last_line = time.monotonic()
        first: int | None = None

        def on_progress(have: int, total: int | None) -> None:
            nonlocal last_line, first
            first = have if first is None else first
            if (now := time.monotonic()) - last_line >= EVERY_SECONDS:
                last_line = now
                of = f" of {total / 1e6:,.1f}" if total else ""
                rate = (have - first) / 1e6 / (now - started)
                self.say(f"{name}: {have / 1e6:,.1f}{of} MB, {rate:.1f} MB/s")

        yield on_progress

    @contextlib.contextmanager
    def items(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        last_line, done = time.monotonic(), 0

        def step() -> None:
            nonlocal last_line, done
            with self._guard:
                done += 1
                due = done == total or time.monotonic() - last_line >= EVERY_SECONDS
                last_line = time.monotonic() if due else last_line
            if due:
                self.say(f"{name}: {done:,} of {total:,}")

        yield step


class BarProgress(SilentProgress):
    """For a terminal."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress

    def say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def bytes(self, name: str) -> Iterator[OnProgress]:
        task = self._progress.add_task(name, total=None, kind="bytes")
        try:
            yield lambda have, total: self._progress.update(task, completed=have, total=total)
        finally:
            self._progress.remove_task(task)

    @contextlib.contextmanager
    def items(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        task = self._progress.add_task(name, total=total)
        try:
            yield lambda: self._progress.advance(task)
        finally:
            self._progress.remove_task(task)


@contextlib.contextmanager
def show_progress() -> Iterator[SilentProgress]:
    if not sys.stderr.isatty():
        yield LogProgress()
        return
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        """Bytes as MB and GB with their rate, videos as numbers."""

        def render(self, task: Task) -> Text:
            total = task.total
            if task.fields.get("kind") != "bytes":
                return Text(f"{task.completed:,.0f}/{total or 0:,.0f}")
            of = f"/{decimal(int(total))}" if total else ""
            speed = f" {decimal(int(task.speed))}/s" if task.speed else ""
            return Text(f"{decimal(int(task.completed))}{of}{speed}")

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), Amount(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield BarProgress(progress)
