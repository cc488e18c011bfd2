"""TS2-Net's token shift, token by token, and what the vision tower gives besides its frames."""

import pytest
import torch

from petvr import methods
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.clip.insert import ForwardState, HookContext, Inserts
from petvr.methods import ts2_net

torch.set_num_threads(1)
TINY = ClipConfig(Tower(32, 3, 4, 64), Tower(24, 3, 2, 48), image=16, patch=8, positions=24, vocab=60, eot=59, embed=16)


@pytest.mark.parametrize(
    ("tokens", "before", "behind"),
    [
        (50, [1, 8, 15, 22, 29, 36, 43], [4, 11, 18, 25, 32, 39, 46]),
        (197, [1, 29, 57, 85, 113, 141, 169], [4, 32, 60, 88, 116, 144, 172]),
    ],
)
def test_tokens_come_from_the_frames_beside(tokens, before, behind):
    videos, frames = 2, 4
    x = torch.randn(videos * frames, tokens, 3)
    mask = torch.ones(videos, frames, dtype=torch.bool)
    mask[1, 2:] = False
    state = ForwardState("vision", Inserts(TINY), videos=videos, frames=frames, mask=mask)
    shifted = ts2_net.shift(x, HookContext("vision", 0, None, None, state)).unflatten(0, (videos, frames))
    x = x.unflatten(0, (videos, frames))
    for video, last in ((0, 3), (1, 1)):
        for frame in range(last + 1):
            for token in range(tokens):
                source = frame
                if token in before and frame > 0:
                    source = frame - 1
                if token in behind and frame < last:
                    source = frame + 1
                assert torch.equal(shifted[video, frame, token], x[video, source, token])


def test_only_the_last_two_blocks_shift_and_one_frame_alone_is_clips_own():
    clip = weights.random(TINY, 0)
    pixels = torch.randn(2, 3, 3, 16, 16)
    with torch.no_grad():
        plain = clip.encode_frames(pixels)
        adapted = methods.adapt(clip, "ts2_net", {}, frames=3, words=8, generator=torch.Generator())
        assert not torch.allclose(adapted.encode_frames(pixels), plain)
        torch.testing.assert_close(adapted.encode_frames(pixels[:, :1]), plain[:, :1])
        places = [key[2] for key in adapted.inserts._at]
    assert places == [1, 2]


@pytest.mark.parametrize("method", ["zero_shot", "vop", "vop_f", "ts2_net"])
def test_patches_come_with_the_frames_and_without_prompts(method):
    setting = {"shallow": 1} if method == "vop_f" else {}
    clip = weights.random(TINY, 0)
    model = methods.adapt(clip, method, setting, frames=3, words=8, generator=torch.Generator().manual_seed(0))
    pixels, mask = torch.randn(2, 3, 3, 16, 16), torch.tensor([[True, True, True], [True, False, False]])
    with torch.no_grad():
        frames, patches = model.encode_patches(pixels, mask)
        torch.testing.assert_close(frames, model.encode_frames(pixels, mask))
        assert patches.shape == (2, 3, 4, 16) and not patches[1, 1:].any() and patches[0].abs().sum(-1).all()
        if method == "zero_shot":  # a patch is read as CLS is: last LayerNorm, then the projection
            state = ForwardState("vision", Inserts(TINY), videos=1, frames=1)
            stream = clip.vision_model.encoder(clip.vision_model.tokens(pixels[1, :1], state), state)
            expected = clip.visual_projection(clip.vision_model.post_layernorm(stream[0, 1:]))
            torch.testing.assert_close(patches[1, 0], expected)


def test_words_come_with_the_sentence_and_without_padding():
    for method, setting in (("zero_shot", {}), ("vop", {"tokens": 3})):
        clip = weights.random(TINY, 0)
        model = methods.adapt(clip, method, setting, frames=3, words=8, generator=torch.Generator().manual_seed(0))
        ids = torch.tensor([[58, 3, 59, 0, 0, 0], [58, 3, 4, 5, 6, 59]])
        with torch.no_grad():
            text, words, real = model.encode_all_words(ids)
            torch.testing.assert_close(text, model.encode_texts(ids))
            torch.testing.assert_close(words, model.encode_words(ids))
            torch.testing.assert_close(words[torch.arange(2), torch.tensor([2, 5])], text)
        assert real.tolist() == [[True] * 3 + [False] * 3, [True] * 6]
