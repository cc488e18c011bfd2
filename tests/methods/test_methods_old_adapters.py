"""Adapters that revision 3db2adb wrote still load, and give what they gave there.

adapters_of_0_1.zip: a random CLIP of two narrow blocks, inputs, and for every method and setting in the contract
test, and every similarity, the trained tensors after a random perturbation as `<number>.safetensors` (as in a run's
adapter: the similarity's begin with `similarity.`), with the features and scores that revision computed from them.
"""

import json
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save_file

from petvr import methods, similarity
from petvr.clip import weights
from petvr.clip.config import from_hf

with zipfile.ZipFile(Path(__file__).with_name("adapters_of_0_1.zip")) as archive:
    FILES = {name: archive.read(name) for name in archive.namelist()}
SAVED = json.loads(FILES["cases.json"])
INPUTS, FEATURES = read_tensors(FILES["inputs.safetensors"]), read_tensors(FILES["features.safetensors"])
HEAD = "similarity."


def title(case):
    return f"{case['method']}-{case['similarity']}-" + ",".join(f"{k}={v}" for k, v in case["setting"].items())


@pytest.mark.parametrize("number", range(len(SAVED["cases"])), ids=[title(case) for case in SAVED["cases"]])
def test_an_adapter_of_then_loads_and_gives_what_it_gave(number, tmp_path):
    case, sizes = SAVED["cases"][number], {"frames": SAVED["frames"], "words": SAVED["words"]}
    clip = weights.random(from_hf(SAVED["clip"]), 0)
    clip.load_state_dict(read_tensors(FILES["clip.safetensors"]))
    generator = torch.Generator().manual_seed(1)
    model = methods.adapt(clip, case["method"], case["setting"], generator=generator, **sizes).eval()
    head = similarity.build_similarity(
        case["similarity"], case["similarity_setting"], model.embed_dim, clip=clip, **sizes
    ).eval()
    file = f"{number:03d}.safetensors"
    trained = read_tensors(FILES[file]) if file in FILES else {}
    save_file({name: tensor for name, tensor in trained.items() if not name.startswith(HEAD)}, tmp_path / file)
    model.load(tmp_path / file)
    parts = {name.removeprefix(HEAD): tensor for name, tensor in trained.items() if name.startswith(HEAD)}
    head.load_state_dict(parts)
    with torch.no_grad():
        frames = model.encode_frames(INPUTS["pixels"], INPUTS["mask"], texts=INPUTS["sentences"])
        gives = {"frames": frames, "texts": model.encode_texts(INPUTS["ids"])}
        patches = None
        if "patches" in head.NEEDS:
            frames, patches = model.encode_patches(INPUTS["pixels"], INPUTS["mask"], texts=INPUTS["sentences"])
        text, words, word_mask = model.encode_all_words(INPUTS["ids"])
        scores = head(text, frames, INPUTS["mask"], words=words, word_mask=word_mask, patches=patches)
        gives["scores"] = scores * model.logit_scale.exp()
    for name, tensor in gives.items():  # to the bit on the machine that wrote them; another CPU may round otherwise
        torch.testing.assert_close(tensor, FEATURES[f"{number:03d}.{name}"], atol=1e-5, rtol=1e-5)


def test_every_method_and_similarity_of_then_is_among_them():
    parts = {part for case in SAVED["cases"] for part in case["method"].split("+")}
    assert len(parts) == 33 and len({case["similarity"] for case in SAVED["cases"]}) == 9
