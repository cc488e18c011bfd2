"""What jobs wait for, told to a person: when it first appears, then at growing intervals, once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from snakemake_executor_plugin_submitit.job_state import Timeouts, patience_with, span
from snakemake_executor_plugin_submitit.pending import Prospect

if TYPE_CHECKING:
    from snakemake_executor_plugin_submitit.job_manager import TrackedJob

UNREMARKABLE = ("RUNNING", "CONFIGURING", "COMPLETING", "COMPLETED")
ORDINARY_S, FIRST_S, LONGEST_S = 60.0, 300.0, 4 * 3600.0


class WaitReport:
    def __init__(self, log: Callable[[str], object], timeouts: Timeouts):
        self.log, self.timeouts = log, timeouts
        self.due: dict[str, tuple[float, float]] = {}  # by what they wait for: when to tell of it (again), interval

    def tell(self, waiting: Iterable[tuple[TrackedJob, str]], now: float) -> None:
        """Of each thing that jobs wait for (job, what), where that is due."""
        groups: dict[str, list[TrackedJob]] = {}
        for job, what in waiting:
            if job.queue_answered and not (job.queue_entry and job.queue_entry.state in UNREMARKABLE):
                groups.setdefault(what, []).append(job)
        for what, jobs in groups.items():
            due, interval = self.due.get(what, (self._first(jobs, now), FIRST_S))
            if now >= due:
                self.log(self._line(what, jobs, now))
                self.due[what] = (now + interval, min(LONGEST_S, 2 * interval))

    def _first(self, jobs: list[TrackedJob], now: float) -> float:
        pending = jobs[0].queue_entry and jobs[0].queue_entry.pending
        lasting = ORDINARY_S if pending and pending.prospect is Prospect.SOON else 0.0
        return min((job.since for job in jobs if job.since is not None), default=now) + lasting

    def _line(self, what: str, jobs: list[TrackedJob], now: float) -> str:
        first, entry = jobs[0], jobs[0].queue_entry
        others = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        line = f"{first.info['work']} ({first.id}){others}: {what}; waiting."
        if entry is None:
            return line
        if entry.pending is not None:
            line += f" That is: {entry.pending.meaning.replace('<id>', str(first.id))}."
        if (patience := patience_with(entry, self.timeouts)) is not None:
            left = max(0.0, patience - (now - (first.since if first.since is not None else now)))
            line += f" Unless that changes it is cancelled in {span(left)}."
        return line
