"""MSVD's captions as a pickle: read without unpickling, refused where it holds more, compared with the JSON."""

import json
import os
import pickle
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petvr.data.datasets import load_dataset, safe_pickle
from petvr.errors import PetvrError

VIDEOS = {"train": "bbbbbbbbbbb_2_9", "val": "ccccccccccc_0_4", "test": "-aaaaaaaaaa_1_5"}
CAPTIONS = {
    VIDEOS["train"]: [["a", "dog", "runs"], ["the", "dog"]],
    VIDEOS["val"]: [["rain"]],
    VIDEOS["test"]: [["A", "man", "sings", "."], ["singing"]],
    "unlisted": [["x"]],
}
PYTHON_2 = {  # what its two picklers write for {"-aaaaaaaaaa_1_5": [["a", "dog"]]}; the second can hold any bytes
    "a dog": b"(dp0\nS'-aaaaaaaaaa_1_5'\np1\n(lp2\n(lp3\nS'a'\np4\naS'dog'\np5\naas.",
    "café noir": b"\x80\x02}q\x00U\x0f-aaaaaaaaaa_1_5q\x01]q\x02]q\x03(U\x05caf\xc3\xa9q\x04U\x04noirq\x05eas.",
    "café": b"\x80\x02}U\x0f-aaaaaaaaaa_1_5]]U\x04caf\xe9aas.",
}


@pytest.fixture
def msvd(tmp_path):
    for which, video in VIDEOS.items():
        (tmp_path / f"{which}_list.txt").write_text(video + "\n")
    return tmp_path


def write(folder, value, protocol=2):
    path = folder / "raw-captions.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


def as_json(folder, captions):
    texts = {
        video: [words if isinstance(words, str) else " ".join(words) for words in told]
        for video, told in captions.items()
    }
    (folder / "captions_msvd.json").write_text(json.dumps(texts))


plain = st.recursive(
    st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=15
)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_captions_are_the_words_of_the_pickle_joined(msvd, protocol):
    write(msvd, CAPTIONS, protocol)
    split = load_dataset("msvd", msvd).split("train")
    assert split.captions == ("a dog runs", "the dog") and split.videos == (VIDEOS["train"],)


@pytest.mark.parametrize("caption", PYTHON_2)
def test_texts_of_python_2_are_utf_8_else_latin_1(msvd, caption):
    write(msvd, PYTHON_2[caption])
    assert load_dataset("msvd", msvd).split("test").captions == (caption,)


@pytest.mark.slow
@given(plain, st.integers(0, 5))
def test_everything_plain_comes_back(tmp_path_factory, value, protocol):
    path = write(tmp_path_factory.mktemp("pickle"), value, protocol)
    assert safe_pickle.read_pickle(path) == value


