"""docs/python.md is run as it stands, in a project that has what it names."""

import re
import shutil
from pathlib import Path

import made_runs
import pytest
import torch
import training_bench as tiny
from made_runs import spec_of

ROOT = Path(__file__).parents[2]


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.slow
def test_the_page_runs_as_it_stands(finished_result, clips, tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    weights = tiny.write_weights(results / "weights" / "tiny")
    spec = spec_of("vop", {}).model_copy(update={"dataset": "msrvtt-9k", "backbone": "vit-b-32"})
    both = {"t2v": made_runs.PLAIN, "v2t": made_runs.PLAIN}
    made_runs.write_run(spec, finished_result(spec, both), results, weights)
    weights.rename(results / "weights" / "vit-b-32")
    (tmp_path / "folder").mkdir()
    for place, clip in zip(("a.mp4", "b.mp4", "folder/c.mp4", "folder/d.mp4"), clips, strict=False):
        shutil.copyfile(clip, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    pixels = torch.zeros((2, 3, 3, tiny.SIZE, tiny.SIZE), dtype=torch.uint8)
    names = {"batches": [(["red", "blue"], pixels)]}
    blocks = python_blocks(ROOT / "docs" / "python.md")
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["scores"].shape == (2, 2) and len(names["answers"]) == 2 and "c.mp4" in capsys.readouterr().out
    assert (tmp_path / "lora.safetensors").exists() and names["again"].digest == names["model"].digest
    first = python_blocks(ROOT / "README.md")[0]
    assert len(blocks) == 4 and "petvr.load(" in first
    shutil.rmtree(tmp_path / "clips.index")
    exec(compile(first, "README.md", "exec"), names)
