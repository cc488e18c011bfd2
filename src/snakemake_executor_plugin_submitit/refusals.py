"""What sbatch's refusals mean: whether the same request may be granted later, by Slurm's own words for each error."""

from __future__ import annotations

import re
from enum import Enum


class Refusal(Enum):
    FOR_GOOD = "for good"
    LATER = "later"  # the same request may be granted when it is made again
    FEWER = "fewer"  # fewer jobs at a time may be, or others must end first
    UNCLEAR = "unclear"  # as above where there are others, else for good


# the controller, its network, its disk or its keys are away or busy; or what is asked for is closed for a while
LATER = re.compile(
    "unable to contact slurm controller|controller not responding|standby mode|socket timed out|zero bytes were"
    "|communication (connection|shutdown) failure|message (send|receive) failure|unexpected message received"
    "|connection (refused|reset|timed out)|transport endpoint|temporary failure in name resolution"
    "|protocol authentication error|error generating job credential|munge|authentication agent|authentication cred"
    "|try again|slurm job queue full|temporarily un|i/o error writing script|unable to connect to database"
    "|no space left on device|disk quota exceeded|cannot allocate memory|rate limit|presently disabled"
    "|required (partition|node) not available|partition in down state|maintenance reservation"
    "|reservation (is in use|not usable now)",
    re.IGNORECASE,
)
# before its words for all limits sbatch names the one that it means
LIMIT = re.compile(r"\b(?:QOS|Assoc)(?:Max|Min|Grp)\w+")
ANY_LIMIT = re.compile("job violates accounting/qos policy", re.IGNORECASE)
ARRAY_SIZE = re.compile("invalid job array specification", re.IGNORECASE)


def judge_refusal(message: str) -> Refusal:
    """What is not known is final: its words are shown, and nobody waits for what may never come."""
    if limits := LIMIT.findall(message):
        return Refusal.FEWER if all("Submit" in name for name in limits) else Refusal.FOR_GOOD
    if ANY_LIMIT.search(message):
        return Refusal.UNCLEAR
    if ARRAY_SIZE.search(message):
        return Refusal.FEWER
    return Refusal.LATER if LATER.search(message) else Refusal.FOR_GOOD
