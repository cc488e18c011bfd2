"""How long and how often a transfer is tried: growing pauses, Retry-After obeyed, progress starts anew."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import tenacity

from petvr.data.download.failures import Cancelled, RetryLater

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """All times in seconds; the numbers are guesses of what a busy but working server needs."""

    tries: int = 6  # attempts in a row without a byte gained: pauses of 1, 2, 4, 8, 16
    first: float = 1.0
    longest: float = 60.0
    asked: float = 900.0  # a longer Retry-After is left to the next call
    connect: float = 20.0
    read: float = 60.0
    slow_after: float = 60.0  # a connection with less than slow_bytes in so many seconds is given up
    slow_bytes: int = 60 * 1024
    clock: Callable[[], float] = time.monotonic
    halt: threading.Event = field(default_factory=threading.Event)
    sleep: Callable[[float], None] | None = None  # default: waits for `halt`

    def call(self, attempt: Callable[[], T], gained: Callable[[], int], tries: int | None = None) -> T:
        """Call `attempt` until it returns, raises what is not RetryLater, or has failed `tries` times without gain.

        gained: a number that grows whenever a byte was saved.
        """
        failures, best = 0, gained()

        def stop(state: tenacity.RetryCallState) -> bool:
            error = _failure(state)
            limit = min(error.tries or self.tries, tries or self.tries)
            return failures >= limit or (error.pause or 0) > self.asked

        def pause(state: tenacity.RetryCallState) -> float:
            growing = min(self.longest, self.first * 2 ** (failures - 1))
            return max(growing, _failure(state).pause or 0)

        def tried() -> T:
            nonlocal failures, best
            self.raise_if_cancelled()
            try:
                return attempt()
            except RetryLater:
                now = gained()
                failures, best = (1, now) if now > best else (failures + 1, best)
                raise

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RetryLater),
            stop=stop,
            wait=pause,
            sleep=self.sleep or self._wait,
            reraise=True,
        )
        return retrying(tried)

    def _wait(self, seconds: float) -> None:
        self.halt.wait(seconds)

    def raise_if_cancelled(self) -> None:
        if self.halt.is_set():
            raise Cancelled("interrupted; the next call continues")


def _failure(state: tenacity.RetryCallState) -> RetryLater:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, RetryLater)  # nothing else is tried again
    return error


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date; None where it is neither."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, IndexError, AttributeError):  # by what was sent and Python's release
        return None
