"""LSMDC, ActivityNet Captions and VATEX in small: what is read, what is refused, and what files of videos are found."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petvr import text_files
from petvr.data.datasets import load_dataset
from petvr.errors import PetvrError

FILM = "1004_Some_Film"
CLIPS = [f"{FILM}_00.10.05.100-00.10.08.300", f"{FILM}_01.00.00.000-01.00.02.500", "0017_It_00.00.01.000-00.00.03.000"]
TIMES = "\t".join(["00.10.05.100", "00.10.08.300"] * 2)


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


@pytest.fixture
def lsmdc(tmp_path):
    sentences = ['SOMEONE says "go', "He  goes. ", "A door opens.", "again, SOMEONE"]
    rows = [f"{clip}\t{TIMES}\t{text}" for clip, text in zip([*CLIPS, CLIPS[0]], sentences, strict=True)]
    put(tmp_path / "LSMDC16_annos_training.csv", "\r\n".join(rows) + "\r\n")
    put(tmp_path / "LSMDC16_annos_val.csv", rows[1] + "\n")
    put(tmp_path / "LSMDC16_challenge_1000_publictect.csv", rows[2] + "\n\n")
    return tmp_path


def test_lsmdc_takes_every_row_as_a_pair_and_quotes_as_they_are(lsmdc):
    dataset = load_dataset("lsmdc", lsmdc)
    train = dataset.split("train")
    assert train.videos == tuple(CLIPS) and train.caption_video == (0, 1, 2, 0)
    assert train.captions == ('SOMEONE says "go', "He goes.", "A door opens.", "again, SOMEONE")
    test = dataset.split("test")
    assert (test.videos, test.captions, test.caption_video) == ((CLIPS[2],), ("A door opens.",), (0,))
    assert [path.name for path in dataset.annotation_files()] == [
        "LSMDC16_annos_training.csv",
        "LSMDC16_annos_val.csv",
        "LSMDC16_challenge_1000_publictect.csv",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a_clip\tsome text", r"line 2 has 2 columns, expected 6"),
        (f"{CLIPS[0]}\t{TIMES}\t  ", "line 2: the sentence is empty"),
        (f" \t{TIMES}\ttext", "line 2: the clip id is empty"),
        (f"../../etc/x\t{TIMES}\ttext", "'../../etc/x' cannot be the name of a video"),
        (f"{CLIPS[1]}\t{TIMES}\ttext", f"'{CLIPS[1]}' is listed twice"),
    ],
)
def test_lsmdc_names_the_wrong_line(lsmdc, row, message):
    put(lsmdc / "LSMDC16_annos_val.csv", f"{CLIPS[1]}\t{TIMES}\ttext\n{row}\n")
    with pytest.raises(PetvrError, match=message) as caught:
        load_dataset("lsmdc", lsmdc).split("val")
    assert "LSMDC16_annos_val.csv" in str(caught.value)


def test_lsmdc_training_rows_may_repeat_a_clip_but_not_leave_the_folder(lsmdc):
    put(lsmdc / "LSMDC16_annos_training.csv", f"{CLIPS[0]}\t{TIMES}\ta\n../../etc/x\t{TIMES}\ttext\n")
    with pytest.raises(PetvrError, match=r"'\.\./\.\./etc/x' cannot be the name of a video"):
        load_dataset("lsmdc", lsmdc).split("train")


def test_lsmdc_finds_a_clip_in_its_films_folder_or_beside_the_others(lsmdc):
    dataset = load_dataset("lsmdc", lsmdc)
    assert dataset.video_file(CLIPS[0]) == lsmdc / "videos" / FILM / f"{CLIPS[0]}.avi"
    put(lsmdc / "videos" / f"{CLIPS[0]}.mp4", "x")
    assert dataset.video_file(CLIPS[0]) == lsmdc / "videos" / f"{CLIPS[0]}.mp4"
    put(lsmdc / "videos" / FILM / f"{CLIPS[0]}.avi", "x")
    assert dataset.video_file(CLIPS[0]) == lsmdc / "videos" / FILM / f"{CLIPS[0]}.avi"


@pytest.fixture
def activitynet(tmp_path):
    entries = {
        "v_aaaaaaaaaaa": {
            "duration": 30.0,
            "timestamps": [[10, 20], [15.5, 0.5], [21, 99]],
            "sentences": ["Then he\nsits.", " First  he stands.", " He leaves."],
        },
        "v_-bbbbbbbbbb": {"duration": 2, "timestamps": [[0, 1]], "sentences": ["A caf\u0065\u0301 “opens”."]},
    }
    put(tmp_path / "train.json", entries)
    put(tmp_path / "val_1.json", {"v_-bbbbbbbbbb": entries["v_-bbbbbbbbbb"]})
    return tmp_path


def test_activitynet_joins_sentences_in_the_order_asked_for(activitynet):
    by_file = load_dataset("activitynet", activitynet)
    assert by_file.kind == "paragraph" and by_file.splits == ("train", "test")
    assert by_file.split("train").captions[0] == "Then he sits. First he stands. He leaves."
    by_time = load_dataset("activitynet", activitynet, paragraph_order="time").split("train")
    assert by_time.captions[0] == "First he stands. Then he sits. He leaves."
    assert by_time.caption_video == (0, 1)


def test_accents_are_composed_and_other_signs_stay(activitynet):
    assert load_dataset("activitynet", activitynet).split("test").captions == ("A caf\u00e9 “opens”.",)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "'v_x': no key 'sentences'"),
        ({"sentences": [" "], "timestamps": [[0, 1]]}, "'v_x' has no sentence"),
        ({"sentences": [3], "timestamps": [[0, 1]]}, "no text"),
        ({"sentences": ["a"], "timestamps": [[1]]}, "must be pairs of seconds"),
        ({"sentences": ["a", "b"], "timestamps": [[1, 2]]}, "1 timestamps for 2 sentences"),
    ],
)
def test_activitynet_names_the_video_that_is_wrong(tmp_path, entry, message):
    put(tmp_path / "val_1.json", {"v_x": entry})
    with pytest.raises(PetvrError, match=message):
        load_dataset("activitynet", tmp_path, paragraph_order="time").split("test")


@pytest.mark.parametrize("stored", ["v_-bbbbbbbbbb.mp4", "-bbbbbbbbbb.mkv"])
def test_activitynet_finds_a_video_with_and_without_its_prefix(activitynet, stored):
    put(activitynet / "videos" / stored, "x")
    dataset = load_dataset("activitynet", activitynet)
    assert dataset.video_file("v_-bbbbbbbbbb").name == stored
    assert dataset.youtube("v_-bbbbbbbbbb").id == "-bbbbbbbbbb"


IDS = [f"{letter * 11}_000007_000017" for letter in "abcd"]


@pytest.fixture
def vatex(tmp_path):
    def records(ids):
        return [{"videoID": v, "enCap": [f"{v[0]} {n}" for n in range(10)], "chCap": ["有人"] * 10} for v in ids]

    put(tmp_path / "vatex_training_v1.0.json", records(IDS[:1]))
    put(tmp_path / "vatex_validation_v1.0.json", records(IDS[1:]))
    for name, ids in {"train": IDS[:1], "val": IDS[1:2], "test": IDS[2:], "test1k5_sec": IDS[1:3]}.items():
        put(tmp_path / f"{name}_list.txt", "\n".join(ids))
    return tmp_path


def test_vatex_has_ten_english_captions_a_clip_and_two_test_lists(vatex):
    hgr, other = load_dataset("vatex", vatex), load_dataset("vatex", vatex, split="random1k5")
    assert (hgr.splits, other.splits) == (("train", "val", "test"), ("train", "test"))
    assert hgr.split("test").videos == tuple(IDS[2:]) and other.split("test").videos == tuple(IDS[1:3])
    assert hgr.split("test").captions[10:12] == ("d 0", "d 1") and len(hgr.split("train").captions) == 10
    assert hgr.split("train") == other.split("train") and hgr.split("test").digest() != other.split("test").digest()
    with pytest.raises(PetvrError, match="unknown split of vatex 'val'"):
        other.split("val")


def test_vatex_uses_the_window_only_where_the_video_is_whole(vatex):
    dataset = load_dataset("vatex", vatex)
    assert dataset.video_file(IDS[0]).name == f"{IDS[0]}.mp4"
    put(vatex / "videos" / "aaaaaaaaaaa.webm", "x")
    assert dataset.video_file(IDS[0]).name == "aaaaaaaaaaa.webm" and dataset.window(IDS[0]) == (7.0, 17.0)
    put(vatex / "videos" / f"{IDS[0]}.mp4", "x")
    assert dataset.window(IDS[0]) is None
    watch = dataset.youtube(IDS[0])
    assert (watch.id, watch.start, watch.end) == ("aaaaaaaaaaa", 7.0, 17.0)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"videoID": IDS[1], "enCap": []}], f"no English caption of '{IDS[1]}', which val_list.txt lists"),
        ([{"videoID": IDS[1], "enCap": [" "]}], "a caption of 'enCap' is empty"),
        ([{"videoID": IDS[1]}], "record 0: no key 'enCap'"),
        ([{"videoID": IDS[1], "enCap": ["a"]}] * 2, "record 1: .* stands there twice"),
    ],
)
def test_vatex_names_the_record_that_is_wrong(vatex, records, message):
    put(vatex / "vatex_validation_v1.0.json", records)
    with pytest.raises(PetvrError, match=message):
        load_dataset("vatex", vatex).split("val")


@pytest.mark.parametrize(
    ("name", "file", "counts"),
    [
        ("lsmdc", "LSMDC16_annos_val.csv: the val split of lsmdc has 1 videos here, officially it has 7,408", "val"),
        ("activitynet", "val_1.json: the test split of activitynet has 1 videos here, officially it has 4,917", "test"),
        ("vatex", "test_list.txt: the test split of vatex has 2 videos here, officially it has 1,500", "test"),
    ],
)
def test_a_count_that_is_not_the_official_one_names_the_file_and_both_numbers(request, name, file, counts):
    folder = request.getfixturevalue(name)
    with pytest.raises(PetvrError) as caught:
        load_dataset(name, folder).complete(counts)
    assert str(caught.value) == f"{folder}/{file}"
    put(folder / "world.json", {})
    assert len(load_dataset(name, folder).complete(counts).videos) >= 1, "a synthetic world has sizes of its own"


def test_captions_are_counted_in_the_file_that_holds_them(lsmdc, monkeypatch):
    """Of LSMDC's training clips only the rows are asserted: how many are distinct is one user's word."""
    dataset = load_dataset("lsmdc", lsmdc)
    monkeypatch.setitem(dataset.counts, "train", (99, 4))
    assert len(dataset.complete("train").captions) == 4
    monkeypatch.setitem(dataset.counts, "train", (3, 5))
    with pytest.raises(PetvrError, match="has 4 captions here, officially it has 5"):
        dataset.complete("train")


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30)


@given(st.lists(words.filter(str.strip), min_size=1, max_size=5, unique=True))
def test_any_sentence_comes_back_from_a_tab_separated_file(tmp_path_factory, sentences):
    folder = tmp_path_factory.mktemp("lsmdc")
    ids = [f"0001_F_00.00.{n:02d}.000-00.00.{n + 1:02d}.000" for n in range(len(sentences))]
    rows = [f"{clip}\t{TIMES}\t{text}\n" for clip, text in zip(ids, sentences, strict=True)]
    put(folder / "LSMDC16_annos_val.csv", "".join(rows))
    split = load_dataset("lsmdc", folder).split("val")
    assert split.videos == tuple(ids)
    for caption, text in zip(split.captions, sentences, strict=True):
        assert caption.split() == unicodedata.normalize("NFC", text).split()


@pytest.mark.slow
@given(st.dictionaries(st.text("abc-_", min_size=11, max_size=11), st.lists(words.filter(str.strip), min_size=1)))
def test_any_paragraph_comes_back_from_json(tmp_path_factory, told):
    folder = tmp_path_factory.mktemp("activitynet")
    entries = {
        f"v_{key}": {"duration": 9.0, "timestamps": [[n, n + 1] for n in range(len(texts))], "sentences": texts}
        for key, texts in told.items()
    }
    put(folder / "train.json", entries)
    if not told:
        with pytest.raises(PetvrError, match="lists no video"):
            load_dataset("activitynet", folder).split("train")
        return
    by_file, by_time = (
        load_dataset("activitynet", folder, paragraph_order=order).split("train") for order in ("file", "time")
    )
    assert by_file == by_time, "the sentences stood in the order of time"
    assert by_file.videos == tuple(entries) and len(by_file.captions) == len(told)


def test_a_text_that_holds_nul_is_refused_and_one_that_only_writes_it_is_not(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(r'["a dog", "a \u0000 dog"]')
    with pytest.raises(PetvrError, match=r"captions\.json: cannot be used \(a text in it holds the character NUL"):
        text_files.read_json(path, list)
    path.write_text(r'["a \\u0000 dog"]')
    assert text_files.read_json(path, list) == [r"a \u0000 dog"]


def test_an_empty_sentence_of_a_paragraph_is_left_out_and_said(tmp_path, capsys):
    for name in ("train", "val_1"):
        content = {"v_a": {"sentences": ["A dog runs.", " "], "timestamps": [[0, 1], [1, 2]]}}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert load_dataset("activitynet", tmp_path, tmp_path).split("train").captions == ("A dog runs.",)
    assert "train.json: 'v_a': 1 empty sentence(s) left out" in capsys.readouterr().err
