"""Videos where people have them: other folders, other cases of letters, other forms of names."""

import json

import pytest

from petvr.data.datasets import load_dataset
from petvr.data.manifest.check import check_dataset
from petvr.errors import PetvrError
from petvr.layout import Layout


def put(path, content="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "video", "file"),
    [
        ("msrvtt-9k", "video7", "TrainValVideo/video7.mp4"),
        ("msrvtt-9k", "video7", "TestVideo/video7.mp4"),
        ("msrvtt-9k", "video7", "video7.MP4"),
        ("msrvtt-9k", "video7", "data/MSRVTT/video7.Mp4"),
        ("msrvtt-9k", "video7", "all/video7.mp4"),
        ("msvd", "-4wsuPCjDBc_5_15", "YouTubeClips/-4wsuPCjDBc_5_15.AVI"),
        ("activitynet", "v_QOlSCBRmfWY", "v1-2/train/v_QOlSCBRmfWY.mp4"),
        ("activitynet", "v_QOlSCBRmfWY", "val/QOlSCBRmfWY.webm"),
        ("lsmdc", "1_A_B_00.00.01.000-00.00.02.000", "films/x/1_A_B_00.00.01.000-00.00.02.000.AVI"),
        ("lsmdc", "1_Amélie_00.00.01.000-00.00.02.000", "1_Ame\u0301lie_00.00.01.000-00.00.02.000.avi"),
        ("didemo", "1@N01_23_abc.mov", "train/1@N01_23_abc.mov"),
        ("didemo", "1@N01_23_abc.mov", "train/1@N01_23_abc.mov.MP4"),
        ("vatex", "Ptf_2VRj-V0_000122_000132", "Ptf_2VRj-V0_122_132.mp4"),
        ("vatex", "Ptf_2VRj-V0_000122_000132", "val/Ptf_2VRj-V0_000122_000132.MP4"),
    ],
)
def test_a_video_is_found_where_copies_have_it(tmp_path, name, video, file):
    put(tmp_path / "videos" / file)
    dataset = load_dataset(name, tmp_path)
    assert dataset.video_file(video) == tmp_path / "videos" / file
    assert dataset.window(video) in (None, (0.0, 31.0))


def test_only_a_whole_youtube_video_has_a_window(tmp_path):
    put(tmp_path / "videos" / "a" / "Ptf_2VRj-V0.mkv")
    assert load_dataset("vatex", tmp_path).window("Ptf_2VRj-V0_000122_000132") == (122, 132)


def test_two_files_of_one_name_are_never_chosen_from(tmp_path):
    for folder in ("TrainValVideo", "TestVideo"):
        put(tmp_path / "videos" / folder / "video7.mp4")
    with pytest.raises(PetvrError, match=r"'video7' of msrvtt-9k is there twice: TestVideo/video7\.mp4, TrainVal"):
        load_dataset("msrvtt-9k", tmp_path).video_file("video7")


def test_a_name_in_an_unfinished_download_is_not_found(tmp_path):
    put(tmp_path / "videos" / ".download" / "video7.mp4")
    assert load_dataset("msrvtt-9k", tmp_path).video_file("video7") == tmp_path / "videos" / "video7.mp4"


def info(*videos):
    return json.dumps({"sentences": [{"video_id": video, "caption": f"about {video}"} for video in videos]})


@pytest.fixture
def world(tmp_path):
    """MSR-VTT of two videos; marked as a synthetic world, so that no official counts are asked for."""
    put(tmp_path / "world.json", "{}")
    put(tmp_path / "MSRVTT_train.9k.csv", "video_id\nvideo1\n")
    put(tmp_path / "MSRVTT_JSFUSION_test.csv", "key,vid_key,video_id,sentence\nr,m,video2,rain\n")
    put(tmp_path / "MSRVTT_data.json", info("video1"))
    put(tmp_path / "videos" / "video1.mp4", "no video but a file")
    put(tmp_path / "videos" / "video2.mp4", "no video but a file either")
    return tmp_path


def checked(world):
    return check_dataset(load_dataset("msrvtt-9k", world), Layout(world / "results"), world / "lock.json")


