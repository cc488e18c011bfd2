"""A data set is one file: what `petvr` offers for one that a single file adds, and for a layout of the demo's world."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import petvr
from petvr.data import datasets
from petvr.errors import PetvrError

GLIMPSE = """
from petvr import text_files
from petvr.data.datasets.base import Dataset, from_lists
from petvr.data.datasets.source import DownloadSource


class Glimpse(Dataset):
    name = "glimpse-5"
    title = "GLIMPSE"
    folder = "glimpse"
    kind = "single"
    counts = {"train": (3, 3), "test": (2, 2)}
    clips = 6
    sources = (
        DownloadSource("captions.json", "annotations", by_hand="ask its authors"),
        DownloadSource("videos", "videos", by_hand="ask its authors", about_bytes=5_000_000_000),
    )

    def files(self, which):
        return [self.root / "captions.json"]

    def _read_split(self, which):
        captions = text_files.read_json(self.files(which)[0], dict)[which]
        return from_lists(which, list(captions), captions)
"""
LAYOUT = """
import json

from petvr.world import captions
from petvr.world.scene_sampler import Style

STYLE = Style((1.0, 2.0), (1,), (1.0,))


def clip_names(sizes, seed):
    return [(f"{split}{number}", split) for split in ("train", "test") for number in range(sizes[split])]


def file_name(video):
    return f"{video}.mp4"


def caption_scene(scene, rng):
    return [captions.story(scene, rng, ground=0.5)]


def annotation_texts(clips, seed):
    texts = {"train": {}, "test": {}}
    for clip in clips:
        texts[clip.split][clip.id] = [caption.text for caption in clip.captions]
    return {"captions.json": json.dumps(texts)}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of petvr with the two files, and one paper's table that shows the new data set where it showed MSVD."""
    root = tmp_path_factory.mktemp("source")
    shutil.copytree(Path(petvr.__file__).parent, root / "petvr", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "petvr/data/datasets/glimpse.py").write_text(GLIMPSE)
    (root / "petvr/world/layouts/glimpse.py").write_text(LAYOUT)
    for name in ("tables.yaml", "printed.csv"):
        file = root / "petvr/papers/rap" / name
        file.write_text(file.read_text().replace("msvd", "glimpse-5"))
    return root


@pytest.fixture
def call(source, tmp_path):
    """`petvr ...` of the copy, in a folder with a configuration: its output."""
    batch = {"recipe": {"datasets": {"glimpse-5": {"batch": 3}}}}
    config = {"seeds": [0], "weights": {"vit-b-32": "-"}, "datasets": ["glimpse-5"], "tables": ["rap/table_2"]} | batch
    world = {
        "seed": 1,
        "tiny_clip": {"steps": 1, "batch": 2, "lr": 0.1},
        "sizes": {"glimpse": {"train": 3, "val": 0, "test": 2}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "world.yaml").write_text(yaml.safe_dump({"world": world} | batch))
    environment = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"}

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "petvr", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_a_data_set_that_one_file_adds(call, tmp_path):
    status = call("data", "status", "glimpse-5")
    assert "ask its authors" in status and "0/3" in status and "0/2" in status

    budget = json.loads(call("plan", "--json"))
    assert budget["unknown"] == [] and budget["videos_gb"] == 5 and budget["total"]["gpu_hours"] > 0
    (store,) = budget["stores"]
    assert store["folder"] == "glimpse" and store["gb"] == pytest.approx(6 * store["frames"] * 224 * 224 * 3 / 1e9)

    call("table", "rap/table_2")
    assert "GLIMPSE" in next(tmp_path.glob("**/table_2.md")).read_text()


@pytest.mark.slow
def test_with_a_layout_the_demo_generates_it(call, tmp_path):
    call("-c", "world.yaml", "world", "glimpse")
    assert len(list((tmp_path / "data/glimpse/videos").glob("*.mp4"))) == 5
    assert "glimpse-5 train: 3 of 3 videos, 3 captions" in call("-c", "world.yaml", "data", "check", "glimpse-5")
    assert json.loads((tmp_path / "results/manifests/glimpse-5.json").read_text())["splits"]["test"]["videos"] == 2
    said = call("-c", "world.yaml", "frames", "glimpse", "--sampler", "uniform_mid", "--frames", "2", "--size", "32")
    assert "5 videos decoded" in said


MISTAKES = [
    ('    title = "GLIMPSE"\n', "", "data set 'glimpse-5' does not say its title"),
    ('    name = "glimpse-5"\n', "", "Glimpse does not say its name"),
    ('    kind = "single"\n', "", "data set 'glimpse-5' does not say its kind"),
    ("def files(", "def file(", "data set 'glimpse-5' does not say its files()"),
    ('"glimpse-5"', '"glimpse 5"', "data set 'glimpse 5': name: 'glimpse 5' given, allowed: letters"),
    (
        '"single"',
        '"singel"',
        "data set 'glimpse-5': unknown kind 'singel' (did you mean 'single'?); allowed: multi",
    ),
    ('"test": (2, 2)}', '"tset": (2, 2)}', "data set 'glimpse-5': counts: unknown split 'tset' (did you mean 'test'?)"),
    (', "test": (2, 2)}', "}", "data set 'glimpse-5': counts: lacks test"),
    (
        '"test": (2, 2)}',
        '"test": 2}',
        "data set 'glimpse-5': counts: {'train': (3, 3), 'test': 2} given, allowed",
    ),
    ('"annotations"', '"annotation"', "source 'captions.json': unknown kind of files 'annotation'"),
    ("by_hand=", "by_hnd=", "line 15: TypeError"),
    ("text_files", "text_file", "line 2: ImportError"),
    ("class Glimpse(Dataset):", "class Glimpse(Dataset)", "line 7: SyntaxError"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_what_a_file_forgets_and_what_nobody_understands_is_told_in_one_line(tmp_path, monkeypatch, old, new, message):
    assert old in GLIMPSE
    (tmp_path / "glimpse.py").write_text(GLIMPSE.replace(old, new))
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(datasets, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "petvr.data.datasets.glimpse", raising=False)
    with pytest.raises(PetvrError) as error:
        datasets._classes.__wrapped__()
    assert f"{tmp_path}/glimpse.py: {message}" in str(error.value)


@pytest.mark.slow
def test_a_name_that_is_taken_is_told(source, call):
    file = source / "petvr/data/datasets/glimpse.py"
    try:
        file.write_text(GLIMPSE.replace('"glimpse-5"', '"lsmdc"'))
        with pytest.raises(AssertionError, match=r"data set 'lsmdc' is defined in petvr\.data\.datasets\.glimpse"):
            call("plan")
    finally:
        file.write_text(GLIMPSE)
