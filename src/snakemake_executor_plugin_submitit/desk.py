"""The desk between Snakemake and the cluster: takes work in, sends it in arrays, says what became of it.

Knows nothing of Snakemake's objects, and can be driven by a test. All waiting is asynchronous; what must survive the
process is in the ledger before it happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit import files
from snakemake_executor_plugin_submitit.ledger import Ledger, Submission
from snakemake_executor_plugin_submitit.truth import ACTIVE, Evidence, Fate, Limits, Seen, judge


@dataclass(eq=False)
class Item:
    """One piece of work at the desk, through all of its submissions."""

    info: Mapping[str, Any]  # of work.describe
    needs: Mapping[str, Any]
    command: Callable[[Path], str]  # the shell command, given the submission's folder
    attempt: int
    logs: list[str] = field(default_factory=list)  # of the rule, beside this package's own
    submission: Submission | None = None
    folder: str = ""
    again: int = 0  # submitted once more through no fault of its own
    seen: Seen | None = None
    since: float | None = None
    asked: bool = False
    note: str = ""
    fate: tuple[Fate, str] | None = None

    @property
    def id(self) -> str | None:
        return self.submission.id if self.submission else None


@dataclass
class Desk:
    base: Path
    settings: Any
    limits: Limits
    cwd: str
    backend: Any  # batches.SlurmBackend or local.LocalBackend
    say: Callable[[str], None]
    ledger: Ledger = field(init=False)
    items: dict[str, Item] = field(default_factory=dict)  # by folder; those without a fate
    closing: bool = False
    looked: float = 0.0
    interval: float = 3.0

    def __post_init__(self) -> None:
        self.jobs = self.base / "jobs"
        self.ledger = Ledger(self.base / "ledger.jsonl")
        self.backend.ledger, self.backend.jobs = self.ledger, self.jobs

    # ---- in ----

    def take(self, item: Item) -> bool:
        """Attach to an earlier head's submission of the same work, else make a new one; True where attached."""
        known = self.ledger.latest.get(item.info["work"])
        if known is not None and known.open:
            done = known.outcome == "success" or self._result(known.folder).get("outcome") == "success"
            there = all(Path(file).exists() for file in item.info["outputs"])
            if known.digest == item.info["digest"] and (there or not done):
                item.submission, item.folder = known, known.folder
                self.items[item.folder] = item
                self.backend.adopt(item)
                self.looked = 0.0
                return True
            if not done:
                self._abandon(known)
        self._new(item)
        return False

    def _new(self, item: Item) -> None:
        work = self.jobs / item.info["work"]
        work.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.name) for path in work.iterdir() if path.name.isdigit()), default=0)
        item.folder = f"{item.info['work']}/{number}"
        folder = self.jobs / item.folder
        folder.mkdir()
        (folder / "command.sh").write_text(f"#!/bin/bash\n{item.command(folder)}\n", encoding="utf-8")
        spec = {
            "name": item.info["name"],
            "wildcards": item.info["wildcards"],
            "outputs": item.info["outputs"],
            "attempt": item.attempt,
            "cwd": self.cwd,
            "signal": self.settings.signal.removeprefix("SIG"),
            "requeue_codes": self.settings.requeue_codes,
            "max_requeues": self.settings.max_requeues,
        }
        files.write(folder / "spec.json", spec)
        files.write(work / "latest.json", {"folder": str(number)})  # any older start of this work now steps back
        item.submission = item.seen = item.since = None
        item.asked = False
        self.items[item.folder] = item
        self.backend.put(item)

    def _abandon(self, known: Submission) -> None:
        """Take back what an earlier head submitted: parameters or inputs have changed since."""
        self.say(f"{known.work}: submitted earlier as {known.id or known.batch}, but changed since; taking it back.")
        self._notice(known.folder)
        self.ledger.ended(known, "cancelled", "changed before it ran to its end")
        self.backend.abandon(known)

    # ---- out ----

    async def step(self) -> None:
        """One round: send, look, judge. Items that met their fate have it in `fate` and leave the desk."""
        if self.closing:
            return
        for item, error in await self.backend.send():
            self._end(item, Fate.FAILED, error)
        results = {folder: self._result(folder) for folder in list(self.items)}
        # Snakemake's own thread may put further items on the desk meanwhile: they wait for the next round
        round_ = [(folder, item) for folder in results if (item := self.items.get(folder)) is not None]
        await self._look([item for folder, item in round_ if not results[folder]])
        for folder, item in round_:
            fate, why = judge(self._evidence(item, results[folder]), self.limits)
            if fate is Fate.WAIT:
                self._mention(item, why)
            elif fate is Fate.AGAIN and item.again < self.settings.max_requeues and not self.closing:
                item.again += 1
                self.say(f"{item.info['work']}: {why}; submitting it once more.")
                self.ledger.ended(item.submission, "resubmitted", why)
                del self.items[folder]
                self._new(item)
            elif not self.closing:
                self._end(item, Fate.DONE if fate is Fate.DONE else Fate.FAILED, why)

    def _evidence(self, item: Item, result: dict) -> Evidence:
        told = False
        if not result and item.asked and (item.seen is None or item.seen.state not in ACTIVE):
            folder = self.jobs / item.folder
            stopped, owner = files.read(folder / "stopped.json"), files.read(folder / "owner.json")
            told = bool(stopped and owner and stopped["left"] and stopped.get("token") == owner.get("token"))
        return Evidence(
            now=self.looked, result=result or None, stopped=told, seen=item.seen, asked=item.asked, since=item.since
        )

    async def _look(self, open_items: list[Item]) -> None:
        """Ask the queue, once for all, when it is time to; more often while something looks wrong."""
        asked = [item for item in open_items if item.id]
        now = time.monotonic()
        if not asked or now < self.looked + self.interval:
            return
        seen = await self.backend.look([(item.id, item.submission.batch) for item in asked])
        now = self.looked = max(now, time.monotonic())
        if seen is None:  # no answer: nothing is known, and nobody's patience runs
            for item in asked:
                item.since = now if item.since is not None else None
            self.interval = min(30.0, self.interval * 1.5)
            return
        odd = False
        for item in asked:
            state = seen.get((item.id, item.submission.batch))
            if not item.asked or (state and state.state) != (item.seen and item.seen.state):
                item.since = now
            item.asked, item.seen = True, state
            odd |= state is None or state.state not in ("PENDING", "RUNNING")
        self.interval = 3.0 if odd else min(15.0 if len(asked) < 200 else 30.0, self.interval * 1.5)

    def _mention(self, item: Item, why: str) -> None:
        """Say once what a person would want to know: held, suspended, preempted, lost from sight."""
        state = item.seen.state if item.seen else "?"
        if state != item.note and item.asked and state not in ("PENDING", "RUNNING", "COMPLETING", "COMPLETED", "?"):
            self.say(f"{item.info['work']} ({item.id}): {why}; waiting.")
        item.note = state

    def _end(self, item: Item, fate: Fate, why: str) -> None:
        del self.items[item.folder]
        if item.submission is not None and item.submission.outcome in (None, "resubmitted"):
            self.ledger.ended(item.submission, "success" if fate is Fate.DONE else "failed", why)
        if fate is Fate.FAILED and item.seen is not None and item.seen.state in ("REQUEUE_HOLD", "SUSPENDED"):
            self._notice(item.folder)
            self.backend.abandon(item.submission)
        item.fate = (fate, self.message(item, why) if fate is Fate.FAILED else "")

    def message(self, item: Item, why: str) -> str:
        log = self.jobs / item.folder / "log.txt"
        words = files.tail(log)
        where = f"Slurm job {item.id}: " if item.id and self.settings.cluster == "slurm" else ""
        text = f"{where}{why}\nLast lines of {log}:\n{words}\n" if words else f"{where}{why}\n(no log: {log})\n"
        if item.submission is not None and item.id and not self._result(item.folder):  # Slurm's words on why it died
            text += "".join(f"{line}\n" for line in self.backend.words(item.submission))
        return text

    def acknowledge(self, item: Item) -> None:
        """Snakemake has taken note of the item's fate: the next head need not look at it."""
        if item.submission is not None:
            self.ledger.acknowledged(item.submission)

    def _result(self, folder: str) -> dict:
        return files.read(self.jobs / folder / "result.json") or {}

    def _notice(self, folder: str) -> None:
        """Tell a job that it is being cancelled, not preempted: it then writes no checkpoint."""
        (self.jobs / folder).mkdir(parents=True, exist_ok=True)
        (self.jobs / folder / "cancel").touch()

    # ---- away ----

    def cancel(self, patience: float = 30.0) -> None:
        """Take back everything that has not ended, and wait until it is gone."""
        self.closing = True
        gone = [item for item in list(self.items.values()) if self._result(item.folder).get("outcome") is None]
        for item in gone:
            self._notice(item.folder)
        self.backend.cancel(gone, patience)
        for item in gone:
            if item.submission is not None and item.submission.outcome is None:
                self.ledger.ended(item.submission, "cancelled", "interrupted")

    def pace(self) -> float:
        """Seconds until the next round."""
        if self.backend.busy():
            return 0.2
        return max(0.2, self.settings.poll_seconds, len(self.items) / 500)
