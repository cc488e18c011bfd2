"""The towers' own arithmetic against its definition: QuickGELU, and queries, keys and values as one product."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_clip_insert import TINY, data
from torch.nn import functional

from petvr.clip import weights
from petvr.clip.towers import Attention, PatchEmbedding, quick_gelu


def test_quick_gelu_is_its_formula_and_keeps_one_tensor_for_its_gradient():
    x = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).mul(4).requires_grad_()
    assert torch.autograd.gradcheck(quick_gelu, x)
    twin = x.detach().clone().requires_grad_()
    quick_gelu(x).sum().backward()
    (twin * torch.sigmoid(1.702 * twin)).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad, rtol=1e-12, atol=1e-12)
    for kind in (torch.float32, torch.bfloat16, torch.float16):
        narrow = x.detach().to(kind)
        assert torch.equal(quick_gelu(narrow), narrow * torch.sigmoid(1.702 * narrow))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        quick_gelu(x)
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr()]


def test_patches_as_one_product_are_the_convolution_and_have_its_gradients():
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 8, 12, dtype=torch.float64, generator=draw).requires_grad_()
    embedding = PatchEmbedding(6, 4).double()
    out = embedding(pixels)
    expected = functional.conv2d(pixels, embedding.weight, stride=4).flatten(2).transpose(1, 2)
    grad = torch.randn(expected.shape, dtype=torch.float64, generator=draw)
    given = (pixels, embedding.weight)
    torch.testing.assert_close(out, expected)
    for mine, theirs in zip(
        torch.autograd.grad(out, given, grad), torch.autograd.grad(expected, given, grad), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("trains", [("q_proj", "k_proj", "v_proj"), ("v_proj.weight",), ()])
def test_packed_projections_give_the_same_and_train_and_save_as_before(trains, tmp_path):
    apart, packed = (weights.random(TINY, 0).double() for _ in range(2))
    pixels, products = data()[0].double(), []
    for clip in (apart, packed):
        for name, parameter in clip.named_parameters():
            parameter.requires_grad_(name == "visual_projection.weight" or any(part in name for part in trains))
    for part in packed.modules():
        if isinstance(part, Attention):
            part.pack()
            part.q_proj.register_forward_pre_hook(lambda *given: products.append(given))
    for _ in range(2):  # the second time after an update in place
        for clip in (apart, packed):
            clip.zero_grad()
            clip.encode_frames(pixels).square().sum().backward()
        for (name, one), (_, other) in zip(apart.named_parameters(), packed.named_parameters(), strict=True):
            assert (one.grad is None) == (other.grad is None), name
            if one.grad is not None:
                torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)
        for clip in (apart, packed):
            with torch.no_grad():
                for parameter in clip.parameters():
                    if parameter.grad is not None:
                        parameter -= 0.1 * parameter.grad
    assert not products  # q alone was never multiplied
    save_file(packed.state_dict(), tmp_path / "whole.safetensors")
    for name, tensor in load_file(tmp_path / "whole.safetensors").items():
        torch.testing.assert_close(tensor, apart.state_dict()[name], rtol=1e-9, atol=1e-12)
    packed.float()  # moved or cast they lie apart again, and are three products
    out = packed.encode_frames(pixels.float()).double()
    torch.testing.assert_close(out, apart.encode_frames(pixels), atol=1e-4, rtol=1e-4)
    assert len(products) == TINY.vision.layers
