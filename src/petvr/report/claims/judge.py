"""From the outcomes of runs to the verdict on a claim.

Scores: with D our difference, [L, U] its 95 % interval from queries and seeds together, and D0 the claimed size, the
first that holds decides:

    L > 0, and D agrees with D0 within the seeds' spread        reproduced
    L > 0                                                       direction reproduced
    U < 0                                                       opposite
    L <= 0 <= U, and D0 <= U (or no size is claimed)            within noise
    otherwise                                                   not reproduced

D agrees with D0 where |D - D0| <= t sqrt(V_s + s_a^2 + s_b^2): the paper's numbers are single runs, ours means of some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import special

from petvr.papers.claims import Claim
from petvr.retrieval.paired import Difference, holm, paired_difference

ALPHA = 0.05


class ClaimVerdict(StrEnum):
    REPRODUCED = "reproduced"
    DIRECTION = "direction reproduced"
    NOISE = "within noise"
    NOT = "not reproduced"
    OPPOSITE = "opposite"
    UNKNOWN = "cannot be judged"


@dataclass(frozen=True)
class Judgement:
    """`difference` is a minus the rival (of several the best one), larger is better; None where nothing was measured.

    `p` is of the test behind the verdict; where one row shall be the best, the largest after Holm over its rivals.
    `ratio` is ours of a claim about parameters, memory or time.
    """

    verdict: ClaimVerdict
    why: str = ""
    difference: Difference | None = None
    ratio: float | None = None
    p: float | None = None

    def effect_ratio(self, claimed: float | None) -> tuple[float, float, float] | None:
        """Our effect over the claimed one, with its interval: 1 is the same, 0 none, below 0 the opposite."""
        if self.difference is None or not claimed:
            return None
        return self.difference.value / claimed, self.difference.low / claimed, self.difference.high / claimed


def judge_scores(claim: Claim, a: np.ndarray, rivals: Sequence[np.ndarray], video: np.ndarray) -> Judgement:
    """`a` [S, Q] and each rival [T, Q]: outcomes on the same queries, of the videos `video` [Q]."""
    differences = [paired_difference(claim.sign * a, claim.sign * rival, video) for rival in rivals]
    nearest = min(range(len(rivals)), key=lambda n: differences[n].value)
    difference = differences[nearest]
    seeds = min(len(a), *(len(rival) for rival in rivals))
    if seeds < 2:
        return Judgement(ClaimVerdict.UNKNOWN, "one seed says nothing about training again", difference)
    why = "" if seeds > 2 else "two seeds: the interval is too short (it covers 86 to 95 %)"
    if claim.kind == "best":
        adjusted = max(holm([each.p for each in differences]))
        return Judgement(
            _best(adjusted, difference), why, difference, p=adjusted if difference.value > 0 else difference.p
        )
    agrees = claim.size is None or _agrees(difference.value - claim.size, a, rivals[nearest])
    return Judgement(_verdict(difference, claim.size, agrees), why, difference, p=difference.p)


def _best(adjusted: float, nearest: Difference) -> ClaimVerdict:
    """Better than each rival after Holm; where the nearest is not worse for sure, within noise."""
    if nearest.value > 0:
        return ClaimVerdict.REPRODUCED if adjusted <= ALPHA else ClaimVerdict.NOISE
    return ClaimVerdict.NOT if nearest.high < 0 else ClaimVerdict.NOISE


def _verdict(difference: Difference, claimed: float | None, agrees: bool) -> ClaimVerdict:
    if difference.low > 0:
        return ClaimVerdict.REPRODUCED if agrees else ClaimVerdict.DIRECTION
    if difference.high < 0:
        return ClaimVerdict.OPPOSITE
    return ClaimVerdict.NOISE if claimed is None or claimed <= difference.high else ClaimVerdict.NOT


def _agrees(gap: float, a: np.ndarray, b: np.ndarray) -> bool:
    of_seeds = [float(outcomes.mean(1).var(ddof=1)) for outcomes in (a, b)]
    spread = sum(variance / len(outcomes) + variance for variance, outcomes in zip(of_seeds, (a, b), strict=True))
    if spread == 0:
        return abs(gap) < 0.05 + 1e-9  # half a printed digit
    parts = sum(variance**2 / (len(outcomes) - 1) for variance, outcomes in zip(of_seeds, (a, b), strict=True))
    freedom = sum(of_seeds) ** 2 / parts
    return abs(gap) <= float(special.stdtrit(freedom, 0.975)) * spread**0.5 + 0.05


def judge_ratio(claim: Claim, ratio: float, tolerance: float) -> Judgement:
    """A claim about parameters, memory or time: our `ratio` of a to b within `tolerance` of the claimed one."""
    if claim.below is not None:
        return Judgement(ClaimVerdict.REPRODUCED if ratio < claim.below else ClaimVerdict.OPPOSITE, "", None, ratio)
    assert claim.size is not None
    if abs(ratio - claim.size) <= tolerance:
        return Judgement(ClaimVerdict.REPRODUCED, "", None, ratio)
    return Judgement(ClaimVerdict.DIRECTION if ratio < 1 else ClaimVerdict.OPPOSITE, "", None, ratio)
