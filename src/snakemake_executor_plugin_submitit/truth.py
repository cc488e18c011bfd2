"""What has become of a job, from what can be known: its result file first, then the queue, then accounting.

A pure function of the evidence, so that every odd order of events can be tested without a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

ACTIVE = {
    *("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING"),
    *("REQUEUED", "REQUEUE_FED", "RESV_DEL_HOLD", "UPDATE_DB", "POWER_UP_NODE"),
}
AWAY = {"REQUEUE_HOLD", "SPECIAL_EXIT", "SUSPENDED", "STOPPED"}  # somebody holds it; it may come back
RETURNING = {"PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"}  # nobody's fault


class Fate(Enum):
    WAIT = "wait"
    DONE = "done"
    FAILED = "failed"
    AGAIN = "again"  # ended through no fault of its own: submit it once more, as the same attempt


@dataclass(frozen=True)
class Seen:
    """One line of squeue or sacct."""

    state: str  # first word only: "CANCELLED by 0" is CANCELLED
    reason: str = ""
    node: str = ""


@dataclass(frozen=True)
class Limits:
    """Patience, in seconds."""

    files: float = 15.0  # for a result to become visible on a network disk after the job's end
    settle: float = 30.0  # for Slurm to put a preempted job or one of a dead node back into its queue
    lost: float = 60.0  # unknown to squeue and sacct
    away: float = 86400.0  # held or suspended


@dataclass
class Evidence:
    """What is known of one submission. Times are those of the monotonic clock, None where it has not happened."""

    now: float
    result: dict | None = None  # the job's own result file
    stopped: bool = False  # the job's last start left with a checkpoint, to be continued
    seen: Seen | None = None  # the newest line of squeue, else of sacct
    asked: bool = False  # at least one answer of the queue has arrived since submission
    since: float | None = None  # when the present state (or absence) was first seen


def judge(e: Evidence, limits: Limits) -> tuple[Fate, str]:
    """The fate of a submission and a reason for a person."""
    if e.result is not None:
        outcome = e.result.get("outcome")
        if outcome == "success":
            return Fate.DONE, ""
        if outcome == "failed":
            return Fate.FAILED, e.result.get("reason", "failed")
    if not e.asked or e.since is None:
        return Fate.WAIT, "no answer from the queue yet"
    age = e.now - e.since
    if e.seen is None:
        if age < limits.lost:
            return Fate.WAIT, "unknown to the queue"
        if e.stopped:
            return Fate.AGAIN, "left with a checkpoint and did not come back"
        return Fate.FAILED, f"gone from the queue for {age:.0f} s without a result (cancelled, or killed with its node)"
    state = e.seen.state
    note = f"{state}{f' ({e.seen.reason})' if e.seen.reason not in ('', 'None') else ''}"
    if state in ACTIVE:
        return Fate.WAIT, note
    if state in AWAY:
        if age < limits.away:
            return Fate.WAIT, note
        return Fate.FAILED, f"{note} for {age / 60:.0f} minutes"
    if state in RETURNING:
        return (Fate.WAIT if age < limits.settle else Fate.AGAIN), note
    # COMPLETED, FAILED, TIMEOUT, OUT_OF_MEMORY, CANCELLED, DEADLINE: over; its result may still be on its way
    if age < limits.files:
        return Fate.WAIT, note
    if e.stopped and state not in ("CANCELLED", "OUT_OF_MEMORY", "DEADLINE"):
        return Fate.AGAIN, f"{note} after it left with a checkpoint"
    return Fate.FAILED, note
