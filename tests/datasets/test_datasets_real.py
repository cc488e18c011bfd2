"""The real annotation files: counts that were published or measured, and traps that sit in them."""

from collections import Counter

import pytest

from petvr.datasets import load


@pytest.mark.parametrize("name", ["msrvtt-9k", "msrvtt-7k"])
def test_1k_a_has_1000_rows_and_995_sentences(real_files, name):
    split = load(name, real_files / "msrvtt").split("test")
    assert len(split.videos) == len(split.captions) == 1000
    assert len(set(split.captions)) == 995
    assert split.owner == tuple(range(1000))
    assert split.captions[0] == "a person is connecting something to system" and split.videos[0] == "video9770"


def test_msvd_counts(real_files):
    dataset = load("msvd", real_files / "msvd")
    found = {which: (len(s.videos), len(s.captions)) for which in dataset.splits for s in [dataset.split(which)]}
    assert found == {"train": (1200, 48_774), "val": (100, 4_290), "test": (670, 27_763)}
    assert found == dataset.official
    per_video = Counter(dataset.split("test").owner).values()
    assert len(per_video) == 670 and min(per_video) >= 18 and max(per_video) <= 81


@pytest.mark.parametrize("which, listed", [("val", 1065), ("test", 1004)])
def test_didemo_paragraphs(real_files, which, listed):
    exact = load("didemo", real_files / "didemo").split(which)
    joined = load("didemo", real_files / "didemo", didemo_key="flickr_id").split(which)
    assert len(exact.captions) == len(joined.captions) == listed
    # descriptions under a video's other file name are only in the fuller paragraphs
    longer = sum(len(j) > len(e) for e, j in zip(exact.captions, joined.captions, strict=True))
    assert 0 < longer <= 33
    assert all(e == j for e, j in zip(exact.captions, joined.captions, strict=True) if len(e) == len(j))
    assert not any("\n" in caption or caption != caption.strip() for caption in joined.captions)


def test_didemo_time_order_moves_words_and_loses_none(real_files):
    by_file = load("didemo", real_files / "didemo").split("test")
    by_time = load("didemo", real_files / "didemo", paragraph_order="time").split("test")
    assert by_file.videos == by_time.videos
    same = sum(a == b for a, b in zip(by_file.captions, by_time.captions, strict=True))
    assert 150 < same < 350  # 241 of 1,002 elsewhere in the literature
    for a, b in zip(by_file.captions, by_time.captions, strict=True):
        assert sorted(a.split()) == sorted(b.split())
