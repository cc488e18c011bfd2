"""A bar where a person watches; looking at files takes seconds, so nothing is said elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def check_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A function to be called with the number of videos done and the number of all."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"videos of {name}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
