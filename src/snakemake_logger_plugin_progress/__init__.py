"""`snakemake --logger progress`: a workflow in one line, how many jobs are done and how long the others will take.

On a terminal the line is written over and over; elsewhere one is printed at every twentieth of the work. Warnings,
errors and failed jobs, with the end of their logs, are always shown. A dry-run looks as it does without the plugin, and
so does a call that asks for more (`--verbose`, `--printshellcmds`, `--debug-dag`). A workflow can say what is counted,
and how long its rules take beside one another, in `onstart`:

    logger.info("About five minutes", extra={"progress": {"rule": "train", "noun": "runs", "seconds": {"train": 9.0}}})
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

LOG_LINES = 30  # of a failed job's log
STEPS = 20  # lines where nobody watches
NOISE = "returned non-zero exit status"  # of a command that is shown, in the words of the exception for it


class LogHandler(LogHandlerBase):
    """Counts what Snakemake reports; writes to the stream that Snakemake would write to."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        settings = self.common_settings
        self.stream = sys.stdout if settings.stdout else sys.stderr
        self.watched = self.stream.isatty()
        self.as_ever = _snakemakes_own(settings, self.stream) if _asks_for_more(settings) else None
        self.began = time.monotonic()
        self.jobs: Counter[str] = Counter()  # rule -> jobs to run
        self.done: Counter[str] = Counter()
        self.rules: dict[int, str] = {}  # job id -> rule, known a moment after the job is started
        self.running: set[int] = set()
        self.failed: set[int] = set()
        self.counted, self.noun, self.seconds = "", "jobs", dict[str, float]()
        self.said = 0  # twentieths that were printed
        self.open_line = self.closed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Called in the listener's thread alone, so that nothing here needs a lock."""
        try:
            if self.as_ever is not None:
                self.as_ever.handle(record)
            else:
                self._take(record)
        except Exception:
            self.handleError(record)

    def _take(self, record: logging.LogRecord) -> None:
        event, facts = getattr(record, "event", None), vars(record)
        if event == LogEvent.RUN_INFO:
            self.jobs = Counter({rule: count for rule, count in facts["stats"].items() if rule != "total"})
            self.began = time.monotonic()
        elif event == LogEvent.JOB_INFO:
            self.rules[facts["jobid"]] = facts["rule_name"]
        elif event == LogEvent.JOB_STARTED:
            self.running |= set(facts["jobs"])
        elif event == LogEvent.JOB_FINISHED:
            self.running.discard(facts["job_id"])
            self.done[self.rules.get(facts["job_id"], "")] += 1
            self._show_progress()
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            for job in facts.get("job_error_info", [facts]):
                self.running.discard(job["jobid"])
                self.failed.add(job["jobid"])
                self._print("\n".join(_failure(job)))
        elif "progress" in facts:
            progress: Mapping[str, Any] = facts["progress"]
            self.counted, self.noun = progress.get("rule", ""), progress.get("noun", "jobs")
            self.seconds = dict(progress.get("seconds", {}))
            self._print(record.getMessage())
        elif NOISE not in record.getMessage() and _concerns_a_person(record):
            self._print(record.getMessage().strip())

    def _show_progress(self) -> None:
        twentieth = int(STEPS * self._share_done())
        if self.watched:
            width = shutil.get_terminal_size().columns
            self.stream.write(f"\r\x1b[K{self.line()[: width - 1]}")
            self.stream.flush()
            self.open_line = True
        elif twentieth > self.said:
            self.said = twentieth
            self._print(self.line())

    def line(self) -> str:
        """`runs 37 of 132, all jobs 61 of 214; 4:10 gone, about 6 min left`"""
        done = [f"jobs {self.done.total()} of {self.jobs.total()}"]
        if self.counted in self.jobs:
            done = [f"{self.noun} {self.done[self.counted]} of {self.jobs[self.counted]}", f"all {done[0]}"]
        gone = time.monotonic() - self.began
        times = [f"{_clock(gone)} gone"]
        if 0.02 < (share := self._share_done()) < 1:
            times.append(f"{_roughly(gone / share - gone)} left")
        failed = [f"{len(self.failed)} FAILED"] if self.failed else []
        return "; ".join([", ".join(done), ", ".join(times), *failed])

    def _share_done(self) -> float:
        """Of all seconds; what runs is taken as half done."""
        usual = sum(self.seconds.values()) / len(self.seconds) if self.seconds else 1.0

        def weight(jobs: Counter[str]) -> float:
            return sum(count * self.seconds.get(rule, usual) for rule, count in jobs.items())

        done = weight(self.done) + 0.5 * weight(Counter(self.rules.get(job, "") for job in self.running))
        return min(1.0, done / max(weight(self.jobs), done, 1e-9)) if self.done.total() < self.jobs.total() else 1.0

    def _print(self, text: str) -> None:
        self._end_line()
        print(text, file=self.stream, flush=True)

    def _end_line(self) -> None:
        if self.open_line:
            print(file=self.stream, flush=True)
            self.open_line = False

    def close(self) -> None:
        if self.as_ever is None and self.jobs and not self.closed:
            self.closed = True
            done, total, failed = self.done.total(), self.jobs.total(), len(self.failed)
            end = f", {failed} failed" if failed else ""
            self._print(f"{done} of {total} jobs done{end}, in {_clock(time.monotonic() - self.began)}")
        super().close()


def _concerns_a_person(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.getMessage().startswith("Nothing to be done")


def _asks_for_more(settings: Any) -> bool:
    return bool(settings.dryrun or settings.verbose or settings.printshellcmds or settings.debug_dag)


def _snakemakes_own(settings: Any, stream: Any) -> logging.Handler:
    from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

    shown = (settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds)
    formatter = DefaultFormatter(settings.quiet, settings.show_failed_logs)
    return ColorizingTextHandler(settings.nocolor, stream, formatter, DefaultFilter(*shown))


def _failure(job: Mapping[str, Any]) -> Iterator[str]:
    """What failed, by its files and its command, and the end of what it said."""
    yield f"FAILED: rule {job['rule_name']}, {', '.join(map(str, job['output'])) or 'no output'}"
    if job.get("rule_msg"):
        yield f"    {job['rule_msg']}"
    if job.get("shellcmd"):
        yield f"    {job['shellcmd'].strip()}"
    for name in job["log"]:
        try:
            lines = Path(name).read_text(errors="replace").splitlines()
        except OSError:
            yield f"    its log {name} is not there"
            continue
        yield f"    {name}{', its end' if len(lines) > LOG_LINES else ''}:"
        yield from (f"    | {line}" for line in lines[-LOG_LINES:])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def _roughly(seconds: float) -> str:
    if seconds < 60:
        return "under a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
