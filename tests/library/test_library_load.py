"""A finished run from Python: what it encodes and scores is what training's own code gives; bad input is one line."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import training_bench as tiny
from made_runs import EVERY, spec_of
from safetensors.torch import load_file

import petvr
from petvr.clip import tokenizer
from petvr.data.frames.store import FrameStore, VideoItem, build_store
from petvr.training.model import build_model

TEXTS = ["red left", "to up: blue", "green down", "red left", "a much longer text than others"]


def test_importing_petvr_imports_nothing_else():
    code = "import sys, petvr; print(sorted(m for m in sys.modules if m.split('.')[0] not in sys.stdlib_module_names))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert {name for name in eval(out) if not name.startswith("_")} <= {"petvr", "sitecustomize", "usercustomize"}
    assert set(petvr.__all__) <= set(dir(petvr)) and len(petvr.__all__) <= 13
    for name in petvr.__all__:
        getattr(petvr, name)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        petvr.laod  # noqa: B018


def by_hand(spec, folder, results, clips, tmp_path):
    """Scores of TEXTS with the clips by the code that trains and evaluates, through a frame store."""
    recipe = spec.recipe
    items = [VideoItem(f"{number}", clip) for number, clip in enumerate(clips)]
    rule = {"sampler": recipe.sampler, "frames": recipe.frames, "size": tiny.SIZE, "picture": recipe.picture}
    build_store(items, tmp_path / "store", progress=False, workers=2, **rule)
    model = build_model(spec, results / "weights" / "tiny", torch.device("cpu"))
    model.restore(load_file(folder / "adapter.safetensors"))
    model.set_training(False)
    tokenize = tokenizer.load_tokenizer(results / "weights" / "tiny")
    pixels, mask = map(torch.from_numpy, FrameStore(tmp_path / "store").get([item.video for item in items]))
    with torch.no_grad():
        texts = model.encode_texts(tokenize(TEXTS, recipe.words))
        return model.scores(texts, model.encode_videos(pixels, mask, texts["text"])).numpy()


@pytest.fixture(scope="session")
def expected(results, clips, tmp_path_factory):
    kept = {}

    def scores(spec, folder):
        if spec.id not in kept:
            kept[spec.id] = by_hand(spec, folder, results, clips, tmp_path_factory.mktemp("by_hand"))
        return kept[spec.id]

    return scores


QUICK = ("full", "x_clip")
METHODS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in EVERY]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_scores_of_files_are_those_of_training_whatever_the_similarity(method, finished_run, clips, expected):
    spec = spec_of(method, sampler="c4c_1fps_int", picture="stretch" if method == "full" else "crop")
    folder = finished_run(spec)
    model = petvr.load(folder, device="cpu")
    assert model.name == spec.id and model.notes == []
    videos = model.encode_video(clips, sentences=TEXTS if method == "rap" else None, batch_size=2)
    texts = model.encode_text(TEXTS)
    assert (len(texts), len(videos)) == (5, 5) and videos.names == tuple(map(str, clips))
    assert model.score(texts, videos) == pytest.approx(expected(spec, folder), abs=1e-5)
    assert np.asarray(texts).dtype == np.asarray(videos).dtype == np.float32
    assert np.linalg.norm(np.asarray(videos), axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    if model.one_vector:
        assert np.asarray(texts) @ np.asarray(videos).T == pytest.approx(model.score(texts, videos), abs=1e-5)


@pytest.mark.slow
def test_processes_and_parts_of_videos(finished_run, clips):
    model = petvr.load(finished_run(spec_of("full", sampler="uniform_mid")) / "result.json", device="cpu")
    inside = model.encode_video(clips[:2])
    apart = model.encode_video(clips[:2], workers=2)
    assert np.array_equal(inside.vectors, apart.vectors)
    part = model.encode_video(clips[:2], windows=[(1, 2), None])
    assert not np.allclose(part.vectors[0], inside.vectors[0]) and np.allclose(part.vectors[1], inside.vectors[1])


@pytest.mark.slow
def test_a_script_without_a_main_guard_encodes(finished_run, clips, tmp_path):
    folder = finished_run(spec_of("full"))
    script = f"import petvr; print(petvr.load({str(folder)!r}).score(['red'], [{str(clips[0])!r}]).shape)"
    out = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, cwd=tmp_path)
    assert out.stdout == "(1, 1)\n", out.stderr


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_another_arithmetic_gives_nearly_the_same(dtype, finished_run, clips):
    folder = finished_run(spec_of("cross_modal_adapter"))
    model, other = petvr.load(folder, device="cpu"), petvr.load(folder, device="cpu", dtype=dtype)
    scores = [each.score(TEXTS, clips[:2]) for each in (model, other)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    assert (scores[0] == pytest.approx(scores[1], abs=1e-7)) == (dtype == "float32")
    if dtype != "float32":
        with pytest.raises(petvr.PetvrError, match="features of another model"):
            model.score(other.encode_text(["red"]), model.encode_video([]))


def test_bad_input_is_named(finished_run, clips, tmp_path):
    model = petvr.load(finished_run(spec_of("full")), device="cpu")
    assert model.score([], clips[:1]).shape == (0, 1) and model.score(["red"], []).shape == (1, 0)
    (tmp_path / "page.mp4").write_text("<html>quota</html>")
    for texts, said in (
        ("red", "a list of texts"),
        ([3], "text 0: 3 is no text but int"),
        (["a", " "], "text 1 is empty"),
        (["\ud800"], "text 0: .* is no text in UTF-8"),
        (None, "a list of texts is expected, not None"),
    ):
        with pytest.raises(petvr.PetvrError, match=said):
            model.encode_text(texts)
    for videos, options, said in (
        ("a.mp4", {}, "a list of video files"),
        ([None], {}, "video file: None given, allowed: "),
        (None, {}, "a list of video files is expected, not None"),
        (clips[:1], {"workers": 1.5}, "workers: 1.5"),
        (clips[:1], {"batch_size": True}, "batch_size: True"),
        (clips[:1], {"windows": [3]}, "window 3: .start, end. is expected"),
        (clips[:1], {"windows": [(0, float("inf"))]}, "window .0, inf."),
        (clips[:1], {"windows": [("0", "1")]}, "window .'0', '1'."),
        (clips[:1], {"sentences": ["red"]}, "looks at no sentences"),
        ([clips[0], tmp_path / "page.mp4"], {}, r"page\.mp4: .*page"),
        ([tmp_path / "gone.mp4"], {}, r"gone\.mp4: no such file"),
        ([tmp_path], {}, "a folder, not a video"),
        (clips[:1], {"workers": -1}, "workers: -1"),
        (clips[:1], {"batch_size": 0}, "batch_size: 0"),
        (clips[:1], {"windows": []}, "0 windows for 1 videos"),
        (clips[:1], {"windows": [(3, 1)]}, "start < end"),
    ):
        with pytest.raises(petvr.PetvrError, match=said) as raised:
            model.encode_video(videos, **options)
        assert "\n" not in str(raised.value)
    assert len(model.encode_text(text for text in ["red", "blue"])) == 2, "a generator is no empty list"
    with pytest.raises(petvr.PetvrError, match="EncodedVideos given, EncodedTexts expected"):
        model.score(model.encode_video(clips[:1]), model.encode_text(["red"]))
    model.encode_text(["red " * 40])
    assert "its end is cut off" in model.notes[0]
    with pytest.raises(petvr.PetvrError, match=r"pass sentences=\[\.\.\.\].*all texts that will be searched"):
        petvr.load(finished_run(spec_of("rap")), device="cpu").encode_video(clips[:1])


def test_what_is_no_model_is_named(finished_run, results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = finished_run(spec_of("bias"))
    for source, options, said in (
        (tmp_path, {}, r"holds neither result\.json .* nor petvr\.json"),
        ("no such thing", {}, r"no folder of a run \(`petvr show RUN` .*\), no shared folder, and no hub id"),
        (folder, {"device": "cuda:7"}, "device 'cuda:7' cannot be used"),
        (folder, {"device": ""}, "device '' cannot be used"),
        (folder, {"device": "meta"}, "device 'meta' cannot be used"),
        (folder, {"device": []}, r"device '\[\]' cannot be used"),
        (folder, {"dtype": "int8"}, "unknown dtype 'int8'"),
        (folder, {"dtype": []}, "unknown dtype"),
        (folder, {"backbone": ""}, "backbone: '' given"),
        (None, {}, "source: None given, allowed: "),
        (" ", {}, "source: ' ' given, allowed: "),
        (folder, {"backbone": "/no/such"}, "backbone /no/such: no such folder, and no hub id"),
    ):
        with pytest.raises(petvr.PetvrError, match=said):
            petvr.load(source, **options)
    tiny.write_weights(tmp_path / "other", layers=1)
    with pytest.raises(petvr.PetvrError, match="other: other weights than the run was trained on"):
        petvr.load(folder, backbone=tmp_path / "other")
    moved = shutil.copytree(folder, tmp_path / "moved")
    with pytest.raises(petvr.PetvrError, match=r"backbone tiny: not at results/weights/tiny.*pass backbone=FOLDER"):
        petvr.load(moved)
    assert petvr.load(moved, backbone=results / "weights" / "tiny").name == spec_of("bias").id
    (moved / "adapter.safetensors").write_bytes(b"half")
    with pytest.raises(petvr.PetvrError, match=r"adapter\.safetensors: 4 bytes, \d+ were written"):
        petvr.load(moved, backbone=results / "weights" / "tiny")
    (moved / "adapter.safetensors").unlink()
    with pytest.raises(petvr.PetvrError, match=r"adapter\.safetensors: no such file"):
        petvr.load(moved, backbone=results / "weights" / "tiny")
    values = json.loads((moved / "result.json").read_text())
    (moved / "result.json").write_text(json.dumps(values | {"seal": "0"}))
    with pytest.raises(petvr.PetvrError, match=r"result\.json: altered"):
        petvr.load(moved)
