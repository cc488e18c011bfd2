"""The contrastive loss by hand, and the clamp of the logit scale."""

import math

import pytest
import torch
from torch import nn

from petvr.training.model import clamp_logit_scale, contrastive, symmetric


def by_hand(scores, scale):
    n = len(scores)
    total = 0.0
    for i in range(n):
        row = [math.exp(scale * scores[i][j]) for j in range(n)]
        column = [math.exp(scale * scores[j][i]) for j in range(n)]
        total -= math.log(row[i] / sum(row)) + math.log(column[i] / sum(column))
    return total / (2 * n)


def test_symmetric_loss_by_hand():
    scores = [[0.3, 0.1, -0.2], [0.5, 0.4, 0.0], [-0.1, 0.2, 0.6]]
    loss = symmetric(torch.tensor(scores), torch.tensor(math.log(5.0)))
    assert float(loss) == pytest.approx(by_hand(scores, 5.0), rel=1e-6)


def test_a_batch_that_cannot_be_told_apart_costs_log_n():
    assert float(symmetric(torch.zeros(7, 7), torch.tensor(4.6))) == pytest.approx(math.log(7))


def test_both_directions_count_alike():
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor(1.0)
    assert torch.allclose(symmetric(scores, scale), symmetric(scores.T, scale))


def test_the_logit_scale_learns_and_is_clamped():
    scale = nn.Parameter(torch.tensor(math.log(100.0) + 1))
    symmetric(torch.eye(3), scale).backward()
    assert scale.grad is not None
    clamp_logit_scale(scale, 100.0)
    assert scale.exp().item() == pytest.approx(100.0)
    low = nn.Parameter(torch.tensor(1.0))
    clamp_logit_scale(low, 100.0)
    assert low.item() == 1.0


def test_every_level_has_a_loss_of_its_own():
    levels = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    loss = contrastive(levels, (0.25, 0.75), torch.tensor(math.log(3.0)))
    expected = 0.25 * by_hand(levels[0].tolist(), 3.0) + 0.75 * by_hand(levels[1].tolist(), 3.0)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
