"""Why a job does not start, in Slurm's word for it (squeue's %r): whether it still may, and what a person can do."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from enum import Enum


class Prospect(Enum):
    SOON = "starts by itself"  # what every job waits for now and then: told only where it lasts
    WAITS = "may start by itself"
    HELD = "somebody has to act"  # given up after submitit-return-minutes
    RELEASED = "is released"  # held after a failure of Slurm's own
    NEVER = "cannot start as it is"  # given up after submitit-blocked-minutes


@dataclass(frozen=True)
class PendingReason:
    prospect: Prospect
    words: str  # Slurm's, as shell patterns with spaces between them; a space of its own is an underscore
    meaning: str  # and what to do about it

    def fits(self, word: str) -> bool:
        return any(fnmatch.fnmatchcase(word, pattern) for pattern in self.words.split())


PER_JOB = "QOSMax*PerJob* AssocMax*PerJob* QOSMax*PerNode* AssocMax*PerNode* QOSMaxWall* AssocMaxWall*"
LAUNCH_FAILED, PARTITIONS = "launch_failed_requeued_held", "PartitionTimeLimit PartitionNodeLimit"
REASONS = [  # the first that fits counts; docs/cluster.md shows them, and a test compares
    PendingReason(*row)
    for row in (
        (Prospect.SOON, "None BeginTime Prolog Cleaning", "Slurm is about to start it"),
        (Prospect.SOON, "Resources Priority", "other jobs have the nodes or come first"),
        (Prospect.SOON, "JobArrayTaskLimit", "submitit-throttle lets no more of its array run at a time"),
        (
            Prospect.NEVER,
            "PartitionTimeLimit",
            "runtime is over its partition's limit; lower it, or another slurm_partition",
        ),
        (Prospect.NEVER, "PartitionNodeLimit", "its partition gives no such number of nodes; another slurm_partition"),
        (
            Prospect.NEVER,
            "BadConstraints",
            "no node has all it asks for; see constraint, gpu, gres, mem_mb, slurm_extra",
        ),
        (Prospect.NEVER, "DependencyNeverSatisfied", "what it depends on has failed; see --dependency in slurm_extra"),
        (Prospect.NEVER, "InvalidAccount AccountNotAllowed", "its account may not run there; another slurm_account"),
        (Prospect.NEVER, "InvalidQOS QOSNotAllowed", "its QOS may not run there; another qos or slurm_partition"),
        (Prospect.NEVER, PER_JOB, "by itself it is over a limit of its QOS or account; ask for less, or another qos"),
        (
            Prospect.NEVER,
            "QOSMin* MaxMemPerLimit",
            "it asks for less or more than its QOS or partition allows; change that",
        ),
        (
            Prospect.NEVER,
            "DeadLine",
            "it cannot end before its --deadline; less runtime, or a later one in slurm_extra",
        ),
        (Prospect.NEVER, "Reservation*Deleted", "its reservation is gone; take it out, or name another"),
        (Prospect.NEVER, "JobHoldMaxRequeue", "Slurm started it too often without success; tell your administrators"),
        (Prospect.RELEASED, LAUNCH_FAILED, "a node failed to start it; it is released, three times at most"),
        (Prospect.HELD, "JobHeldUser", "somebody holds it; `scontrol release <id>`"),
        (
            Prospect.HELD,
            "JobHeldAdmin *[Hh]eld*",
            "an administrator or Slurm holds it; `scontrol release <id>`, or ask them",
        ),
        (
            Prospect.HELD,
            "PartitionDown PartitionInactive",
            "its partition starts no jobs; another slurm_partition, or ask why",
        ),
        (
            Prospect.WAITS,
            "QOS* Assoc*",
            "its user, group or QOS is at a limit; it starts when others of them have ended",
        ),
        (
            Prospect.WAITS,
            "ReqNodeNotAvail* NodeDown *DOWN*",
            "nodes it needs are down or reserved; `sinfo -R` says why",
        ),
        (Prospect.WAITS, "Dependency", "what it depends on has not ended"),
        (Prospect.WAITS, "Reservation", "its reservation has not begun, or is full"),
        (Prospect.WAITS, "Licenses BurstBuffer*", "the licences or buffers it asks for are in use"),
        (Prospect.WAITS, "*", "see JOB REASON CODES in `man squeue`"),
    )
]


def explain_reason(reason: str, partition: str = "") -> PendingReason:
    """What Slurm's word means for a job in that partition. Of several partitions it names the one it tried last."""
    word = reason.strip().replace(" ", "_") or "None"
    known = next(one for one in REASONS if one.fits(word))
    return REASONS[-1] if "," in partition and known.words in PARTITIONS.split() else known
