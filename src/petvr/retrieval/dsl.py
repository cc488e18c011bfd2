"""Dual-softmax: scores reweighed by a softmax over all queries of the test set (three upstream forms).

S is [captions, videos]. Every form is applied before the captions of one video are joined, over all captions
(for sets with several captions a video upstream gives this for `ts2net` only; for the others it is a guess).
The reweighing uses all test queries at once: it is not comparable with plain scores and is reported beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from petvr.errors import PetvrError, unknown


@dataclass(frozen=True)
class Variant:
    """`axis` 0: softmax over captions, 1: over videos. `scaled`: S includes exp(logit_scale)."""

    scaled: bool
    t2v_axis: int
    v2t_axis: int
    times_queries: bool  # multiplied by the number of captions: a constant, without effect on ranks
    usual_temperature: float


VARIANTS = {
    # given upstream as a training loss; that its S holds the logit scale is a guess
    "camoe": Variant(scaled=True, t2v_axis=0, v2t_axis=0, times_queries=True, usual_temperature=1000.0),
    # cosines, each direction normalised over its queries
    "emcl": Variant(scaled=False, t2v_axis=0, v2t_axis=1, times_queries=False, usual_temperature=0.01),
    # one matrix for both directions
    "ts2net": Variant(scaled=True, t2v_axis=0, v2t_axis=0, times_queries=False, usual_temperature=1.0),
}


def variant(name: str) -> Variant:
    """Raises PetvrError with the known names."""
    if name not in VARIANTS:
        raise unknown("dual-softmax variant", name, [*VARIANTS, "none"])
    return VARIANTS[name]


def log_sum(scores: Tensor, temperature: float, axis: int) -> Tensor:
    """log of the softmax's denominator, in float64 and rounded to 2**-30.

    Equal columns may be summed in different orders by vectorised code; rounded, equal columns stay exactly equal
    and ties stay ties. The weights move by one part in 10**9.
    """
    return _rounded(torch.logsumexp(scores.double() / temperature, dim=axis))


def add_log_sums(one: Tensor, other: Tensor) -> Tensor:
    """Denominators of two blocks of rows joined."""
    return _rounded(torch.logaddexp(one, other))


def reweigh(scores: Tensor, temperature: float, log_sums: Tensor) -> Tensor:
    """S * softmax(S / temperature), float64 (in float32 the weights of low scores would vanish and become ties)."""
    scores = scores.double()
    return (scores / temperature).sub_(log_sums).exp_().mul_(scores)


def transform(scores: Tensor, name: str, *, temperature: float, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """The whole matrix [captions, videos] of cosines -> (for t2v, for v2t); for sets that fit at once.

    `scale` is exp(logit_scale). Raises PetvrError for an unknown name or a temperature that is not positive.
    """
    form = variant(name)
    check_temperature(temperature)
    scaled = scores.double() * (scale if form.scaled else 1.0)
    factor = len(scores) if form.times_queries else 1
    out = []
    for axis in (form.t2v_axis, form.v2t_axis):
        out.append(reweigh(scaled, temperature, log_sum(scaled, temperature, axis).unsqueeze(axis)) * factor)
    return out[0], out[1]


def check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise PetvrError(f"dsl_temperature must be above 0, not {temperature}")


def _rounded(value: Tensor) -> Tensor:
    return torch.round(value * 2.0**30) / 2.0**30
