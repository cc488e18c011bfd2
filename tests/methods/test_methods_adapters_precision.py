"""Adapters and low-rank updates in the arithmetic that recipes name."""

import pytest
import torch
from places_by_hand import IDS, trained

from petvr.training import precision

torch.set_num_threads(1)
SETTINGS = [
    ("adaptformer", {"width": 5}),
    ("convpass", {"width": 4}),
    ("convpass", {"width": 4, "conv": "full"}),
    ("st_adapter", {"width": 5, "text": "adaptformer"}),
    ("cm_adapter", {"ds": 4, "width": 5}),
    ("lora", {"rank": 2}),
    ("lora", {"rank": 2, "targets": "q_k_v_o"}),
    ("ssf", {}),
    ("mv_adapter", {"width": 4, "cmt_layers": 1}),
    ("mv_adapter", {"width": 4, "cmt": "up_out", "cmt_layers": 1}),
]


TOLERANCE = {"bf16": 0.05, "clip4clip_fp16": 0.01, "mv_adapter_fp16": 0.01}


@pytest.mark.parametrize("mode", TOLERANCE)
@pytest.mark.parametrize(("method", "setting"), SETTINGS, ids=str)
def test_every_mode_gives_nearly_the_features_of_fp32_and_a_gradient_for_all_that_trains(method, setting, mode):
    pixels = torch.randn(2, 3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, True], [True, False, False]])
    ids = torch.tensor([IDS])
    model = trained(method, setting, moved=0.1)
    with torch.no_grad():
        exact = model.encode_frames(pixels, mask), model.encode_texts(ids)
    precision.prepare(model, mode)
    dtype = precision.AUTOCAST.get(mode)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        rough = model.encode_frames(pixels, mask), model.encode_texts(ids)
    for a, b in zip(exact, rough, strict=True):
        assert b.dtype == (torch.bfloat16 if mode == "bf16" else torch.float16)
        assert ((a - b).norm() / a.norm()).item() < TOLERANCE[mode]
    sum(part.float().square().sum() for part in rough).backward()
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in model.trainable().values())
    assert all(p.grad.isfinite().all() for p in model.trainable().values())
