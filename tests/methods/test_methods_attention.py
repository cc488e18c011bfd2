"""No step takes attention's math path, which forms all products of queries and keys: torch's profiler says so."""

import pytest
import torch
from test_methods_on_a_gpu import SMALL, WORK, built, given, plain

from petvr.training.bench import attention_kernels

EACH = {(case.method, similarity): case for case, similarity in WORK}


@pytest.mark.slow
@pytest.mark.parametrize(("names", "case"), EACH.items(), ids=str)
def test_a_step_with_frames_missing_takes_fused_attention_alone(names, case):
    model = built(case, names[1], plain(SMALL))
    model.set_training(True)

    def step():
        loss = model.loss(given("cpu", ragged=True))
        if loss.requires_grad:
            loss.backward()

    assert attention_kernels(step) == "flash"


def test_the_math_path_would_be_seen():
    q = torch.randn(1, 2, 3, 4, requires_grad=True)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert "math" in attention_kernels(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q).sum())
    assert attention_kernels(lambda: q @ q.mT) == "none"
