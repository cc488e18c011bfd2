"""Small data sets in the official formats, and what happens when a file is missing or wrong."""

import json
from pathlib import Path

import pytest

from petvr.data import datasets
from petvr.data.datasets import load_dataset
from petvr.errors import PetvrError


def put(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


@pytest.fixture
def msrvtt(tmp_path) -> Path:
    sentences = [(1, "a cook  stirs\nsoup "), (0, "a dog runs"), (1, "soup is stirred"), (2, "rain falls")]
    data = {
        "info": {},
        "videos": [{"video_id": f"video{i}", "split": "train", "url": ""} for i in range(3)],
        "sentences": [{"sen_id": n, "video_id": f"video{v}", "caption": c} for n, (v, c) in enumerate(sentences)],
    }
    put(tmp_path / "MSRVTT_data.json", data)
    put(tmp_path / "MSRVTT_train.9k.csv", "video_id\nvideo1\nvideo0\n")
    put(tmp_path / "MSRVTT_train.7k.csv", "video_id\r\nvideo0\r\n")
    put(
        tmp_path / "MSRVTT_JSFUSION_test.csv",
        'key,vid_key,video_id,sentence\nret0,msr2,video2,"it rains, heavily"\n',
    )
    return tmp_path


def test_msrvtt_trains_on_all_sentences_and_tests_on_the_csv(msrvtt):
    dataset = load_dataset("msrvtt-9k", msrvtt)
    train = dataset.split("train")
    assert train.videos == ("video1", "video0")
    assert train.captions == ("a cook stirs soup", "soup is stirred", "a dog runs")
    assert train.caption_video == (0, 0, 1)
    assert load_dataset("msrvtt-7k", msrvtt).split("train").captions == ("a dog runs",)
    test = dataset.split("test")
    assert (test.videos, test.captions, test.caption_video) == (("video2",), ("it rains, heavily",), (0,))
    assert all(path.exists() for path in dataset.annotation_files())


def test_msrvtt_has_no_val(msrvtt):
    with pytest.raises(PetvrError, match="allowed: test, train"):
        load_dataset("msrvtt-9k", msrvtt).split("val")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("MSRVTT_data.json", None, "MSRVTT_data.json: no such file"),
        ("MSRVTT_data.json", "{", "MSRVTT_data.json: not JSON"),
        ("MSRVTT_data.json", '{"sentences": ' + "[" * 200_000, "nested too deeply"),
        ("MSRVTT_data.json", '{"sentences": ' + "9" * 5_000 + "}", "cannot be used"),
        ("MSRVTT_data.json", '{"sentences": NaN}', "NaN is no number"),
        ("MSRVTT_data.json", '{"sentences": "\\ud800"}', "cannot be used"),
        ("MSRVTT_train.9k.csv", 'video_id\n"video1\nvideo2\n', "not CSV"),
        ("MSRVTT_train.9k.csv", "video_id\n" + "v" * 200_000 + "\n", "not CSV"),
        ("MSRVTT_train.9k.csv", "video_id\nvid\0eo1\n", "line 2 holds a NUL byte"),
        ("MSRVTT_data.json", "[]", "holds a list, expected a dict"),
        ("MSRVTT_data.json", {"videos": []}, "no key 'sentences'"),
        ("MSRVTT_data.json", {"sentences": [{"video_id": "video1"}]}, r"sentences\[0\]: no key 'caption'"),
        ("MSRVTT_data.json", {"sentences": [{"video_id": "video1", "caption": 3}]}, "'caption' is a int"),
        ("MSRVTT_data.json", {"sentences": []}, "no sentence of 'video1'"),
        ("MSRVTT_train.9k.csv", "id\nvideo1\n", "no column 'video_id'; columns: id"),
        ("MSRVTT_train.9k.csv", "video_id\nvideo1\nvideo1\n", "'video1' is listed twice"),
        ("MSRVTT_train.9k.csv", "video_id\n", "lists no video"),
    ],
)
def test_a_wrong_annotation_file_is_named(msrvtt, name, content, message):
    (msrvtt / name).unlink()
    if content is not None:
        put(msrvtt / name, content)
    with pytest.raises(PetvrError, match=message) as caught:
        load_dataset("msrvtt-9k", msrvtt).split("train")
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_test_row_without_sentence_is_named(msrvtt):
    put(msrvtt / "MSRVTT_JSFUSION_test.csv", "key,vid_key,video_id,sentence\nret0,msr2,video2,\n")
    with pytest.raises(PetvrError, match="row 2: 'sentence' is empty"):
        load_dataset("msrvtt-9k", msrvtt).split("test")


@pytest.fixture
def msvd(tmp_path) -> Path:
    put(tmp_path / "captions_msvd.json", {"-aaaaaaaaaa_1_5": ["x y", "z"], "bbbbbbbbbbb_2_9": ["q"], "other": []})
    for which, videos in {"train": "bbbbbbbbbbb_2_9", "val": "-aaaaaaaaaa_1_5", "test": "-aaaaaaaaaa_1_5\n\n"}.items():
        put(tmp_path / f"{which}_list.txt", videos)
    return tmp_path


def test_msvd_every_caption_is_a_query(msvd):
    dataset = load_dataset("msvd", msvd)
    split = dataset.split("test")
    assert dataset.kind == "multi"
    assert (split.videos, split.captions, split.caption_video) == (("-aaaaaaaaaa_1_5",), ("x y", "z"), (0, 0))
    put(msvd / "test_list.txt", "ccccccccccc_1_2\n")
    with pytest.raises(PetvrError, match=r"captions_msvd.json: no caption of 'ccccccccccc_1_2'"):
        dataset.split("test")
    put(msvd / "test_list.txt", "other\n")
    with pytest.raises(PetvrError, match=r"no caption of 'other', which test_list\.txt lists"):
        dataset.split("test")


