"""Adapters and low-rank updates under bf16 autocast, as recipes train them."""

import pytest
import torch
from places_by_hand import IDS, trained

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


@pytest.mark.parametrize(("method", "setting"), SETTINGS, ids=str)
def test_bf16_gives_nearly_the_same_features_and_a_gradient_in_the_parameters_own_type(method, setting):
    model = trained(method, setting, moved=0.1)
    pixels = torch.randn(2, 3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, True], [True, False, False]])
    ids = torch.tensor([IDS])
    with torch.no_grad():
        exact = model.encode_frames(pixels, mask), model.encode_texts(ids)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.encode_frames(pixels, mask), model.encode_texts(ids)
    for a, b in zip(exact, rough, strict=True):
        assert b.dtype == torch.bfloat16
        assert ((a - b).norm() / a.norm()).item() < 0.05
    sum(part.float().square().sum() for part in rough).backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.trainable().values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.trainable().values())
