"""Candidate sentences for methods that look at sentences while they read a video (RAP's choice of patches).

In training they are the batch's. In evaluation, by the method's setting `pool`:

gallery    all captions of the test split: a video's feature then depends on the other test captions
query      text to video, the query alone: every video is encoded once more for each caption; video to text, as gallery
fixed      SIZE distinct training captions, the same for every seed, method and epoch: nothing of the test split
"""

from __future__ import annotations

from collections.abc import Sequence

from petvr.errors import unknown
from petvr.training.determinism import numpy_generator

POOLS = ("gallery", "fixed", "query")
SIZE = 1000  # as many as the test split of MSR-VTT has


def candidate_captions(pool: str, training: Sequence[str]) -> list[str] | None:
    """The sentences of a pool that is known before the evaluation; None: those of the test split."""
    if pool not in POOLS:
        raise unknown("pool", pool, POOLS)
    if pool != "fixed":
        return None
    distinct = list(dict.fromkeys(training))
    order = numpy_generator(0, "candidate sentences").permutation(len(distinct))
    return [distinct[number] for number in order[:SIZE]]
