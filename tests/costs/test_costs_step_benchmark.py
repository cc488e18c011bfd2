"""benchmarks/method_steps.py on a tiny CLIP: the same path as at real size and on a GPU."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from petvr.clip.config import ClipConfig, Tower
from petvr.costs import compute

torch.set_num_threads(1)
TINY = ClipConfig(Tower(32, 4, 4, 64), Tower(24, 4, 2, 48), image=16, patch=8, positions=24, vocab=60, eot=59, embed=16)
ASKED = ["bias", "vop@tokens=4", "cross_modal_adapter@ds=6,r=4", "mv_adapter", "rap@k=2", "x_pool", "vop_f+vop_p"]
SIZES = ["--layers", "2", "--batch", "3", "--frames", "2", "--words", "10", "--repeats", "1", "--warm", "1"]


@pytest.fixture(scope="module")
def steps():
    path = Path(__file__).parents[2] / "benchmarks" / "method_steps.py"
    spec = importlib.util.spec_from_file_location("method_steps", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["method_steps"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_method_asked_for_has_its_figures_next_to_the_full_steps(steps, tmp_path, capsys):
    file = tmp_path / "steps.json"
    given = [*SIZES, "--bf16", "--json", str(file), *(part for name in ASKED for part in ("--method", name))]
    told = steps.run(steps.arguments().parse_args(given), TINY)
    assert json.loads(file.read_text())["methods"] == told["methods"]
    assert list(told["methods"]) == ["full", *ASKED]
    full, bias, rap = (told["methods"][name] for name in ("full", "bias", "rap@k=2"))
    assert full["time"] == full["flops"] == 1 and full["own"] == bias["own"] == 0 and rap["own"] > 0
    assert all(line["seconds"] > 0 and line["pairs_per_s"] == 3 / line["seconds"] for line in told["methods"].values())
    cut = ClipConfig(**{**vars(TINY), "vision": Tower(32, 2, 4, 64), "text": Tower(24, 2, 2, 48)})
    whole, own = (compute.compute(cut, name, batch=3, frames=2, words=10) for name in ("full", "bias"))
    assert bias["flops"] == own.step / whole.step and bias["trainable"] == own.trainable
    steps.show(told)
    assert "rap@k=2" in capsys.readouterr().out


def test_slower_is_said_of_what_the_own_modules_do_not_explain(steps):
    """A full step of 300 and a bare forward pass of 100 operations; the method's forward pass has 110."""

    def line(seconds):
        found = steps.Line("m", "m", {}, forward=110, step=300, seconds=[9, *seconds], full_seconds=[10, 10, 10])
        return found.figures(bare=100, full=300, batch=2, rate=1000)

    assert line([11.4, 11.5])["own"] == pytest.approx(0.1)
    assert not line([11.4, 11.5])["slower"] and line([11.6, 11.7])["slower"]
    assert line([10, 10])["of_rate"] == 300 * 2 / 10 / 1000


def test_without_a_method_it_takes_all_on_a_processor_and_six_on_a_gpu(steps):
    names = {line.method for line in steps.chosen(None, 4, cuda=False)}
    assert {*steps.methods.available(), "vop_f+vop_c", "vop_f+vop_p"} <= names
    assert [line.method for line in steps.chosen(None, 12, cuda=True)] == list(steps.ON_GPU)
    assert next(line for line in steps.chosen(["vop_f"], 6, False)[1:]).setting["shallow"] == 4


@pytest.mark.parametrize("wrong", [["--device", "cuda"], ["--batch", "0"], ["--method", "vopp"]])
def test_what_cannot_be_measured_is_said_in_one_line(steps, wrong):
    if wrong[1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit, match=r"^petvr: error: "):
        steps.main(wrong)