DESCRIPTIONS = [
    ("12345678@N01_123456_abcdef.mp4", "then a red\nball", [[3, 3], [3, 3], [0, 0], [2, 2]]),
    ("87654321@N02_99_fff.", "a cat", [[0, 0]]),
    ("12345678@N01_123456_abcdef.mp4", " a blue square ", [[1, 2], [1, 2], [4, 5]]),
    ("12345678@N01_123456_999999.mov", "first of all", [[0, 0]]),
]


@pytest.fixture
def didemo(tmp_path) -> Path:
    records = [
        {"annotation_id": n, "description": text, "video": video, "times": times, "num_segments": 6, "dl_link": ""}
        for n, (video, text, times) in enumerate(DESCRIPTIONS)
    ]
    for which in ("train", "val", "test"):
        put(tmp_path / f"{which}_data.json", records)
        put(tmp_path / f"{which}_list.txt", "12345678@N01_123456_abcdef.mp4\n87654321@N02_99_fff.\n")
    return tmp_path


@pytest.mark.parametrize(
    "key, order, paragraph",
    [
        ("exact", "file", "then a red ball a blue square"),
        ("exact", "time", "a blue square then a red ball"),
        ("flickr_id", "file", "then a red ball a blue square first of all"),
        ("flickr_id", "time", "first of all a blue square then a red ball"),
    ],
)
def test_didemo_paragraph(didemo, key, order, paragraph):
    dataset = load_dataset("didemo", didemo, didemo_key=key, paragraph_order=order)
    split = dataset.split("train")
    assert split.captions == (paragraph, "a cat")
    video = "12345678@N01_123456" + ("_abcdef.mp4" if key == "exact" else "")
    assert split.videos[0] == video and split.caption_video == (0, 1)
    assert dataset.window(video) == (0, 31) and dataset.kind == "paragraph"


@pytest.mark.parametrize("key", ["exact", "flickr_id"])
@pytest.mark.parametrize(
    "stored",
    [
        ("12345678@N01_123456_abcdef.mp4", "87654321@N02_99_fff..mp4"),
        ("12345678@N01_123456_abcdef.mp4.mp4", "87654321@N02_99_fff.mp4"),
        ("12345678@N01_123456.mp4", "87654321@N02_99.avi"),
        ("12345678@N01_123456_999999.mov", "87654321@N02_99_eee.mpg"),
    ],
)
def test_didemo_finds_a_video_by_each_of_its_names(didemo, key, stored):
    dataset = load_dataset("didemo", didemo, didemo_key=key)
    videos = dataset.split("test").videos
    missing = dataset.video_file(videos[0])
    assert missing.parent == didemo / "videos" and not missing.exists()
    put(didemo / "videos" / "12345678@N01_1234567_abcdef.mp4", "another video whose id only begins alike")
    for name in stored:
        put(didemo / "videos" / name, "x")
    assert [dataset.video_file(video).name for video in videos] == list(stored)


def test_didemo_wrong_options_and_records(didemo):
    with pytest.raises(PetvrError, match="unknown option of data set didemo 'key'"):
        load_dataset("didemo", didemo, key="exact")
    with pytest.raises(PetvrError, match="allowed: exact, flickr_id"):
        load_dataset("didemo", didemo, didemo_key="name")
    put(didemo / "val_data.json", [{"description": "x", "video": "v", "times": "soon"}])
    with pytest.raises(PetvrError, match=r"val_data\.json: record 0: 'times' is a str"):
        load_dataset("didemo", didemo, paragraph_order="time").split("val")
    with pytest.raises(PetvrError, match=r"describes none of the videos of val_list\.txt"):
        load_dataset("didemo", didemo).split("val")


@pytest.mark.parametrize(
    "name, found", [("msvd", "a.avi"), ("msvd", "a.mp4"), ("msrvtt-9k", "a.webm"), ("msrvtt-9k", "all/a.mp4")]
)
def test_video_file_by_extension(tmp_path, name, found):
    dataset = load_dataset(name, tmp_path)
    assert dataset.video_file("a") == tmp_path / "videos" / ("a.avi" if name == "msvd" else "a.mp4")
    put(tmp_path / "videos" / found, "x")
    assert dataset.video_file("a") == tmp_path / "videos" / found
    assert dataset.window("a") is None


def test_names():
    assert datasets.available() == ("msrvtt-9k", "msrvtt-7k", "msvd", "lsmdc", "didemo", "activitynet", "vatex")
    with pytest.raises(PetvrError, match="did you mean 'didemo'"):
        load_dataset("dideno", Path("."))
    assert datasets.folder("msrvtt-7k") == datasets.folder("msrvtt-9k") == "msrvtt"


def test_a_synthetic_world_has_no_official_counts(msvd):
    assert load_dataset("msvd", msvd).official["test"] == (670, 27_763)
    put(msvd / "world.json", {})
    assert load_dataset("msvd", msvd).official is None


def test_digest_sees_every_part_of_a_split(msvd):
    dataset = load_dataset("msvd", msvd)
    before = dataset.split("test").digest()
    assert before == dataset.split("test").digest()
    put(msvd / "captions_msvd.json", {"-aaaaaaaaaa_1_5": ["x y", "w"]})
    assert dataset.split("test").digest() != before


def test_keep_leaves_out_videos_with_their_captions(msrvtt):
    train = load_dataset("msrvtt-9k", msrvtt).split("train")
    kept = train.keep(["video0"])
    assert (kept.videos, kept.captions, kept.caption_video) == (("video0",), ("a dog runs",), (0,))
    assert train.keep(train.videos) == train
