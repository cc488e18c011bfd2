"""A progress bar where a person watches, plain lines where not; both on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

Step = Callable[..., None]
EVERY_SECONDS = 15.0


def video_progress(progress: bool, name: str) -> Callable[[int], AbstractContextManager[Step]]:
    """A context manager for a number of videos, whose value is called after each: `step(problem="id: reason")`."""
    if not progress:
        return lambda total: _silent()
    return (lambda total: _bar(total, name)) if sys.stderr.isatty() else (lambda total: _lines(total, name))


@contextlib.contextmanager
def _silent() -> Iterator[Step]:
    yield lambda problem="": None


@contextlib.contextmanager
def _bar(total: int, name: str) -> Iterator[Step]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"frames {name}", total=total)

        def step(problem: str = "") -> None:
            if problem:
                bar.console.print(f"left out: {problem}", markup=False, highlight=False)
            bar.advance(task)

        yield step


@contextlib.contextmanager
def _lines(total: int, name: str) -> Iterator[Step]:
    started = printed = time.monotonic()
    done = bad = 0

    def step(problem: str = "") -> None:
        nonlocal done, bad, printed
        done += 1
        if problem:
            bad += 1
            print(f"frames {name}: left out: {problem}", file=sys.stderr, flush=True)
        now = time.monotonic()
        if done == total or now - printed >= EVERY_SECONDS:
            printed = now
            rate = done / max(now - started, 1e-9)
            print(f"frames {name}: {done}/{total} videos, {bad} left out, {rate:.1f}/s", file=sys.stderr, flush=True)

    yield step
