import dataclasses
import json
import os

import pytest
import torch

from petvr.clip import config, tokenizer, weights
from petvr.clip.config import ClipConfig, Tower
from petvr.errors import PetvrError

torch.set_num_threads(1)
TINY = ClipConfig(
    Tower(32, 2, 4, 64), Tower(24, 2, 2, 48), image=16, patch=8, positions=12, vocab=514, eot=513, embed=16
)


@pytest.fixture()
def folder(tmp_path):
    weights.save(weights.random(TINY, 3), tmp_path / "tiny")
    return tmp_path / "tiny"


def write_tokenizer(folder, extra=()):
    symbols = tokenizer.byte_symbols()
    names = [*symbols, *(symbol + "</w>" for symbol in symbols), *extra, tokenizer.SOT, tokenizer.EOT]
    tokenizer.build_tokenizer({name: number for number, name in enumerate(names)}, [], folder)
    tokens = {"tokenizer_class": "CLIPTokenizer", "unk_token": tokenizer.EOT, "bos_token": tokenizer.SOT}
    tokens |= {"eos_token": tokenizer.EOT, "pad_token": tokenizer.EOT, "model_max_length": 12}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_saved_clip_loads_with_its_geometry_and_its_numbers(folder):
    clip = weights.load_clip(folder)
    assert clip.config == TINY
    assert same(clip, weights.random(TINY, 3))
    assert not same(clip, weights.random(TINY, 4))


@pytest.mark.slow
def test_transformers_reads_the_folder_and_fetch_brings_a_local_model_into_the_same_form(folder, tmp_path):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder)
    assert torch.equal(model.logit_scale, weights.load_clip(folder).logit_scale)
    write_tokenizer(folder)
    weights.fetch(str(folder), tmp_path / "fetched")
    assert same(weights.load_clip(tmp_path / "fetched"), weights.load_clip(folder))
    fetched, mine = tokenizer.load_tokenizer(tmp_path / "fetched"), tokenizer.load_tokenizer(folder)
    assert fetched.tokens(["Red  square, it's"]) == mine.tokens(["Red  square, it's"])


def test_fetch_names_a_source_that_does_not_exist(tmp_path):
    with pytest.raises(PetvrError, match="nowhere"):
        weights.fetch(str(tmp_path / "nowhere"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_folder_without_a_tokenizer_or_with_another_models_becomes_no_weights(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(PetvrError, match=r"tiny: no tokenizer in it; allowed: tokenizer\.json"):
        weights.fetch(str(folder), out)
    write_tokenizer(folder, extra=["re"])
    with pytest.raises(
        PetvrError, match=r"tiny/tokenizer\.json: .*(515 entries, config\.json says 514|0 merges for 515)"
    ):
        weights.fetch(str(folder), out)
    write_tokenizer(folder)
    values = json.loads((folder / "config.json").read_text())
    values["text_config"]["eos_token_id"] = 500
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(PetvrError, match=r"513 as EOT, config\.json says 500: the tokenizer of another model"):
        weights.fetch(str(folder), out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pre_tokenizer", None, "cuts"),
        ("pre_tokenizer", {"type": "Whitespace"}, "cuts"),
        ("normalizer", {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                        "strip_accents": True, "lowercase": True}, "changes"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_cuts_or_changes_words_otherwise_is_refused(folder, key, value, message):
    write_tokenizer(folder)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(PetvrError, match=rf"tokenizer\.json: {message} \"a dog's café, 12\""):
        tokenizer.load_tokenizer(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("visual_projection.weight"), "1 parameters are missing, the first is 'visual_proj"),
        (lambda state: state.update(surplus=torch.zeros(1)), "1 parameters are unexpected, the first is 'surplus'"),
        (lambda state: state["text_projection.weight"].fill_(torch.nan), "'text_projection.weight' holds NaN"),
    ],
)
def test_nothing_is_drawn_in_place_of_a_missing_parameter(folder, tmp_path, change, message):
    """transformers would: it fills what a file lacks with random numbers and passes over what it does not know."""
    from safetensors.torch import load_file, save_file

    write_tokenizer(folder)
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PetvrError, match=message):
        weights.fetch(str(folder), tmp_path / "out")


def test_another_geometry_than_the_name_says_is_refused_but_for_the_size_of_pictures(folder, tmp_path):
    write_tokenizer(folder)
    larger = dataclasses.replace(TINY, image=32)
    assert weights.fetch(str(folder), tmp_path / "out", like=larger) == TINY
    with pytest.raises(PetvrError, match=r"tiny/config\.json: another geometry than its name says: patch 8, not 16"):
        weights.fetch(str(folder), tmp_path / "out", like=dataclasses.replace(TINY, patch=16))


def test_older_bin_files_load_without_running_a_pickle(folder, tmp_path):
    clip = weights.load_clip(folder)
    (folder / "model.safetensors").unlink()
    half = {name: tensor.half() if tensor.dim() else tensor for name, tensor in clip.state_dict().items()}
    half["text_model.embeddings.position_ids"] = torch.arange(12)[None]  # older files hold such
    torch.save(half, folder / "pytorch_model.bin")
    loaded = weights.load_clip(folder)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.state_dict(), clip.state_dict(), atol=1e-3, rtol=0)

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trap"), "w"))

    torch.save({"text_projection.weight": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(PetvrError, match="not readable as weights"):
        weights.load_clip(folder)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("visual_projection.weight"), "visual_projection.weight"),
        (lambda state: state.update(surplus=torch.zeros(1)), "'surplus'"),
        (lambda state: state.update({"logit_scale": torch.zeros(2)}), r"'logit_scale' has shape \(2,\)"),
    ],
)
def test_weights_that_are_not_this_clips_are_named(folder, change, message):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(PetvrError, match=message) as error:
        weights.load_clip(folder)
    assert "model.safetensors" in str(error.value) and "\n" not in str(error.value)


