"""How far a long piece of work is: one line written over and over where a person watches, plain lines where not."""

from __future__ import annotations

import sys
import time


class ProgressLine:
    """`step()` once per piece done; nothing is written when `on` is False."""

    def __init__(self, what: str, total: int, on: bool = True) -> None:
        self.what, self.total, self.on = what, total, on
        self.done, self.began, self.watched = 0, time.monotonic(), sys.stderr.isatty()

    def step(self, note: str = "") -> None:
        self.done += 1
        tenth = self.done * 10 // self.total > (self.done - 1) * 10 // self.total
        if not self.on or not (self.watched or tenth):
            return
        spent = time.monotonic() - self.began
        line = f"{self.what}: {self.done}/{self.total} {note} ({spent:.0f} s)"
        end = "\n" if not self.watched or self.done == self.total else ""
        print(("\r\x1b[K" if self.watched else "") + line, end=end, file=sys.stderr, flush=True)
