"""What is shared of a run: the same scores after loading, nothing executed, whole or refused; merged, PEFT's form."""

import json
import shutil

import numpy as np
import pytest
import torch
import training_bench as tiny
from huggingface_hub import ModelCard
from made_runs import EVERY, PLAIN, spec_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import petvr
from petvr.clip import tokenizer, weights
from petvr.result import Result
from petvr.spec import Source

TEXTS = ["red left", "to up: blue"]


@pytest.fixture
def shared(finished_run, tmp_path, results, monkeypatch):
    """`shared(spec, **options)`: an exported folder; weights are found in the working folder's results."""
    monkeypatch.chdir(results.parent)

    def export(spec, **options):
        return petvr.export(finished_run(spec), tmp_path / "shared", **options)

    return export


@pytest.mark.slow
@pytest.mark.parametrize("method", EVERY)
def test_an_exported_folder_scores_as_the_run(method, shared, finished_run, clips):
    spec = spec_of(method)
    folder = shared(spec)
    assert {path.name for path in folder.iterdir()} == {"petvr.json", "adapter.safetensors", "README.md"}
    mine, theirs = petvr.load(finished_run(spec), device="cpu"), petvr.load(folder, device="cpu")
    sentences = TEXTS if method == "rap" else None
    scores = [each.score(TEXTS, each.encode_video(clips[:2], sentences=sentences)) for each in (mine, theirs)]
    assert np.array_equal(*scores) and mine.digest == theirs.digest and theirs.name == spec.id
    with safe_open(folder / "adapter.safetensors", "pt") as file:
        assert file.metadata()["run"] == spec.id and spec.method in file.metadata()["method"]


def test_a_sample_of_training_captions_goes_along(shared, clips):
    captions = [f"caption {number}" for number in range(5)]
    spec = spec_of("rap", {"hidden": 4, "pool": "fixed"})
    with pytest.raises(petvr.PetvrError, match="export needs captions="):
        shared(spec)
    model = petvr.load(shared(spec, captions=lambda: captions), device="cpu")
    assert sorted(model.sentences) == captions and len(model.encode_video(clips[:1])) == 1


def test_the_card_says_what_the_weights_scored(shared, finished_run):
    spec = spec_of("bias").model_copy(update={"sources": {"recipe.lr_clip": Source(origin="guess", where="no rate")}})
    run = finished_run(spec)
    above = np.arange(16, dtype=np.int32)
    counts = np.stack([above, np.zeros_like(above)])
    ranks = {f"0/plain/{way}": counts for way in ("t2v", "v2t")}
    np.savez(run / "ranks.npz", videos=np.array([f"v{n}" for n in range(16)]), owner=above, **ranks)
    card = ModelCard.load(petvr.export(run, run.parent / "card", licence="cc-by-4.0") / "README.md")
    shutil.rmtree(run.parent / "card")
    (run / "ranks.npz").unlink()
    assert card.data.license == "cc-by-4.0" and card.data.library_name == "petvr" and "bias" in card.data.tags
    scored = {(one.task_type, one.metric_name): one for one in card.data.eval_results}
    first = scored["text-to-video-retrieval", "R@1"]
    assert first.metric_value == PLAIN["R@1"] and first.dataset_revision == "d"
    low, high = first.metric_args["queries_interval_95"]
    assert 0 == low < 100 / 16 < high < 25  # one of 16 queries is right
    for words in (
        "`recipe.lr_clip` = 0.001: no rate",
        "petvr.load(",
        "digest `d`",
        "best_on_test",
        "20.0 (0.0 to 18.8)",
    ):
        assert words in card.content, words


def hf_features(model, folder, clips_model, clips):
    """Text and frame features of transformers' CLIPModel, [N, E] and [M, F, E]."""
    tokenize = tokenizer.load_tokenizer(folder)
    ids = tokenize(TEXTS, tiny.WORDS, pad=tokenize.eot)
    frames = clips_model.model.adapted.normalise(clips)
    with torch.no_grad():
        text = model.get_text_features(input_ids=ids).pooler_output
        image = model.get_image_features(pixel_values=frames.flatten(0, 1)).pooler_output
    return text, image.unflatten(0, frames.shape[:2])


