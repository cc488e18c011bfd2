"""The probe of time: a perfect judge of order gets 1, one that sees pictures without order gets one half."""

import numpy as np
import pytest

from petvr import world
from petvr.data import datasets
from petvr.errors import PetvrError
from petvr.world import probe


@pytest.mark.parametrize("kind, name", [("msrvtt", "msrvtt-9k"), ("msvd", "msvd"), ("didemo", "didemo")])
def test_pair_accuracy_of_known_judges(tmp_path, kind, name):
    world.generate(kind, tmp_path, sizes={"train": 1, "test": 10}, seed=2, progress=False)
    told, split = probe.read_sidecar(tmp_path), datasets.load_dataset(name, tmp_path).split("test")
    captions, videos = len(split.captions), len(split.videos)
    right = np.zeros((captions, videos))
    right[np.arange(captions), split.caption_video] = 1
    asked = (told, split.videos, split.caption_video, split.captions)
    assert probe.pair_accuracy(*asked, right) == 1.0
    assert probe.pair_accuracy(*asked, -right) == 0.0
    assert probe.pair_accuracy(*asked, np.zeros((captions, videos))) == 0.5
    hard = probe.in_pairs(*asked[:3])
    assert {split.videos[o] for o, h in zip(split.caption_video, hard, strict=True) if h} == {
        video for pair in told["hard_pairs"]["test"] for video in pair["videos"]
    }
    time = probe.about_time(*asked)
    assert time.any() and (kind == "didemo" or time[hard].any())


def test_a_folder_without_a_world_is_named(tmp_path):
    with pytest.raises(PetvrError, match=r"world\.json: not the sidecar"):
        probe.read_sidecar(tmp_path)


def test_activitynets_paragraphs_are_about_time_where_any_sentence_is(tmp_path):
    world.generate("activitynet", tmp_path, sizes={"train": 1, "test": 2}, seed=2, progress=False)
    split = datasets.load_dataset("activitynet", tmp_path).split("test")
    told = probe.read_sidecar(tmp_path)
    marked = probe.about_time(told, split.videos, split.caption_video, split.captions)
    assert list(marked) == [any(one["temporal"] for one in told["clips"][name]["captions"]) for name in split.videos]
    assert marked.any()
