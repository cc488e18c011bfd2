"""Somebody else's tensors as a row of one's own: evaluated as they are, or trained on; only where they fit."""

import json
import shutil

import numpy as np
import pytest
import torch
import training_bench as tiny
from made_runs import spec_of
from safetensors.torch import load_file, save_file

import petvr
from petvr.library.loading import start_tensors


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A small world whose weights are those of `results`."""
    return tiny.everything(tmp_path_factory.mktemp("start"))


@pytest.fixture
def shared(bench, finished_run, tmp_path, results):
    def export(spec, **options):
        return petvr.export(finished_run(spec), tmp_path / "shared", **options)

    return export


@pytest.mark.parametrize("peft", [False, True])
@pytest.mark.slow
def test_a_shared_adapter_is_a_row_and_can_be_trained_on(peft, shared, bench, tmp_path):
    spec = spec_of("lora", epochs=1)
    folder = shared(spec, peft=peft)
    start = start_tensors(folder, spec, bench["weights"], train=False)
    places = bench | {"out": tmp_path / "out", "state": tmp_path / "state"}
    result = tiny.train(spec, start=start, **places)
    assert [one.step for one in result.evaluations] == [0]
    assert result.suspicious == ["was evaluated before any training alone", f"shows the tensors of {folder}"]
    kept = load_file(tmp_path / "out" / "adapter.safetensors")
    theirs = load_file(folder / "adapter.safetensors") if not peft else start.tensors
    assert kept.keys() == theirs.keys() and all(torch.equal(kept[name], theirs[name]) for name in kept)
    untouched = tiny.train(spec, **(bench | {"out": tmp_path / "own", "state": tmp_path / "state2"}))
    assert untouched.evaluations[0].plain != result.evaluations[0].plain, "the start would prove nothing"
    began = start_tensors(folder, spec, bench["weights"], train=True)
    trained = tiny.train(spec, start=began, **(bench | {"out": tmp_path / "on", "state": tmp_path / "state3"}))
    assert trained.evaluations[0].plain == result.evaluations[0].plain
    assert trained.evaluations[-1].step > 0 and trained.suspicious[-1] == f"began with the tensors of {folder}"


def test_adapters_of_others_are_read_exactly(results, tmp_path):
    """Ranks and scales that differ by projection, one tower, some blocks: against PEFT's own arithmetic."""
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import CLIPModel

    weights = results / "weights" / "tiny"
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=r".*vision_model.*layers\.1.*\.(q_proj|out_proj)", use_rslora=True,
        rank_pattern={"out_proj": 2}, alpha_pattern={"q_proj": 3},
    )  # fmt: skip
    model = get_peft_model(CLIPModel.from_pretrained(weights), config)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, part in model.named_parameters():
            if "lora_" in name:
                part.copy_(torch.randn(part.shape, generator=chance) * 0.3)
    model.save_pretrained(tmp_path / "theirs")
    spec = spec_of("lora", {"rank": 4, "targets": "q_k_v_o"})
    start = start_tensors(tmp_path / "theirs", spec, weights, train=False)
    towers = petvr.adapt(weights, "lora", rank=4, targets="q_k_v_o", train_logit_scale=True)
    with torch.no_grad():
        for name, part in towers.trainable().items():
            part.copy_(start.tensors[name])
        pictures = np.random.default_rng(0).integers(0, 255, (2, 1, 3, tiny.SIZE, tiny.SIZE), dtype=np.uint8)
        pixels = towers.normalise(torch.from_numpy(pictures))
        mine = towers.encode_frames(pixels)[:, 0]
        loaded = PeftModel.from_pretrained(CLIPModel.from_pretrained(weights), tmp_path / "theirs")
        theirs = loaded.get_image_features(pixel_values=pixels[:, 0]).pooler_output
        before = CLIPModel.from_pretrained(weights).get_image_features(pixel_values=pixels[:, 0]).pooler_output
    assert (mine - theirs).abs().max() < 1e-5 and (theirs - before).abs().max() > 1e-2


def test_what_does_not_fit_is_refused(shared, results, bench, tmp_path):
    weights = results / "weights" / "tiny"
    folder = shared(spec_of("lora"), peft=True)
    alone = shutil.copytree(folder, tmp_path / "alone")
    (alone / "petvr.json").unlink()

    def config(**changes):
        copy = shutil.copytree(alone, tmp_path / f"copy{len(list(tmp_path.iterdir()))}")
        values = json.loads((copy / "adapter_config.json").read_text())
        (copy / "adapter_config.json").write_text(json.dumps(values | changes))
        return copy

    def tensors(change):
        copy = shutil.copytree(alone, tmp_path / f"copy{len(list(tmp_path.iterdir()))}")
        state = load_file(copy / "adapter_model.safetensors")
        change(state)
        save_file(state, copy / "adapter_model.safetensors")
        return copy

    first = "base_model.model.vision_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"
    for source, spec, said in (
        (alone, spec_of("bias"), "holds lora, the run is of bias"),
        (alone, spec_of("lora", {"rank": 4}), "holds lora, the run is of lora@rank=4"),
        (config(peft_type="LOHA"), spec_of("lora"), "peft_type: 'LOHA' given, allowed: LORA"),
        (config(use_dora=True), spec_of("lora"), "use_dora: True given"),
        (config(bias="all"), spec_of("lora"), "bias: 'all' given"),
        (config(modules_to_save=["visual_projection"]), spec_of("lora"), "modules_to_save"),
        (config(lora_alpha="8"), spec_of("lora"), "lora_alpha: '8' given"),
        (tensors(lambda state: state.update(x=state.pop(first))), spec_of("lora"), "'x' is no LoRA of the attention"),
        (
            tensors(lambda state: state.pop(first)),
            spec_of("lora"),
            "block 0 of the vision tower, q: does not fit this CLIP",
        ),
        (tensors(lambda state: state.clear()), spec_of("lora"), "holds no tensor"),
        (tmp_path, spec_of("lora"), r"holds neither petvr\.json"),
        (tmp_path / "gone", spec_of("lora"), r"holds neither petvr\.json"),
    ):
        with pytest.raises(petvr.PetvrError, match=said) as raised:
            start_tensors(source, spec, weights, train=False)
        assert "\n" not in str(raised.value)
    other = tiny.write_weights(tmp_path / "other", layers=1)
    with pytest.raises(petvr.PetvrError, match=r"made for another CLIP \(tiny\)"):
        start_tensors(folder, spec_of("lora"), other, train=False)
