"""The smallest sets, and numbers that are none: each has one outcome, and it is said."""

import pytest
import torch
import training_bench as tiny
from safetensors.torch import load_file, save_file

from petvr.errors import PetvrError


def scaled_weights(bench, factor):
    """The tower's large matrices times `factor`, under which half precision overflows or nothing is a number."""
    path = bench["weights"] / "model.safetensors"
    state = {name: tensor * factor if "fc1.weight" in name else tensor for name, tensor in load_file(path).items()}
    save_file(state, path, metadata={"format": "pt"})


def test_one_test_video_is_found_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny.Colours, "counts", {"train": (24, 48), "test": (1, 1)})
    result = tiny.train(tiny.spec("lora", epochs=1), **tiny.everything(tmp_path))
    assert result.at("last").plain["t2v"]["R@1"] == 100 and result.at("last").plain["v2t"]["MnR"] == 1


def test_two_equal_videos_share_the_first_place(tmp_path, monkeypatch):
    """Their expected value, however they are ordered: half of the queries find theirs first."""
    pictures = tiny.pictures
    monkeypatch.setattr(tiny.Colours, "counts", {"train": (24, 48), "test": (2, 2)})
    monkeypatch.setattr(tiny, "pictures", lambda video: pictures("test0" if video.startswith("test") else video))
    result = tiny.train(tiny.spec("zero_shot", train=False), **tiny.everything(tmp_path))
    metrics = result.at("last").plain["t2v"]
    assert (metrics["R@1"], metrics["R@5"], metrics["MnR"]) == (50, 100, 1.5)


def test_a_batch_larger_than_the_set_is_named_unless_the_last_part_of_an_epoch_is_kept(bench):
    with pytest.raises(PetvrError, match=r"recipe\.batch 64 is larger than the 48 training samples"):
        tiny.train(tiny.spec("lora", epochs=1, batch=64), **bench)
    assert tiny.train(tiny.spec("lora", epochs=1, batch=64, drop_last=False), **bench).evaluations[-1].step == 1


@pytest.mark.parametrize("precision", ["clip4clip_fp16", "mv_adapter_fp16", "cma_fp16"])
def test_an_overflow_in_half_precision_is_no_result(bench, precision):
    scaled_weights(bench, 1e6)
    with pytest.raises(PetvrError, match=f"step 0, {precision}: scores contain NaN"):
        tiny.train(tiny.spec("lora", epochs=1, precision=precision), **bench)
    assert not (bench["out"] / "result.json").exists()


def test_what_a_frozen_tower_gives_is_not_kept_where_it_is_no_number(bench, tmp_path):
    scaled_weights(bench, torch.nan)
    cache = {"feature_cache": tmp_path / "cache", "feature_cache_gib": 1.0}
    with pytest.raises(PetvrError, match="the frozen tower gives NaN or infinity in fp32"):
        tiny.train(tiny.spec("zero_shot", train=False), **bench, **cache)
