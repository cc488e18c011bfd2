"""Which queries are shown. A rule says which belong to a group; of many, a hash of seed and caption chooses.

Nothing here depends on the order of the split, so that two runs on one test set show the same queries.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from petvr.search.answers import SplitAnswers

SEED = 0


class Group(NamedTuple):
    title: str
    rule: str
    captions: list[int]
    size: int  # how many belong to it


def choose_queries(answers: Sequence[SplitAnswers], names: Sequence[str], count: int, seed: int = SEED) -> list[Group]:
    """Groups of captions, for one run or two on the same split."""
    right = [one.caption_ranks() <= 1 for one in answers]
    groups: list[tuple[str, str, np.ndarray]] = []
    if len(answers) == 1:
        groups.append(("Right", "its own video comes first", np.flatnonzero(right[0])))
        groups.append(("Wrong", "another video comes first", np.flatnonzero(~right[0])))
    else:
        a, b = right
        groups.append(("Both right", "its own video comes first in both", np.flatnonzero(a & b)))
        groups.append((f"Only {names[0]} right", f"first in {names[0]} alone", np.flatnonzero(a & ~b)))
        groups.append((f"Only {names[1]} right", f"first in {names[1]} alone", np.flatnonzero(~a & b)))
        groups.append(("Both wrong", "another video comes first in both", np.flatnonzero(~a & ~b)))
    captions = answers[0].split.captions
    shown = [Group(title, rule, sample(captions, of, count, seed), len(of)) for title, rule, of in groups]
    hardest = hardest_false_matches(answers[0])
    rule = f"by how far {names[0]} puts a wrong video before the right one"
    shown.append(Group("Hardest false matches", rule, hardest[:count], len(hardest)))
    counted = Counter(captions)
    doubled = {text: index for index, text in reversed(list(enumerate(captions))) if counted[text] > 1}
    rule = "several videos have this caption, at most one counts as right"
    return [*shown, Group("Doubled captions", rule, sample(captions, doubled.values(), count, seed), len(doubled))]


def hardest_false_matches(answers: SplitAnswers) -> list[int]:
    """Captions whose first video is wrong, the largest lead over the right one first."""
    scores = answers.scores[answers.text_of]
    lead = scores.max(axis=1) - scores[np.arange(len(scores)), answers.owner]
    return [int(index) for index in np.argsort(-lead, kind="stable") if lead[index] > 0]


def sample(captions: Sequence[str], indices: Iterable[int], count: int, seed: int) -> list[int]:
    """`count` of the indices, the same whatever else stands in the split."""

    def key(index: int) -> tuple[bytes, int]:
        return hashlib.sha256(f"{seed} {captions[index]}".encode()).digest(), index

    return sorted(map(int, indices), key=key)[:count]
