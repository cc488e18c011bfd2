"""What has become of a job, from what can be known: its result file first, then the queue, then accounting.

A pure function of what was observed, so that every odd order of events can be tested without a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from snakemake_executor_plugin_submitit.pending import PendingReason, Prospect, explain_reason

ACTIVE = {
    *("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING"),
    *("REQUEUED", "REQUEUE_FED", "UPDATE_DB", "POWER_UP_NODE"),
}
AWAY = {"REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED", "STOPPED"}  # somebody holds it; it may come back
MAX_RELEASES = 3
RETURNING = {"PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"}  # nobody's fault


class JobOutcome(Enum):
    WAIT = "wait"
    DONE = "done"
    FAILED = "failed"
    RESUBMIT = "resubmit"  # ended through no fault of its own: submit it once more, as the same attempt
    RELEASE = "release"  # held by Slurm after a failure of Slurm's own: let it go on


@dataclass(frozen=True)
class QueueEntry:
    """One line of squeue or sacct."""

    state: str  # first word only: "CANCELLED by 0" is CANCELLED
    reason: str = ""
    node: str = ""
    partition: str = ""  # several, with commas, while it waits for the first that takes it

    @property
    def pending(self) -> PendingReason | None:
        """Why it waits, where it does."""
        return explain_reason(self.reason, self.partition) if self.state == "PENDING" else None

    def __str__(self) -> str:
        return f"{self.state}{f' ({self.reason})' if self.reason not in ('', 'None') else ''}"

    @property
    def condition(self) -> tuple[str, Prospect | None]:
        """What must change for patience to begin anew."""
        return self.state, self.pending.prospect if self.pending else None


@dataclass(frozen=True)
class Timeouts:
    """In seconds."""

    result: float = 15.0  # for a result to become visible on a network disk after the job's end
    requeue: float = 30.0  # for Slurm to put a preempted job or one of a dead node back into its queue
    lost: float = 60.0  # unknown to squeue and sacct
    away: float = 86400.0  # held or suspended
    blocked: float = 600.0  # cannot start as it is
    release: float = 10.0  # between two releases of a job that Slurm held after a failed launch


@dataclass
class Observation:
    """What is known of one submission. Times are those of the monotonic clock, None where it has not happened."""

    now: float
    result: dict | None = None  # the job's own result file
    left_checkpoint: bool = False  # the job's last start left with a checkpoint, to be continued
    entry: QueueEntry | None = None  # the newest line of squeue, else of sacct
    queue_answered: bool = False  # at least once since submission
    since: float | None = None  # when the present condition (or absence) was first observed
    releases: int = 0


def patience_with(entry: QueueEntry, timeouts: Timeouts) -> float | None:
    """Seconds after which a job that waits like this is given up; None where it is not."""
    if entry.pending is None:
        return timeouts.away if entry.state in AWAY else None
    return {
        Prospect.NEVER: timeouts.blocked,
        Prospect.HELD: timeouts.away,
        Prospect.RELEASED: timeouts.release,
    }.get(entry.pending.prospect)


def span(seconds: float) -> str:
    """A length of time for a person."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def decide(observed: Observation, timeouts: Timeouts) -> tuple[JobOutcome, str]:
    """The outcome of a submission and a reason for a person."""
    if observed.result is not None:
        outcome = observed.result.get("outcome")
        if outcome == "success":
            return JobOutcome.DONE, ""
        if outcome == "failed":
            return JobOutcome.FAILED, observed.result.get("reason", "failed")
    if not observed.queue_answered or observed.since is None:
        return JobOutcome.WAIT, "no answer from the queue yet"
    age = observed.now - observed.since
    if observed.entry is None:
        if age < timeouts.lost:
            return JobOutcome.WAIT, "unknown to the queue"
        if observed.left_checkpoint:
            return JobOutcome.RESUBMIT, "left with a checkpoint and did not come back"
        absent = f"gone from the queue for {age:.0f} s without a result (cancelled, or killed with its node)"
        return JobOutcome.FAILED, absent
    state, note, pending = observed.entry.state, str(observed.entry), observed.entry.pending
    if pending is not None and pending.prospect is Prospect.RELEASED and observed.releases < MAX_RELEASES:
        return (JobOutcome.WAIT if age < timeouts.release else JobOutcome.RELEASE), note
    if (patience := patience_with(observed.entry, timeouts)) is not None:
        if age < patience:
            return JobOutcome.WAIT, note
        meaning = f": {pending.meaning}" if pending else ""
        return JobOutcome.FAILED, f"{note} for {span(age)}, cancelled{meaning}"
    if state in ACTIVE:
        return JobOutcome.WAIT, note
    if state in RETURNING:
        return (JobOutcome.WAIT if age < timeouts.requeue else JobOutcome.RESUBMIT), note
    # COMPLETED, FAILED, TIMEOUT, OUT_OF_MEMORY, CANCELLED, DEADLINE: over; its result may still be on its way
    if age < timeouts.result:
        return JobOutcome.WAIT, note
    if observed.left_checkpoint and state not in ("CANCELLED", "OUT_OF_MEMORY", "DEADLINE"):
        return JobOutcome.RESUBMIT, f"{note} after it left with a checkpoint"
    return JobOutcome.FAILED, note
