"""Every annotation file of every data set can be brought, and what is declared fits together."""

import json

import pytest

from petvr.data import datasets
from petvr.data.datasets import load_dataset
from petvr.errors import PetvrError

OFFICIAL = {  # videos, captions: the published or measured numbers
    "msrvtt-9k": {"train": (9_000, 180_000), "test": (1_000, 1_000)},
    "msrvtt-7k": {"train": (7_010, 140_200), "test": (1_000, 1_000)},
    "msvd": {"train": (1_200, 48_774), "val": (100, 4_290), "test": (670, 27_763)},
    "lsmdc": {"train": (101_046, 101_079), "val": (7_408, 7_408), "test": (1_000, 1_000)},
    "didemo": {"train": (8_392, 8_392), "val": (1_065, 1_065), "test": (1_004, 1_004)},
    "activitynet": {"train": (10_009, 10_009), "test": (4_917, 4_917)},
    "vatex": {"train": (25_991, 259_910), "val": (1_500, 15_000), "test": (1_500, 15_000)},
}


@pytest.mark.parametrize("name", datasets.available())
def test_official_numbers(tmp_path, name):
    assert load_dataset(name, tmp_path).official == OFFICIAL[name]


@pytest.mark.parametrize("name", datasets.available())
def test_every_annotation_file_and_the_videos_have_a_source(tmp_path, name):
    kind = datasets.dataset_class(name)
    chosen = [load_dataset(name, tmp_path)]
    chosen += [load_dataset(name, tmp_path, **{key: value}) for key, values in kind.options.items() for value in values]
    needed = {path.name for dataset in chosen for path in dataset.annotation_files()}
    given = {file for source in kind.sources if not source.optional for file in source.names}
    assert needed <= given
    assert any(source.gives == "videos" for source in kind.sources)
    assert set(kind.why) == set(kind.options), "every default says who chose it"


@pytest.mark.parametrize("name", ["msvd", "lsmdc", "didemo", "activitynet", "vatex", "msrvtt-9k"])
def test_links_and_youtube_are_there_where_they_are_declared(tmp_path, name):
    dataset = load_dataset(name, tmp_path)
    kinds = {mirror.kind for source in dataset.sources for mirror in source.mirrors}
    assert ("youtube" in kinds) == (
        dataset.youtube("v_abcdefghijk_000001_000011"[2 if name == "vatex" else 0 :]) is not None
    )
    links = [source.key for source in dataset.sources for mirror in source.mirrors if mirror.kind == "links"]
    for key in links:
        with pytest.raises(PetvrError, match="no such file"):
            list(dataset.links(key))


def test_lsmdc_links_go_into_the_films_folder(tmp_path):
    clip = "1004_Some_Film_00.10.05.100-00.10.08.300"
    base = "http://datasets.d2.mpi-inf.mpg.de/movieDescription/protected/avi/1004_Some_Film/"
    (tmp_path / "MPIIMD_downloadLinks.txt").write_text(f"{base}{clip}.avi\r\n\n{base}{clip}.avi?x=1\n")
    dataset = load_dataset("lsmdc", tmp_path)
    first, second = dataset.links("videos-mpii")
    assert first == (f"1004_Some_Film/{clip}.avi", f"{base}{clip}.avi") and second[0] == first[0]
    assert first[0] in list(dataset.file_names(clip))
    for line in ("<html>log in</html>\n", "http://[::1/v.avi\n", "http://host\n"):
        (tmp_path / "MPIIMD_downloadLinks.txt").write_text(line)
        with pytest.raises(PetvrError, match="line 1 is no address of a file"):
            list(dataset.links("videos-mpii"))
    assert all(mirror.login for source in dataset.sources for mirror in source.mirrors), "nothing comes without a login"


@pytest.mark.parametrize("key", ["exact", "flickr_id"])
def test_didemo_links_are_made_from_the_hashes(tmp_path, key):
    video = "12345678@N01_123456_abcdef.mov"
    records = json.dumps([{"description": "x", "video": video, "times": [[0, 0]]}])
    for which in ("train", "val", "test"):
        (tmp_path / f"{which}_list.txt").write_text(video + "\n")
        (tmp_path / f"{which}_data.json").write_text(records)
    (tmp_path / "yfcc100m_hash.txt").write_text("99\tfff\n123456\t0a1b2c3d4e\n")
    dataset = load_dataset("didemo", tmp_path, didemo_key=key)
    found = set(dataset.links("videos"))
    assert len(found) == 1
    name, address = found.pop()
    assert address == "https://multimedia-commons.s3-us-west-2.amazonaws.com/data/videos/mp4/0a1/b2c/0a1b2c3d4e.mp4"
    assert name in list(dataset.file_names(dataset.split("test").videos[0]))