def test_the_official_two_files_stand_for_the_one_joined_of_them(world):
    (world / "MSRVTT_data.json").unlink()
    put(world / "train_val_videodatainfo.json", info("video0"))
    dataset = load_dataset("msrvtt-9k", world)
    with pytest.raises(PetvrError, match=r"test_videodatainfo\.json: no such file"):
        dataset.split("train")
    put(world / "test_videodatainfo.json", info("video1"))
    assert dataset.split("train").captions == ("about video1",)
    assert all(path.exists() for path in dataset.annotation_files())
    put(world / "test_videodatainfo.json", info("video1", "video0"))
    with pytest.raises(PetvrError, match=r"'video0' has sentences in train_val_videodatainfo\.json already"):
        dataset.split("train")


@pytest.mark.slow
def test_one_file_that_cannot_be_used_stops_nothing(world):
    (world / "videos" / "video2.mp4").unlink()
    (world / "videos" / "video2.mp4").mkdir()
    states = {row.video: (row.status, row.reason) for row in checked(world).rows}
    assert states["video2"] == ("undecodable", "is a folder or no file of bytes") and states["video1"][0] == "ok"


def test_one_file_under_two_official_names_is_told(world):
    (world / "videos" / "video2.mp4").unlink()
    (world / "videos" / "video2.mp4").symlink_to("video1.mp4")
    with pytest.raises(PetvrError, match=r"'video1' \(train\) and 'video2' \(test\) are one file"):
        checked(world)


def test_a_folder_without_the_videos_says_what_it_holds(world):
    for number in (1, 2):
        (world / "videos" / f"video{number}.mp4").rename(world / "videos" / f"clip{number}.mp4")
    with pytest.raises(PetvrError, match=r"none of the 2 videos .* there are 2 files, e\.g\. clip1\.mp4, clip2\.mp4"):
        checked(world)
    (world / "videos").rename(world / "TrainValVideo")
    with pytest.raises(PetvrError, match=r"no such folder, beside it lie TrainValVideo"):
        checked(world)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"sentences": [], "sentences": []}', "the key 'sentences' stands twice in one object"),
        ('{"sentences": {"a": 1}}', "'sentences' is a dict, expected list"),
        ('{"sentences": ["a"]}', "no key 'video_id'|no key 'caption'"),
        ('{"sentences": [{"video_id": ["a"], "caption": "b"}]}', "'video_id' is a list, expected str"),
        ('{"sentences": null}', "'sentences' is a NoneType"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("\ufeff" + '{"sentences": []}', "no sentence of 'video1'"),
    ],
)
def test_an_official_json_file_that_is_wrong_is_one_line(world, content, told):
    put(world / "MSRVTT_data.json", content)
    with pytest.raises(PetvrError, match=told) as error:
        load_dataset("msrvtt-9k", world).split("train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("key,vid_key,video_id,sentence\nr,m,video2,a man talks, loudly\n", r"row 2: 5 fields, the header has 4"),
        ("key,vid_key,video_id,sentence,sentence\nr,m,video2,a,b\n", "column 'sentence' stands there twice"),
        ("key,vid_key,video_id,sentence\nr,m,video2,rain\nr,m,video2\n", r"row 3: 3 fields, .* 'sentence' is missing"),
        ('key,vid_key,video_id,sentence\nr,m,video2,"rain\n', "row 2, line 2: not CSV .a quote opens"),
    ],
)
def test_an_official_csv_file_that_is_wrong_is_one_line(world, content, told):
    put(world / "MSRVTT_JSFUSION_test.csv", content)
    with pytest.raises(PetvrError, match=told):
        load_dataset("msrvtt-9k", world).split("test")


def test_a_name_that_is_no_utf8_stops_nothing(world):
    import os

    inner = os.fsencode(world / "videos") + b"/\xff"
    os.mkdir(inner)
    for name in (b"video1.mp4", b"\xfe.mp4"):
        with open(inner + b"/" + name, "wb") as stream:
            stream.write(b"x")
    assert [row.file for row in checked(world).rows] == ["video1.mp4", "video2.mp4"]
    (world / "videos" / "video1.mp4").unlink()
    (world / "videos" / "video2.mp4").unlink()
    with pytest.raises(PetvrError, match="there are 0 files"):
        checked(world)