def test_missing_damaged_and_foreign_folders_are_named(folder, tmp_path):
    with pytest.raises(PetvrError, match="no such weights folder"):
        weights.load_clip(tmp_path / "absent")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(PetvrError, match="not readable as weights"):
        weights.load_clip(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(PetvrError, match="no weights file"):
        weights.load_clip(folder)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(PetvrError, match="'bert' is not a CLIP"):
        weights.load_clip(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(PetvrError, match=r"config\.json: not JSON"):
        weights.load_clip(folder)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("vision_config", "hidden_size", "64"),
        ("vision_config", "hidden_size", 10**12),
        ("vision_config", "num_attention_heads", 0),
        ("vision_config", "patch_size", 0),
        ("vision_config", "image_size", -1),
        ("vision_config", "layer_norm_eps", None),
        ("text_config", "num_hidden_layers", True),
        ("text_config", "vocab_size", [1]),
        ("text_config", "max_position_embeddings", 1.5),
    ],
)
def test_a_size_no_clip_has_is_named_before_anything_is_made_of_it(folder, tmp_path, section, key, value):
    write_tokenizer(folder)
    path = folder / "config.json"
    data = json.loads(path.read_text())
    data[section][key] = value
    path.write_text(json.dumps(data))
    for road in (weights.load_clip, lambda source: weights.fetch(str(source), tmp_path / "made")):
        with pytest.raises(PetvrError, match=f"config.json: {key}: .* given, allowed: ") as error:
            road(folder)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "made").exists()


def test_mean_and_deviation_of_pixels_are_shares_of_the_brightest(folder):
    for key, value in (("image_mean", [127.5] * 3), ("image_mean", [0.5]), ("image_std", [0, 0, 0])):
        (folder / "preprocessor_config.json").write_text(json.dumps({key: value}))
        with pytest.raises(PetvrError, match=f"{key} beside it: .* given, allowed: "):
            weights.load_clip(folder)


def test_a_pipe_among_the_weights_is_not_waited_for(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(PetvrError, match=r"model\.safetensors: not a file"):
        weights.fetch(str(folder), tmp_path / "made")


def test_digest_follows_weights_and_geometry(folder):
    before = weights.digest(folder)
    assert weights.digest(folder) == before
    weights.save(weights.random(TINY, 4), folder)
    assert weights.digest(folder) != before


def test_digest_reads_a_file_again_only_when_it_is_another(folder, monkeypatch):
    before, read = weights.digest(folder), []
    hashed = weights.hashlib.file_digest
    monkeypatch.setattr(weights.hashlib, "file_digest", lambda *given: read.append(given[0].name) or hashed(*given))
    assert weights.digest(folder) == before and not read
    path = folder / "model.safetensors"
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    with open(path, "r+b") as stream:  # in place: size, inode and, put back, the time of change stay
        stream.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert weights.digest(folder) != before and read == [str(path)]
    (folder / ".digests.json").write_text("[1, 2")
    data[-1] ^= 1
    path.write_bytes(data)
    assert weights.digest(folder) == before


def test_config_of_the_hubs_older_files_means_the_highest_id_by_eos_2():
    old = config.from_hf({"text_config": {"eos_token_id": 2}, "vision_config": {"patch_size": 16}})
    assert (old.eot, old.patch, old.patches) == (49407, 16, 196)
    nested = config.from_hf(
        {"projection_dim": 768, "text_config_dict": {"hidden_size": 768, "num_attention_heads": 12}}
    )
    assert (nested.embed, nested.text.width) == (768, 768)


def test_unknown_backbones_are_named_with_the_nearest():
    with pytest.raises(PetvrError, match="did you mean 'vit-b-32'"):
        config.geometry("vit-b32")


@pytest.mark.parametrize(
    ("backbone", "total"), [("vit-b-32", 151_277_313), ("vit-b-16", 149_620_737), ("vit-l-14", 427_616_513)]
)
def test_the_published_sizes_have_the_published_number_of_parameters(backbone, total):
    clip = weights.on_meta(config.geometry(backbone))
    assert sum(parameter.numel() for parameter in clip.parameters()) == total
