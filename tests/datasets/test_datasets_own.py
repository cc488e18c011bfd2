"""A user's csv file: what it means, and what each mistake in it says."""

import csv
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petvr.data.datasets.own import Own
from petvr.errors import PetvrError

GOOD = """video,caption,split,note
clips/a.mp4,a dog  runs,train,x
./clips/a.mp4,"a ""brown"" dog, running",train,
/data/b.avi,a cat,test,
c.webm,"two
lines",val,
"""


def own(tmp_path, text):
    file = tmp_path / "mine.csv"
    file.write_text(text, encoding="utf-8")
    return Own("mine", file)


def test_one_file_makes_a_data_set(tmp_path):
    dataset = own(tmp_path, "\ufeff" + GOOD)
    assert dataset.splits == ("train", "val", "test") and dataset.official is None and not dataset.synthetic
    train = dataset.complete("train")
    assert (train.videos, train.caption_video) == (("clips/a.mp4",), (0, 0))
    assert train.captions == ("a dog runs", 'a "brown" dog, running')
    assert dataset.split("val").captions == ("two lines",)
    assert dataset.video_file("clips/a.mp4") == tmp_path / "clips/a.mp4"
    assert str(dataset.video_file("/data/b.avi")) == "/data/b.avi"
    assert dataset.annotation_files() == [tmp_path / "mine.csv"]


def test_kind_follows_the_test_split(tmp_path):
    text = "video,caption,split\na,x,train\na,y,train\nb,z,test\n"
    assert own(tmp_path, text).kind == "single"
    assert own(tmp_path, text + "b,w,test\n").kind == "multi"


def test_without_training_rows_there_is_still_something_to_search(tmp_path):
    dataset = own(tmp_path, "video,caption,split\na,x,test\n")
    assert dataset.splits == ("train", "test") and dataset.split("train").videos == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video;caption;split\n", r"no column 'video'; columns: video;caption;split \(separated by commas"),
        ("video,caption\na,b\n", "no column 'split'; columns: video, caption"),
        ("video,caption,split\n", "holds no row below the header"),
        ("", "no column 'video'; columns: none"),
        ("video,caption,split\na,b,train\nc,d,tets\n", r"row 3: unknown split 'tets' \(did you mean 'test'\?\)"),
        ("video,caption,split\na,b,train\nc,,test\n", "row 3: 'caption' is empty"),
        ("video,caption,split\na,b\n", "row 2: 'split' is empty"),
        (
            "video,caption,split\na,b,train\nc,d,test\na,e,test\n",
            "row 4: 'a' is in split 'test' here and in 'train' in row 2",
        ),
        ("video,caption,split\na,b,train\n", "no row has the split 'test'"),
        ("video,caption,split\na\tb,c,test\n", "row 2: the path .* unprintable"),
    ],
)
def test_a_mistake_is_told_with_its_row(tmp_path, text, message):
    dataset = own(tmp_path, text)
    with pytest.raises(PetvrError, match=message) as caught:
        dataset.split("test")
    assert str(caught.value).startswith(str(tmp_path / "mine.csv"))


def test_a_file_that_is_not_there_and_one_in_another_encoding(tmp_path):
    with pytest.raises(PetvrError, match=r"mine\.csv: annotation file is missing"):
        Own("mine", tmp_path / "mine.csv").split("test")
    (tmp_path / "mine.csv").write_bytes("video,caption,split\na,schön,test\n".encode("latin-1"))
    with pytest.raises(PetvrError, match="cannot be read as UTF-8"):
        Own("mine", tmp_path / "mine.csv").split("test")


def test_a_changed_file_is_read_again(tmp_path):
    dataset = own(tmp_path, "video,caption,split\na,x,test\n")
    assert dataset.split("test").captions == ("x",)
    own(tmp_path, "video,caption,split\na,x,test\na,longer,test\n")
    assert dataset.split("test").captions == ("x", "longer")


readable = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).filter(
    str.strip
)


@given(st.lists(st.tuples(st.sampled_from("abc"), readable), min_size=1, max_size=8))
def test_what_a_spreadsheet_writes_comes_back(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("own") / "mine.csv"
    with open(file, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("split", "video", "caption"), *(("test", *row) for row in rows)])
    split = Own("mine", file).split("test")
    told = [(split.videos[owner], caption) for owner, caption in zip(split.caption_video, split.captions, strict=True)]
    wanted = [(video, " ".join(unicodedata.normalize("NFC", text).split())) for video, text in rows]
    assert sorted(told) == sorted(wanted) and split.videos == tuple(dict.fromkeys(video for video, _ in rows))
