"""`petvr bench`: every figure is measured, goals are held to them, and a plan takes them over."""

import dataclasses
import json

import pytest
import training_bench as tiny

from petvr.clip.config import ClipConfig, Tower
from petvr.commands.bench import beside_full, goals
from petvr.costs.budget import Assumptions
from petvr.errors import PetvrError
from petvr.training import bench

CLIP = ClipConfig(
    Tower(32, 3, 2, 64), Tower(32, 3, 2, 64), image=16, patch=8, positions=20, vocab=1100, eot=1099, embed=16
)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "changes"), [("full", {}), ("vop", {"augment": "crop_flip", "optimizer": "adamw"})])
def test_a_step_a_reader_and_an_evaluation_are_measured_and_a_plan_uses_them(method, changes, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.geometry, "geometry", lambda name: CLIP)
    monkeypatch.setitem(bench.SIDE, "cpu", 64)
    line = bench.measure(tiny.spec(method, batch=3, **changes), 2, "cpu", 1, repeats=1)
    assert set(line) == {field.name for field in dataclasses.fields(bench.BenchLine)}
    assert (line["layers"], line["batch"], line["precision"]) == (2, 3, "fp32")
    assert all(value > 0 for key, value in line.items() if isinstance(value, float) and key != "peak_gib")
    assert line["attention"] == "flash"
    assert line["pairs_per_second"] == pytest.approx(3 / line["step_seconds"])
    said = goals(line | {"share": 0.5, "reader_share_of_copy": 0.9, "batch": 128}, cuda=False)
    assert [goal["met"] for goal in said if "matrix" in goal["what"] or "copy" in goal["what"]] == [False, True]
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"machine": "a card", "lines": [line | {"precision": "cma_fp16"}]}))
    assumed = Assumptions.measured(path)
    assert (assumed.tflops["bf16"], assumed.share["bf16"]) == (line["matrix_tflops"], line["share"])
    assert assumed.tflops["fp32"] == Assumptions().tflops["fp32"] and "a card" in assumed.sentences()[0]
    path.write_text('{"lines": 3}')
    with pytest.raises(PetvrError, match=r"bench\.json: machine: is missing; it is written by petvr bench"):
        Assumptions.measured(path)


def test_on_a_gpu_a_line_is_held_to_the_goals_of_its_size():
    line = {
        "method": "bias", "backbone": "vit-b-32", "frames": 12, "batch": 128, "loop_pairs_per_second": 1700.0,
        "pairs_per_second": 1720.0, "evaluated_videos_per_second": 3000.0, "reader_pairs_per_second": 9000.0,
        "reader_share_of_copy": 0.9, "attention": "cudnn flash",
    }  # fmt: skip
    assert all(goal["met"] for goal in goals(line, cuda=True))
    slow = goals(line | {"loop_pairs_per_second": 1200.0}, cuda=True)
    assert [goal["met"] for goal in slow] == [False, False, True, True, False]
    assert all(goal["met"] for goal in goals(line | {"method": "full", "loop_pairs_per_second": 1690.0}, cuda=True))
    assert [goal["met"] for goal in goals(line | {"batch": 64, "attention": "math"}, cuda=True)] == [False, True]


def test_a_method_is_held_to_full_tunings_share_on_its_backbone():
    shares = {("full@rule=clip4clip", "b"): 0.6, ("ssf", "b"): 0.5, ("vop", "b"): 0.59, ("vop", "l"): 0.1}
    lines = [{"method": method, "backbone": backbone, "share": share} for (method, backbone), share in shares.items()]
    said = beside_full(lines)
    assert [(goal["what"].split(":")[0], goal["met"]) for goal in said] == [("ssf on b", False), ("vop on b", True)]
    assert said[0]["value"] == pytest.approx(1.2)
