"""Convpass against its formula: the convolution as a sum over neighbours on the 3 x 3 grid of patches."""

import numpy as np
import pytest
import torch
from clip_by_hand import linear, norm, quick_gelu
from places_by_hand import adapt_mlp, check, each, sums, trained

torch.set_num_threads(1)
SIDE = 3


def convolved(kernel, bias, z, cls):
    """z [tokens, r], kernel [r, r or 1, 3, 3] -> [tokens, r], each token from its neighbours."""

    def tap(down, right, neighbour):
        weight = kernel[:, :, 1 + down, 1 + right]
        return weight[:, 0] * neighbour if kernel.shape[1] == 1 else weight @ neighbour

    out = [bias + tap(0, 0, z[0])]
    for row in range(SIDE):
        for column in range(SIDE):
            total = bias.copy()
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    r, c = row + down, column + right
                    if 0 <= r < SIDE and 0 <= c < SIDE:
                        total = total + tap(down, right, z[cls + r * SIDE + c])
            out.append(total)
    return np.stack(out)


@pytest.mark.parametrize("conv", ["depthwise", "full"])
@pytest.mark.parametrize("text", ["adaptformer", "frozen"])
def test_patches_see_their_neighbours_and_cls_only_itself(conv, text):
    setting = {"conv": conv, "width": 4, "scale": 0.7, "text": text, "text_width": 5}

    def changes(n, tower):
        def beside(place):
            def act(i, frames, read, stream):
                name = f"new.convpass.vision_{place}.{i}"
                out = []
                for frame in read:
                    h = [norm(x, n[f"{name}.norm.weight"], n[f"{name}.norm.bias"]) for x in frame]
                    z = np.stack([quick_gelu(linear(n, f"{name}.down", x)) for x in h])
                    z = quick_gelu(convolved(n[f"{name}.conv.weight"], n[f"{name}.conv.bias"], z, 1))
                    out.append(np.stack([0.7 * linear(n, f"{name}.up", x) for x in z]))
                return sums(frames, out)

            return act

        if tower == "vision":
            return {"attn_out": beside("attn_out"), "mlp_out": beside("mlp_out")}
        if text == "frozen":
            return {}
        mlp = lambda i, x: adapt_mlp(n, f"new.convpass.text.{i}", 0.7, x)  # noqa: E731
        return {"mlp_out": lambda i, frames, read, stream: sums(frames, each(lambda x: mlp(i, x), frames))}

    check(trained("convpass", setting), changes)


def test_prompts_of_another_method_are_pictures_of_one_pixel_too():
    """What a patch gets does not depend on prompts, and each prompt gets what CLS would in its place."""
    model = trained("vop+convpass", {"tokens": 2, "width": 4})
    bypass = model.new["convpass"]["vision_attn_out"][0]
    x = torch.randn(2, 1 + 2 + 9, 16)
    with torch.no_grad():
        with_prompts = bypass(x, 3)
        without = bypass(torch.cat([x[:, :1], x[:, 3:]], dim=1), 1)
        alone = torch.cat([bypass(torch.cat([x[:, i : i + 1], x[:, 3:]], dim=1), 1)[:, :1] for i in range(3)], dim=1)
    torch.testing.assert_close(with_prompts[:, 3:], without[:, 1:])
    torch.testing.assert_close(with_prompts[:, :3], alone)


def test_frames_joined_into_one_sequence_give_what_they_give_apart():
    """[B, F CLS, F * P patches], as VoP^F makes it, is the same tokens in another order."""
    bypass = trained("convpass", {"width": 4}).new["convpass"]["vision_mlp_out"][1]

    def join(x):
        x = x.unflatten(0, (2, 3))
        return torch.cat([x[:, :, 0], x[:, :, 1:].flatten(1, 2)], dim=1)

    x = torch.randn(6, 1 + 9, 16)
    with torch.no_grad():
        torch.testing.assert_close(bypass(join(x), 3), join(bypass(x, 1)))