class Runs:
    """What a hostile pickle does: it has a function of its choice called."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], tuple(self.call[1:])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("how", ["system", "eval", "deep inside", "OrderedDict"])
def test_a_pickle_that_could_run_code_is_refused_and_runs_none(msvd, protocol, how):
    mark = msvd / "it-ran"
    value = {
        "system": Runs(os.system, f"touch {mark}"),
        "eval": Runs(eval, f"open({str(mark)!r}, 'w')"),
        "deep inside": {VIDEOS["test"]: [["a", Runs(os.system, f"touch {mark}")]]},
        "OrderedDict": OrderedDict(a=1),
    }[how]
    path = write(msvd, value, protocol)
    with pytest.raises(PetvrError, match=r"raw-captions\.pkl: refused at byte \d+ \(\w+\)") as caught:
        load_dataset("msvd", msvd).split("test")
    assert "\n" not in str(caught.value) and not mark.exists()
    if how == "system":
        pickle.loads(path.read_bytes())
        assert mark.exists(), "the file really is hostile"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"(" * 1_000_000, "nested too deeply"),
        (b"]" * 1_000_000 + b"a" * 999_999 + b".", "nested too deeply"),
        (b"\x80\x04r\xff\xff\xff\x7f.", "broken pickle"),  # a memo of two thousand million places
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "broken pickle"),  # a text of 9 exabytes
        (b"I" + b"9" * 1_000_000 + b"\n.", "broken pickle"),
        (b"cos\nsystem\n(S'true'\ntR.", "refused at byte 0 \\(GLOBAL\\)"),
        (b"\x80\x02\x82\x01.", "refused at byte 2 \\(EXT1\\)"),
        (b"Pid\n.", "PERSID"),
        (pickle.dumps({"a": 1.5}), "BINFLOAT"),
        (pickle.dumps({"a": {1}}), "EMPTY_SET"),
        (b"", "broken pickle"),
        (pickle.dumps(["\ud800"]), "broken pickle"),  # half a character
        (b"<html>quota exceeded</html>", "broken pickle"),
        (pickle.dumps(CAPTIONS)[:-40], "broken pickle"),
        (b"}(]Nu.", "NONE"),
        (b"}(]K\x01u.", "broken pickle"),  # a list as a key
    ],
)
def test_a_broken_or_swollen_pickle_is_refused_in_one_line(tmp_path, data, message):
    path = write(tmp_path, data)
    with pytest.raises(PetvrError, match=message) as caught:
        safe_pickle.read_pickle(path)
    assert "\n" not in str(caught.value)


def test_a_small_pickle_that_repeats_one_list_without_end_is_refused(msvd):
    words = ["a" * 1000] * 20_000
    write(msvd, {VIDEOS["test"]: [words] * 20_000})
    with pytest.raises(PetvrError, match="more than 50,000,000 letters"):
        load_dataset("msvd", msvd).split("test")


def test_a_list_that_holds_itself_is_no_caption(msvd):
    endless: list = []
    endless.append(endless)
    write(msvd, {VIDEOS["test"]: endless})
    with pytest.raises(PetvrError, match="a caption is neither text nor a list of words"):
        load_dataset("msvd", msvd).split("test")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "holds a list, expected a dict"),
        ({VIDEOS["test"]: "abc"}, "holds a str, expected a list of captions"),
        ({VIDEOS["test"]: [[1]]}, "neither text nor a list of words"),
        ({VIDEOS["test"]: [[" "]]}, "a caption is empty"),
        ({"other": [["a"]]}, f"no caption of '{VIDEOS['test']}', which test_list.txt lists"),
    ],
)
def test_a_pickle_of_another_shape_is_named(msvd, value, message):
    write(msvd, value)
    with pytest.raises(PetvrError, match=message):
        load_dataset("msvd", msvd).split("test")


def test_where_both_files_lie_there_they_have_to_agree(msvd):
    write(msvd, CAPTIONS)
    as_json(msvd, CAPTIONS | {VIDEOS["test"]: ["singing", "a man sings"]})
    dataset = load_dataset("msvd", msvd)
    assert dataset.split("test").captions == ("singing", "a man sings"), "the JSON, in its order, case and signs apart"
    assert [path.name for path in dataset.files("test")] == ["test_list.txt", "raw-captions.pkl", "captions_msvd.json"]
    as_json(msvd, CAPTIONS | {VIDEOS["test"]: ["singing", "a man sang"]})
    with pytest.raises(PetvrError, match=rf"disagrees with captions_msvd\.json on '{VIDEOS['test']}'.*keep the one"):
        dataset.split("test")
    (msvd / "raw-captions.pkl").unlink()
    assert dataset.split("test").captions == ("singing", "a man sang")
    (msvd / "captions_msvd.json").unlink()
    with pytest.raises(PetvrError, match=r"captions_msvd\.json: no such file"):
        dataset.split("test")


def test_files_named_by_number_are_found_through_the_usual_table(msvd):
    dataset = load_dataset("msvd", msvd)
    (msvd / "videos").mkdir()
    (msvd / "videos" / "vid7.avi").write_text("x")
    assert not dataset.video_file(VIDEOS["test"]).exists()
    (msvd / "youtube_mapping.txt").write_text(f"{VIDEOS['test']} vid7\n")
    assert dataset.video_file(VIDEOS["test"]).name == "vid7.avi"
    (msvd / "videos" / f"{VIDEOS['test']}.avi").write_text("x")
    assert dataset.video_file(VIDEOS["test"]).name == f"{VIDEOS['test']}.avi", "its own name comes first"
    (msvd / "youtube_mapping.txt").write_text(f"{VIDEOS['test']} ../x\n")
    with pytest.raises(PetvrError, match="cannot be the name of a video"):
        list(dataset.file_names(VIDEOS["test"]))
