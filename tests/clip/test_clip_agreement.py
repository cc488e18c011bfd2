"""Our towers against transformers' CLIPModel on the same weights."""

import pytest
import torch

from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower, geometry, with_layers

torch.set_num_threads(1)
TINY = ClipConfig(
    Tower(32, 3, 4, 64), Tower(24, 3, 2, 48), image=32, patch=8, positions=20, vocab=100, eot=99, embed=16
)
CASES = {
    "tiny": TINY,
    "vit-b-32": geometry("vit-b-32"),
    "vit-b-16": with_layers(geometry("vit-b-16"), 2),
    "vit-l-14": with_layers(geometry("vit-l-14"), 2),
}


def theirs(clip):
    from transformers import CLIPConfig, CLIPModel

    with torch.device("meta"):
        model = CLIPModel(CLIPConfig(**clip.config.to_hf()))
    model.load_state_dict(clip.state_dict(), strict=True, assign=True)
    for name, buffer in list(model.named_buffers()):  # position ids are no part of a state dict
        owner, _, leaf = name.rpartition(".")
        model.get_submodule(owner).register_buffer(leaf, torch.arange(buffer.shape[-1])[None], persistent=False)
    return model.eval()


def disturbed(clip):
    """Biases and LayerNorms that start at zero and one would hide a mistake in them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in clip.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return clip


@pytest.fixture(
    scope="module",
    params=["tiny", *(pytest.param(name, marks=pytest.mark.real_geometry) for name in CASES if name != "tiny")],
)
def pair(request):
    clip = disturbed(weights.random(CASES[request.param], 0))
    return clip, theirs(clip)


def texts(config, pad, generator, words=12):
    """Rows that end at different places; behind EOT stands the pad id of one of the two conventions."""
    ids = torch.randint(1, config.eot - 1, (4, words), generator=generator)
    for row, length in enumerate((3, 7, words, words - 1)):
        ids[row, 0] = config.eot - 1
        ids[row, length - 1] = config.eot
        ids[row, length:] = config.eot if pad == "eot" else 0
    return ids


@pytest.mark.parametrize("pad", ["zero", "eot"])
def test_text_features_agree_with_transformers(pair, pad):
    clip, model = pair
    ids = texts(clip.config, pad, torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.get_text_features(input_ids=ids).pooler_output
        words = model.text_projection(model.text_model(input_ids=ids).last_hidden_state)
        torch.testing.assert_close(clip.encode_texts(ids), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(clip.encode_words(ids), words, atol=1e-5, rtol=0)


def test_frame_features_agree_with_transformers(pair):
    clip, model = pair
    size = clip.image_size
    pixels = torch.randn(2, 2, 3, size, size, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True], [True, False]])
    with torch.no_grad():
        expected = model.get_image_features(pixel_values=pixels.flatten(0, 1)).pooler_output.unflatten(0, (2, 2))
        torch.testing.assert_close(clip.encode_frames(pixels), expected, atol=1e-5, rtol=0)
        masked = clip.encode_frames(pixels, mask)
        torch.testing.assert_close(masked[mask], expected[mask], atol=1e-5, rtol=0)
        assert not masked[~mask].any()


def test_both_padding_conventions_and_every_amount_of_padding_give_the_same_text_feature():
    clip = disturbed(weights.random(TINY, 0))
    generator = torch.Generator().manual_seed(0)
    ids = texts(TINY, "zero", generator, words=8)
    longer = torch.cat([ids, torch.zeros(4, 7, dtype=torch.int64)], dim=1)
    other = texts(TINY, "eot", torch.Generator().manual_seed(0), words=8)
    with torch.no_grad():
        expected = clip.encode_texts(ids)
        for same in (longer, other):
            torch.testing.assert_close(clip.encode_texts(same), expected, atol=1e-6, rtol=0)


def test_what_a_masked_frame_holds_changes_nothing_even_if_it_is_nan():
    clip = weights.random(TINY, 0)
    pixels = torch.randn(3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)
    broken = pixels.masked_fill(~mask[..., None, None, None], float("nan"))
    with torch.no_grad():
        expected = clip.encode_frames(pixels, mask)
        torch.testing.assert_close(clip.encode_frames(broken, mask), expected, atol=1e-6, rtol=0)
        clip.skip_masked = False  # computed instead of left out
        torch.testing.assert_close(clip.encode_frames(pixels, mask), expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(clip.encode_frames(broken, mask), expected, atol=1e-6, rtol=0)
        assert not clip.encode_frames(pixels, torch.zeros_like(mask)).any()


def test_uint8_frames_are_normalised_with_clips_mean_and_std():
    clip = weights.random(TINY, 0)
    pixels = torch.randint(0, 256, (1, 2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    by_hand = torch.stack(
        [
            (pixels[:, :, channel].double() / 255 - mean) / std
            for channel, (mean, std) in enumerate(
                zip((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), strict=True)
            )
        ],
        dim=2,
    ).float()
    torch.testing.assert_close(clip.normalise(pixels), by_hand, atol=1e-5, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(clip.encode_frames(pixels), clip.encode_frames(by_hand), atol=1e-5, rtol=0)


def test_a_cropped_batch_of_texts_keeps_its_features():
    from petvr.clip.towers import crop

    clip = weights.random(TINY, 0)
    ids = texts(TINY, "zero", torch.Generator().manual_seed(0))[:2]
    assert crop(ids, TINY.eot).shape[1] == 7
    lengths = []
    clip.text_model.encoder.layers[0].register_forward_hook(lambda block, args, out: lengths.append(out.shape[1]))
    with torch.no_grad():
        clip.encode_texts(ids)
        assert lengths == [7] and clip.encode_words(ids).shape[1] == 12
        torch.testing.assert_close(clip.encode_texts(crop(ids, TINY.eot)), clip.encode_texts(ids), atol=1e-6, rtol=0)


def test_frames_of_another_size_and_texts_beyond_the_positions_are_refused():
    from petvr.errors import PetvrError

    clip = weights.random(TINY, 0)
    with pytest.raises(PetvrError, match=r"\(3, 32, 32\)"):
        clip.encode_frames(torch.zeros(1, 1, 3, 16, 16))
    with pytest.raises(PetvrError, match="20 positions"):
        clip.encode_texts(torch.tensor([[1] * 20 + [99]]))
