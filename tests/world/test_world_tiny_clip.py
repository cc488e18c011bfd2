"""The tiny CLIP's folder: loaded by transformers and by petvr, tokenizer conventions of CLIP, learning, determinism."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from petvr.clip import tokenizer as ours
from petvr.clip import weights
from petvr.errors import PetvrError
from petvr.world import bpe, stills, tiny_clip
from petvr.world.orthogonal import OrthogonalMomentum, nearly_orthogonal
from petvr.world.seeds import generator

pytestmark = pytest.mark.slow  # trains small CLIPs

SMALL = {"steps": 3, "batch": 8, "pool": 16, "width": 32, "embed": 32, "threads": 1, "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("tiny") / "weights"
    tiny_clip.train(out, seed=1, **SMALL)
    return out


@pytest.fixture(scope="module")
def theirs(folder):
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


def test_the_folder_is_a_clip_model_of_twelve_layers_for_transformers_and_for_petvr(folder, theirs):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder).eval()
    assert model.config.text_config.num_hidden_layers == model.config.vision_config.num_hidden_layers == 12
    clip = weights.load_clip(folder).eval()
    texts = ["a red square moves left", "there is a green ring on white"]
    encoded = theirs(texts, padding=True, return_tensors="pt")
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        text = model.get_text_features(**encoded).pooler_output
        image = model.get_image_features(pixel_values=pixels).pooler_output
        own = clip.encode_texts(ours.load_tokenizer(folder)(texts, 16))
        frames = clip.encode_frames(pixels[:, None], torch.ones(2, 1, dtype=torch.bool))[:, 0]
    torch.testing.assert_close(own, text, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(frames, image, atol=1e-5, rtol=1e-5)


def test_the_tokenizer_keeps_clips_conventions(folder, theirs):
    vocabulary = json.loads((folder / "vocab.json").read_text())
    assert vocabulary[bpe.END] == len(vocabulary) - 1 == theirs.eos_token_id
    assert vocabulary[bpe.START] == len(vocabulary) - 2 == theirs.bos_token_id
    config = json.loads((folder / "config.json").read_text())["text_config"]
    assert (config["eos_token_id"], config["vocab_size"]) == (len(vocabulary) - 1, len(vocabulary))
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert all(symbol in vocabulary and symbol + "</w>" in vocabulary for symbol in bpe.byte_symbols())
    read = ours.load_tokenizer(folder)
    for text in tiny_clip.corpus(1, 40):
        ids = theirs(text)["input_ids"]
        assert len(ids) == len(text.replace(",", " ,").split()) + 2, "every word of the world is one token"
        assert theirs.decode(ids, skip_special_tokens=True).replace(" ,", ",").strip() == text
        row = read([text], 77)[0].tolist()
        assert row[: len(ids)] == ids and ids.index(vocabulary[bpe.END]) == len(ids) - 1


@pytest.mark.parametrize("text", ["Zürich — 東京 🚲 x²", "don't!!", "\u00a0\u200b~", "ÿĀ"])
def test_foreign_text_never_ends_early(folder, theirs, text):
    end = theirs.eos_token_id
    assert theirs(text)["input_ids"].count(end) == 1
    row = ours.load_tokenizer(folder)([text], 77)[0].tolist()
    assert row.index(end) == len(theirs(text)["input_ids"]) - 1


def test_same_seed_same_weights_other_seed_other_weights(folder, tmp_path):
    tiny_clip.train(tmp_path / "same", seed=1, **SMALL)
    tiny_clip.train(tmp_path / "other", seed=2, **SMALL)
    first, same, other = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "same", tmp_path / "other"))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert (folder / "tokenizer.json").read_bytes() == (tmp_path / "same/tokenizer.json").read_bytes()
    key = "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert not torch.equal(first[key], other[key])


def test_it_learns_to_find_its_own_pictures(tmp_path):
    record = tiny_clip.train(
        tmp_path / "w", seed=0, steps=60, batch=16, pool=64, width=32, embed=32, layers=3, threads=1, progress=False
    )
    assert record["loss"] < 0.9 * np.log(16)


def test_pictures_are_cropped_as_clip_crops_frames():
    from petvr.data.frames import preprocess

    still = stills.sample_still(generator(0, "crop"))
    picture = tiny_clip.cropped_pictures([still], 48)[0]
    assert picture.shape == (3, 48, 48)
    np.testing.assert_array_equal(picture, preprocess.prepare(still.picture(), 48))


def test_orthogonal_steps_have_singular_values_near_one():
    generator_ = torch.Generator().manual_seed(0)
    x = nearly_orthogonal(torch.randn(3, 16, 48, generator=generator_))
    values = torch.linalg.svdvals(x)
    assert values.min() > 0.6 and values.max() < 1.3
    tall = torch.nn.Parameter(torch.zeros(48, 16))
    tall.grad = torch.randn(48, 16, generator=generator_)
    OrthogonalMomentum([tall]).step(0.1)
    assert tall.shape == (48, 16) and (tall * tall.grad).sum() < 0  # against the gradient


def test_sizes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(PetvrError, match="image 48 must be a multiple of patch 20"):
        tiny_clip.train(tmp_path / "w", patch=20, progress=False)
    assert not (tmp_path / "w").exists()


def test_words_of_equal_count_are_learned_in_one_order_and_not_by_chance():
    """The order decides the ids, and these the weights: of two processes one would train another CLIP."""
    _, merges = bpe.learn_bpe(["az ay ax aw av au at as"] * 2, merges=600)
    assert merges == sorted(merges) and len(merges) == 8