def own_features(model, pictures):
    tokenize = model.tokenize
    with torch.no_grad():
        ids = tokenize(TEXTS, tiny.WORDS)
        adapted = model.model.adapted
        return adapted.encode_texts(ids), adapted.encode_frames(adapted.normalise(pictures))


PICTURES = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (2, 3, 3, tiny.SIZE, tiny.SIZE), dtype=np.uint8))
MERGED = {
    "lora": {}, "lora@q_v": {"targets": "q_v"}, "lora@q_k_v_o": {"targets": "q_k_v_o", "scale": 0.5, "rank": 2},
    "ssf": {}, "ssf@blocks": {"sites": "blocks"}, "bias": {}, "full": {"rule": "everything"}, "proj": {}, "partial": {},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", MERGED)
def test_a_merged_folder_is_a_clip_with_the_runs_features(case, shared, finished_run, results, clips):
    from transformers import CLIPModel

    spec = spec_of(case.partition("@")[0], MERGED[case])
    run = petvr.load(finished_run(spec), device="cpu")
    folder = shared(spec, merge=True)
    assert {"config.json", "model.safetensors", "tokenizer.json", "petvr.json", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    assert (folder / "config.json").read_bytes() == (results / "weights" / "tiny" / "config.json").read_bytes()
    theirs = hf_features(CLIPModel.from_pretrained(folder), folder, run, PICTURES)
    untouched = hf_features(CLIPModel.from_pretrained(results / "weights" / "tiny"), folder, run, PICTURES)
    for mine, merged, before in zip(own_features(run, PICTURES), theirs, untouched, strict=True):
        assert (mine - merged).abs().max() < 1e-5
        assert (mine - before).abs().max() > 1e-3, "the merge would prove nothing: nothing has moved"
    model = petvr.load(folder, device="cpu")
    assert model.name == spec.id and np.allclose(model.score(TEXTS, clips[:1]), run.score(TEXTS, clips[:1]), atol=1e-5)


@pytest.mark.parametrize(
    "spec, said",
    [
        (spec_of("vop"), "method 'vop' acts where CLIP has no weight"),
        (spec_of("adaptformer"), "method 'adaptformer' acts where"),
        (spec_of("ju"), "acts where CLIP has no weight"),
        (spec_of("bias", {}, similarity="seq_transf"), "similarity 'seq_transf' has tensors that a CLIPModel lacks"),
    ],
)
def test_what_does_not_fold_is_refused_with_the_reason(spec, said, shared, tmp_path):
    with pytest.raises(petvr.PetvrError, match=said):
        shared(spec, merge=True)
    assert not list(tmp_path.glob("*shared*"))
    with pytest.raises(petvr.PetvrError, match="cannot be written in PEFT's format"):
        shared(spec, peft=True)


@pytest.mark.parametrize("case", [name for name in MERGED if name.startswith("lora")])
def test_peft_loads_lora_and_its_features_move_as_the_runs(case, shared, finished_run, results):
    from peft import PeftModel
    from transformers import CLIPModel

    spec = spec_of("lora", MERGED[case])
    run, folder = petvr.load(finished_run(spec), device="cpu"), shared(spec, peft=True)
    base = CLIPModel.from_pretrained(results / "weights" / "tiny")
    before = hf_features(base, results / "weights" / "tiny", run, PICTURES)
    theirs = hf_features(PeftModel.from_pretrained(base, folder), results / "weights" / "tiny", run, PICTURES)
    for mine, loaded, untouched in zip(own_features(run, PICTURES), theirs, before, strict=True):
        assert (mine - loaded).abs().max() < 1e-5 and (loaded - untouched).abs().max() > 1e-3
    again = petvr.load(folder, device="cpu")
    for mine, loaded in zip(own_features(run, PICTURES), own_features(again, PICTURES), strict=True):
        assert (mine - loaded).abs().max() < 1e-5


def altered(folder, **changes):
    """petvr.json with other values, its seal taken off as somebody who writes one by hand would."""
    values = json.loads((folder / "petvr.json").read_text())
    values.pop("seal")
    (folder / "petvr.json").write_text(json.dumps(values | changes))


def test_a_bad_folder_is_one_line(shared, results, tmp_path):
    good = shared(spec_of("bias"))
    values = json.loads((good / "petvr.json").read_text())
    other = spec_of("full", {"freeze": 1}).model_dump(mode="json")
    evil = {"auto_map": {"AutoModel": "evil.py"}, "custom_pipeline": "evil.py"}

    def half(folder):
        (folder / "adapter.safetensors").unlink()

    def damaged(folder):
        data = bytearray((folder / "adapter.safetensors").read_bytes())
        data[-3] ^= 255
        (folder / "adapter.safetensors").write_bytes(bytes(data))

    def pickled(folder):
        torch.save({"clip.logit_scale": torch.ones(())}, folder / "adapter.safetensors")
        from petvr.result import StoredFile

        altered(folder, adapter=StoredFile.of(folder / "adapter.safetensors").model_dump())

    def nan(folder):
        state = load_file(folder / "adapter.safetensors")
        state["clip.logit_scale"] = torch.tensor(float("nan"))
        save_file(state, folder / "adapter.safetensors")
        from petvr.result import StoredFile

        altered(folder, adapter=StoredFile.of(folder / "adapter.safetensors").model_dump())

    cases = {
        half: r"adapter\.safetensors: no such file.*half a folder",
        damaged: r"adapter\.safetensors: altered or damaged",
        pickled: r"adapter\.safetensors: cannot be read",
        nan: r"'clip\.logit_scale' holds NaN",
        lambda folder: altered(folder, spec=values["spec"] | {"method": "bais"}): "unknown method 'bais'.*mean 'bias'",
        lambda folder: altered(folder, spec=other): "does not fit the method",
        lambda folder: altered(folder, format=99): "format: 99 given, this petvr reads 1",
        lambda folder: altered(
            folder, **evil
        ): r"petvr\.json: (auto_map|custom_pipeline): Extra inputs are not permitted",
        lambda folder: altered(
            folder, backbone=values["backbone"] | {"digest": "0", "tensors": "0"}
        ): "other weights than",
        lambda folder: altered(folder, tokenizer="0"): "another vocabulary",
        lambda folder: (folder / "petvr.json").write_text("[]"): r"petvr\.json",
        lambda folder: (folder / "petvr.json").write_text('{"format": 1'): r"petvr\.json",
    }
    for number, (spoil, said) in enumerate(cases.items()):
        folder = shutil.copytree(good, tmp_path / f"case{number}")
        spoil(folder)
        with pytest.raises(petvr.PetvrError, match=said) as raised:
            petvr.load(folder, device="cpu")
        assert "\n" not in str(raised.value)
    with pytest.raises(petvr.PetvrError, match="is there already"):
        petvr.export(results / "runs" / spec_of("bias").id, good)
    for options in (
        {"licence": "mit\ntags: x"},
        {"licence": 3},
        {"hub_id": 3},
        {"to": " "},
    ):  # the first is a card's head
        with pytest.raises(petvr.PetvrError, match=f"{next(iter(options))}: .* given, allowed: "):
            petvr.export(**{"run": results / "runs" / spec_of("bias").id, "to": tmp_path / "new"} | options)
    with pytest.raises(petvr.PetvrError, match="folder: None given"):
        petvr.push(None, "owner/name")
    # the same numbers under another digest of the folder, as another version of transformers would write it
    altered(good, backbone=values["backbone"] | {"digest": "0"})
    assert petvr.load(good, device="cpu").name == spec_of("bias").id


def test_the_command_exports_by_id(finished_run, results, tmp_path, capsys):
    import argparse

    from petvr.commands import export
    from petvr.config import Config

    spec = spec_of("bias")
    finished_run(spec)
    parser = argparse.ArgumentParser()
    export.arguments(parser)
    config = Config(seeds=[0], results=results, weights={"tiny": "owner/tiny-clip"})
    export.run(parser.parse_args([spec.id, "--to", str(tmp_path / "out"), "--license", "apache-2.0"]), config)
    assert "petvr.load(" in capsys.readouterr().out
    shared = json.loads((tmp_path / "out" / "petvr.json").read_text())
    assert shared["backbone"]["hub_id"] == "owner/tiny-clip" and shared["spec"]["method"] == "bias"
    assert shared["backbone"]["digest"] == weights.digest(results / "weights" / "tiny")
    assert (
        Result.read(results / "runs" / spec.id / "result.json").provenance.weights_digest
        == shared["backbone"]["digest"]
    )
