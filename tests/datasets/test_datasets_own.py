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
        (
            "video|caption|split\n",
            r"no column 'video'; columns: video\|caption\|split \(in the first line",
        ),
        ("Video,caption,split\n", "no column 'video'; .* is 'Video' meant"),
        ("video;caption;split\n", "holds no row below the header"),
        ("video,caption\na,b\n", "no column 'split'; columns: video, caption"),
        ("video,caption,split\n", "holds no row below the header"),
        ("", "no column 'video'; columns: none"),
        ("video,caption,split\na,b,train\nc,d,tets\n", r"row 3: unknown split 'tets' \(did you mean 'test'\?\)"),
        ("video,caption,split\na,b,train\nc,,test\n", "row 3: 'caption' is empty"),
        ("video,caption,split\na,b\n", "row 2: 2 fields, the header has 3: 'split' is missing"),
        ("video,split,caption\na,test,a dog, brown\n", r"row 2: 4 fields, .*needs quotes \(column 4: 'brown'\)"),
        ("video,split,caption,,\na,test,a dog, brown,\n", "row 2: column 4: 'brown' stands below no name"),
        ("video,caption,split,caption\na,b,test,c\n", "row 1: column 'caption' stands there twice"),
        ('video,caption,split\na,"b,train\nc,d,test\n', "row 2, line 2: not CSV .a quote opens here that is never"),
        ('video,caption,split\na,"b,train\nc,d"e,test\n', "row 2, line 2: not CSV .*expected after"),
        (
            'video,caption,split\nx,y,test\na,"b,train\nc,d",test\n',
            "row 3: lines 3 to 4 stand within one pair",
        ),
        ("video,caption,split\na,b,test\nc," + 200_000 * "d" + ",test\n", "row 3, line 3: not CSV .a quote opens"),
        ("video,caption,split\na,b\0,test\n", "line 2 holds a NUL byte"),
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
    with pytest.raises(PetvrError, match=r"mine\.csv: no such file"):
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
    assert sorted(told) == sorted(set(wanted)) and split.videos == tuple(dict.fromkeys(video for video, _ in rows))


def rows(*lines):
    return "\n".join(["video,caption,split", *lines, ""])


@pytest.fixture
def clips(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"a")
    (tmp_path / "link.mp4").symlink_to("clips/a.mp4")
    (tmp_path / "hard.mp4").hardlink_to(tmp_path / "clips" / "a.mp4")
    (tmp_path / "u\u0308 e\u0301.MP4").write_bytes(b"b")
    return tmp_path


@pytest.mark.parametrize("other", ["{}/clips/a.mp4", "./x/../clips//a.mp4", "link.mp4", "hard.mp4"])
def test_one_file_under_two_names_is_in_one_split(clips, other):
    (clips / "x").mkdir()
    other = other.format(clips)
    with pytest.raises(PetvrError, match=r"row 3: .* is in split 'test' here and in 'train' in row 2"):
        own(clips, rows("clips/a.mp4,a dog,train", f"{other},a dog again,test")).split("test")


def test_one_file_under_two_names_is_not_twice_in_one_split(clips):
    with pytest.raises(PetvrError, match=r"row 3: 'link\.mp4' is the video of row 2, there as 'clips/a\.mp4'"):
        own(clips, rows("clips/a.mp4,a dog,test", "link.mp4,a dog again,test")).split("test")


def test_a_name_that_is_composed_another_way_is_found_and_is_the_same_video(clips):
    dataset = own(clips, rows("\u00fc \u00e9.mp4,a cat,test"))
    assert dataset.video_file(dataset.split("test").videos[0]).read_bytes() == b"b"
    for suffix in ("mp4", "MP4"):
        with pytest.raises(PetvrError, match=r"row 3: .* in split 'test' here and in 'train'"):
            own(clips, rows("\u00fc \u00e9.mp4,a,train", f"u\u0308 e\u0301.{suffix},b,test")).split("test")


def test_of_a_file_that_is_not_there_the_composed_name_tells(clips):
    with pytest.raises(PetvrError, match=r"row 3: .* in split 'test' here and in 'train'"):
        own(clips, rows("no\u0308.mp4,a,train", "n\u00f6.mp4,b,test")).split("test")


def test_what_is_mended_is_said(clips, capsys):
    text = "video;caption;split\r\nclips\\a.mp4;a, dog;test\r\nclips/a.mp4;a,  dog;test\r\n;;\r\n;;\r\n"
    split = own(clips, "\ufeff" + text).split("test")
    assert (split.videos, split.captions) == (("clips/a.mp4",), ("a, dog",))
    said = capsys.readouterr().err
    for part in (
        "by semicolons",
        "backslashes",
        "1 row(s) repeat",
        "row 3 is row 2",
        "2 empty row(s)",
        "first is row 4",
    ):
        assert part in said, said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "latin-1", "cp1252"])
def test_another_encoding_is_one_line_with_the_remedy(tmp_path, encoding):
    (tmp_path / "mine.csv").write_bytes("video,caption,split\na,sch\u00f6n,test\n".encode(encoding))
    with pytest.raises(PetvrError, match="UTF-8"):
        Own("mine", tmp_path / "mine.csv").split("test")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("tail", ["", ",,", ",,,"])
def test_every_end_of_line_and_a_spreadsheets_empty_columns(tmp_path, end, tail):
    text = end.join(f"{line}{tail}" for line in ("video,caption,split", "a,b,train", "c,d,test", ",,"))
    (tmp_path / "mine.csv").write_bytes(text.encode())
    assert Own("mine", tmp_path / "mine.csv").split("test").videos == ("c",)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("comma_unquoted_split_at_end", "row 2: 5 fields, the header has 3"),
        ("dot_slash_and_abs_same_file", "row 4: .* is in split 'test' here and in 'train' in row 2"),
    ],
)
def test_reported_files_are_refused(clips, reported, file, told):
    with pytest.raises(PetvrError, match=told):
        own(clips, (reported / f"{file}.csv").read_text().replace("ABSOLUTE_FOLDER", str(clips))).split("test")


def test_reported_files_are_read(clips, reported):
    assert own(clips, (reported / "excel_trailing_commas.csv").read_text()).split("test").videos == ("clips/b.mp4",)
    inner = clips / "sub dir"
    inner.mkdir()
    (inner / "u\u0308 e\u0301.mp4").write_bytes(b"c")
    dataset = own(clips, (reported / "nfd_path.csv").read_text())
    assert dataset.video_file(dataset.split("test").videos[0]).read_bytes() == b"c"


@pytest.fixture
def reported(real_files):
    folder = real_files.parent / "review" / "inputs"
    if not folder.is_dir():
        pytest.skip("no folder of reported inputs beside the real files")
    return folder


@given(st.data())
def test_a_lost_or_added_comma_never_passes(tmp_path_factory, data):
    """Whatever single comma of an unquoted file is lost or added, the split is refused: nothing is guessed."""
    lines = ["video,split,caption", "a,train,a dog runs", "b,test,a cat"]
    text = "\n".join(lines)
    position = data.draw(st.integers(1, len(text) - 1))
    if text[position] == "," and data.draw(st.booleans()):
        text = text[:position] + text[position + 1 :]
    else:
        text = text[:position] + "," + text[position:]
    with pytest.raises(PetvrError, match=r"row \d|no column"):
        own(tmp_path_factory.mktemp("own"), text).split("test")
