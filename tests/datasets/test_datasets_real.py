"""The real annotation files: counts that were published or measured, and traps that sit in them."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from petvr.data import datasets
from petvr.data.datasets import available, load_dataset
from petvr.errors import PetvrError


@pytest.mark.parametrize("name", ["msrvtt-9k", "msrvtt-7k"])
def test_1k_a_has_1000_rows_and_995_sentences(real_files, name):
    split = load_dataset(name, real_files / "msrvtt").split("test")
    assert len(split.videos) == len(split.captions) == 1000
    assert len(set(split.captions)) == 995
    assert split.caption_video == tuple(range(1000))
    assert split.captions[0] == "a person is connecting something to system" and split.videos[0] == "video9770"


@pytest.mark.slow
@pytest.mark.parametrize("which, videos, sentences", [("train", 10_009, 37_421), ("test", 4_917, 17_505)])
def test_activitynet_paragraphs(real_files, which, videos, sentences):
    folder = real_files / "activitynet"
    dataset = load_dataset("activitynet", folder)
    split = dataset.complete(which)
    assert len(split.videos) == len(split.captions) == videos
    entries = json.loads(dataset.files(which)[0].read_text())
    assert sum(len(entry["sentences"]) for entry in entries.values()) == sentences
    listed = (folder / ("train_list.txt" if which == "train" else "val_1_list.txt")).read_text().split()
    assert set(split.videos) == set(listed), "the list other projects use"
    assert not any("  " in caption or caption != caption.strip() for caption in split.captions)
    words = sum(len(" ".join(entry["sentences"]).split()) for entry in entries.values())
    assert sum(len(caption.split()) for caption in split.captions) == words, "no sentence is lost"


@pytest.mark.slow
def test_activitynet_in_the_order_of_time_moves_one_paragraph_in_twenty(real_files):
    by_file = load_dataset("activitynet", real_files / "activitynet").split("train")
    by_time = load_dataset("activitynet", real_files / "activitynet", paragraph_order="time").split("train")
    moved = sum(a != b for a, b in zip(by_file.captions, by_time.captions, strict=True))
    assert moved == 545 and by_file.videos == by_time.videos


@pytest.mark.slow
def test_activitynets_two_splits_share_no_video(real_files):
    dataset = load_dataset("activitynet", real_files / "activitynet")
    assert not set(dataset.split("train").videos) & set(dataset.split("test").videos)


@pytest.mark.slow
def test_vatex_lists(real_files, tmp_path):
    """The captions of the real clips are not to be had here: ten stand-ins each, so that the lists can be counted."""
    lists = {path.name: path.read_text().split() for path in (real_files / "vatex").glob("*_list.txt")}
    clips = {"training": lists["train_list.txt"], "validation": lists["val_list.txt"] + lists["test_list.txt"]}
    for name, ids in clips.items():
        records = [{"videoID": video, "enCap": [f"caption {n}" for n in range(10)], "chCap": []} for video in ids]
        (tmp_path / f"vatex_{name}_v1.0.json").write_text(json.dumps(records))
    for name in lists:
        (tmp_path / name).symlink_to(real_files / "vatex" / name)
    hgr, other = (load_dataset("vatex", tmp_path, split=split) for split in ("hgr", "random1k5"))
    assert {w: (len(s.videos), len(s.captions)) for w in hgr.splits for s in [hgr.complete(w)]} == {
        "train": (25_991, 259_910),
        "val": (1_500, 15_000),
        "test": (1_500, 15_000),
    }
    drawn = set(other.complete("test").videos)
    assert len(drawn & set(hgr.split("val").videos)) == 776 and len(drawn & set(hgr.split("test").videos)) == 724
    assert not set(hgr.split("train").videos) & drawn
    watched = [hgr.youtube(video) for video in drawn]
    assert all(len(watch.id) == 11 and watch.end - watch.start == 10 for watch in watched)


def test_published_checksums_are_those_of_the_real_files(real_files):
    """What the sources declare is true of the files at hand."""
    compared = set()
    for dataset in (load_dataset(name, real_files) for name in available()):
        for source in dataset.sources:
            path = real_files / dataset.folder / source.key
            for mirror in source.mirrors:
                if mirror.kind != "file" or not path.is_file():
                    continue
                content = path.read_bytes()
                assert mirror.size in (None, len(content)), path
                for algorithm, wanted in (("md5", mirror.md5), ("sha256", mirror.sha256)):
                    if wanted:
                        assert hashlib.new(algorithm, content).hexdigest() == wanted, path
                        compared.add((dataset.folder, source.key))
    assert len(compared) == 18


def test_msvd_counts(real_files):
    dataset = load_dataset("msvd", real_files / "msvd")
    found = {which: (len(s.videos), len(s.captions)) for which in dataset.splits for s in [dataset.split(which)]}
    assert found == {"train": (1200, 48_774), "val": (100, 4_290), "test": (670, 27_763)}
    assert found == dataset.official
    assert all(dataset.complete(which) for which in dataset.splits)
    per_video = Counter(dataset.split("test").caption_video).values()
    assert len(per_video) == 670 and min(per_video) >= 18 and max(per_video) <= 81


@pytest.mark.parametrize("which, listed", [("val", 1065), ("test", 1004)])
def test_didemo_paragraphs(real_files, which, listed):
    exact = load_dataset("didemo", real_files / "didemo").split(which)
    joined = load_dataset("didemo", real_files / "didemo", didemo_key="flickr_id").split(which)
    assert len(exact.captions) == len(joined.captions) == listed
    # descriptions under a video's other file name are only in the fuller paragraphs
    longer = sum(len(j) > len(e) for e, j in zip(exact.captions, joined.captions, strict=True))
    assert 0 < longer <= 33
    assert all(e == j for e, j in zip(exact.captions, joined.captions, strict=True) if len(e) == len(j))
    assert not any("\n" in caption or caption != caption.strip() for caption in joined.captions)


def test_didemo_time_order_moves_words_and_loses_none(real_files):
    by_file = load_dataset("didemo", real_files / "didemo").split("test")
    by_time = load_dataset("didemo", real_files / "didemo", paragraph_order="time").split("test")
    assert by_file.videos == by_time.videos
    same = sum(a == b for a, b in zip(by_file.captions, by_time.captions, strict=True))
    assert 150 < same < 350  # 241 of 1,002 elsewhere in the literature
    for a, b in zip(by_file.captions, by_time.captions, strict=True):
        assert sorted(a.split()) == sorted(b.split())


@pytest.mark.parametrize("name", ["msrvtt-9k", "msrvtt-7k"])
def test_the_official_validation_clips_stand_in_both_training_lists(real_files, name, monkeypatch):
    dataset = load_dataset(name, real_files / "msrvtt")
    with open(real_files / "msrvtt" / dataset.train_list, encoding="utf-8") as stream:
        listed = [line.strip() for line in stream][1:]
    monkeypatch.setattr(dataset, "_captions", lambda: {video: ["a thing"] for video in listed})  # no file of sentences
    validation = dataset.validation()
    assert len(validation.left_out) == len(validation.split.videos) == 497
    assert not validation.left_out & set(dataset.split("test").videos)
    assert {"video6513", "video7009"} <= validation.left_out and "official" in validation.kind


@pytest.mark.parametrize(("name", "count"), [("msrvtt-9k", 497), ("msrvtt-7k", 497), ("activitynet", 500)])
def test_held_out_lists_are_committed_and_of_the_hash_that_is_checked(name, count):
    kind = datasets.dataset_class(name)
    path = Path(datasets.__file__).parent / "held_out" / f"{kind.folder}.txt"
    text = path.read_text(encoding="utf-8")
    assert hashlib.sha256(text.removesuffix("\n").encode()).hexdigest() == kind.held_out_sha256
    assert len(set(text.split())) == len(text.split()) == count


@pytest.mark.slow
def test_activitynet_holds_out_a_fixed_list_of_training(real_files, monkeypatch):
    dataset = load_dataset("activitynet", real_files / "activitynet")
    validation = dataset.validation()
    assert len(validation.left_out) == len(validation.split.captions) == 500
    assert validation.left_out < set(dataset.split("train").videos)
    monkeypatch.setattr(type(dataset), "held_out_sha256", "0" * 64)
    with pytest.raises(PetvrError, match="the 500 videos held out for validation are not those"):
        dataset.validation()


def test_msvd_validates_on_a_split_of_its_own(real_files):
    validation = load_dataset("msvd", real_files / "msvd").validation()
    assert validation.left_out == frozenset() and validation.split.name == "val"
