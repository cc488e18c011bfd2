"""Generated folders: read by petvr.data.datasets, decoded by PyAV and decord, the same every time, restartable."""

import filecmp
import json
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from petvr import world
from petvr.data import datasets
from petvr.data.manifest import check_dataset
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.world import build, video
from petvr.world.caption_semantics import is_true_of
from petvr.world.scene import HEIGHT, WIDTH

SIZES = {
    "msrvtt": {"train": 7, "val": 0, "test": 6},
    "msvd": {"train": 5, "val": 1, "test": 5},
    "lsmdc": {"train": 4, "val": 1, "test": 5},
    "didemo": {"train": 4, "val": 1, "test": 5},
    "activitynet": {"train": 2, "val": 0, "test": 3},
    "vatex": {"train": 3, "val": 1, "test": 3},
}
SECONDS = {"lsmdc": (4, 6), "activitynet": (28, 40), "vatex": (9.95, 10.05)}
CAPTIONS = {"vatex": {10}, "lsmdc": {1}, "didemo": {1}, "activitynet": {1}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    for kind, sizes in SIZES.items():
        world.generate(kind, root / kind, sizes=sizes, seed=4, workers=1, progress=False)
    return root


@pytest.mark.parametrize("name", datasets.available())
def test_the_readers_of_the_real_data_sets_read_it(folders, name):
    folder = datasets.folder(name)
    dataset, sizes = datasets.load_dataset(name, folders / folder), SIZES[folder]
    assert dataset.official is None
    for which in dataset.splits:
        split = dataset.split(which)
        wanted = sizes[which] if name != "msrvtt-7k" or which != "train" else 5  # 7010/9000 of 7
        assert len(split.videos) == wanted and set(split.caption_video) == set(range(wanted))
        assert all(dataset.video_file(video).is_file() for video in split.videos)
        counts = np.bincount(split.caption_video)
        if name == "msvd":
            assert counts.min() >= 10 and (which == "val" or len(set(counts)) > 1)
            assert all(text.replace(" ", "").isalnum() for text in split.captions)
        else:
            assert set(counts) == CAPTIONS.get(name, {20 if which == "train" else 1})


def test_seven_k_is_a_part_of_nine_k_in_alphabetical_order(folders):
    nine, seven = ((folders / f"msrvtt/MSRVTT_train.{k}k.csv").read_text().split()[1:] for k in (9, 7))
    assert set(seven) < set(nine) and seven == sorted(seven)


@pytest.mark.slow
def test_every_file_decodes_with_the_declared_size_rate_and_length(folders):
    decord = pytest.importorskip("decord")
    for kind in SIZES:
        clips = json.loads((folders / kind / "world.json").read_text())["clips"]
        for clip in clips.values():
            path = folders / kind / "videos" / clip["file"]
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                assert stream.codec_context.name == ("mpeg4" if kind == "lsmdc" else "h264")
                assert stream.average_rate == Fraction(clip["fps"])
                assert float(stream.duration * stream.time_base) == pytest.approx(clip["seconds"], abs=1e-3)
                pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            reader = decord.VideoReader(str(path))
            assert len(pictures) == len(reader) == clip["frames"]
            assert reader[0].shape == (HEIGHT, WIDTH, 3)
            np.testing.assert_array_equal(reader[len(pictures) - 1].asnumpy(), pictures[-1])
            shortest, longest = SECONDS.get(kind, (10, 30))
            assert shortest <= clip["seconds"] <= longest and 8 <= Fraction(clip["fps"]) <= 30


def test_didemo_descriptions_name_the_chunk_in_which_it_happens(folders):
    clips = json.loads((folders / "didemo/world.json").read_text())["clips"]
    records = json.loads((folders / "didemo/test_data.json").read_text())
    assert len({record["annotation_id"] for record in records}) == len(records)
    for record in records:
        scene = clips[record["video"]]["scene"]
        assert record["num_segments"] == int(np.ceil(scene["seconds"] / 5)) in (5, 6)
        chunks = {int((event["start"] + event["end"]) / 2 // 5) for event in scene["events"]}
        marked = [tuple(pair) for pair in record["times"]]
        assert len(marked) == 4 and max(set(marked), key=marked.count)[0] in chunks
    assert {len(clip["captions"]) for clip in clips.values()} <= {3, 4, 5}


def test_lsmdc_has_a_folder_of_avi_files_per_film_and_tabs_without_a_header(folders):
    rows = (folders / "lsmdc/LSMDC16_annos_training.csv").read_text().splitlines()
    assert len(rows) == 4 and {row.count("\t") for row in rows} == {5}
    clip, start, end = rows[0].split("\t")[:3]
    film = clip.removesuffix(f"_{start}-{end}")
    assert film != clip and (folders / "lsmdc/videos" / film / f"{clip}.avi").is_file()
    test = (folders / "lsmdc/LSMDC16_challenge_1000_publictect.csv").read_text()
    assert film not in test, "films of the test are not trained on"


def test_activitynet_sentences_carry_the_times_of_what_they_tell(folders):
    clips = json.loads((folders / "activitynet/world.json").read_text())["clips"]
    for name, entry in json.loads((folders / "activitynet/val_1.json").read_text()).items():
        events = clips[name]["scene"]["events"]
        assert len(entry["timestamps"]) == len(entry["sentences"]) and name.startswith("v_")
        for start, end in entry["timestamps"]:
            assert 0 <= start < end <= entry["duration"]
            assert any(start <= event["start"] + 0.01 and event["end"] <= end + 0.01 for event in events)
        assert all(text.startswith(" ") for text in entry["sentences"][1:])


def test_both_vatex_test_lists_are_of_one_size_and_name_clips_that_have_captions(folders):
    hgr, other = (datasets.load_dataset("vatex", folders / "vatex", split=split) for split in ("hgr", "random1k5"))
    assert len(hgr.split("test").videos) == len(other.split("test").videos) == 3
    assert set(other.split("test").videos) <= set(hgr.split("val").videos + hgr.split("test").videos)
    assert other.splits == ("train", "test")


def test_hard_pairs_can_be_told_apart_by_time_alone():
    clips = {clip.id: clip for clip in build.plan_clips("msrvtt", {"test": 40}, seed=1)}
    twins = [clip for clip in clips.values() if clip.twin]
    assert {clip.pair for clip in twins} == {"reversed", "swapped"} and len(twins) == 16
    for clip in twins:
        other = clips[clip.twin]
        assert other.twin == clip.id and other.pair == clip.pair
        assert is_true_of(clip.captions[0], clip.scene) and not is_true_of(clip.captions[0], other.scene)
        shapes = [sorted(actor.shape for actor in each.scene.actors) for each in (clip, other)]
        assert shapes[0] == shapes[1] and clip.scene.background == other.scene.background


def test_the_sidecar_names_each_pair_once(folders):
    told = json.loads((folders / "msrvtt/world.json").read_text())
    listed = [video for pair in told["hard_pairs"]["test"] for video in pair["videos"]]
    marked = [video for video, clip in told["clips"].items() if clip["twin"] and clip["split"] == "test"]
    assert sorted(listed) == sorted(marked) and len(set(listed)) == len(listed) == 2


def test_some_captions_need_the_order_of_what_happens(folders):
    """Also in the paragraphs of DiDeMo and ActivityNet: what a model scores without time, the world can tell."""
    for kind in ("msrvtt", "didemo", "activitynet"):
        clips = json.loads((folders / kind / "world.json").read_text())["clips"].values()
        told = [caption["temporal"] for clip in clips for caption in clip["captions"]]
        assert any(told) and (kind != "msrvtt" or not all(told)), kind


@pytest.mark.slow
def test_same_seed_same_bytes_with_any_number_of_workers_and_another_seed_another_world(tmp_path):
    """Each call in a process of its own, as `petvr world` is: libraries that other tests load may set the processor to
    flush denormal numbers, which x264's rate control feels."""
    code = "import sys; from pathlib import Path; from petvr import world; world.generate('msvd', Path(sys.argv[1]), "
    code += f"sizes={SIZES['msvd']}, seed=int(sys.argv[2]), workers=int(sys.argv[3]), progress=False)"
    guarded = f"if __name__ == '__main__':\n    {code}\n"
    script = tmp_path / "generate.py"
    script.write_text(guarded)
    for name, seed, workers in (("first", 4, 1), ("same", 4, 2), ("other", 5, 2)):
        subprocess.run([sys.executable, script, tmp_path / name, str(seed), str(workers)], check=True)
    first, same = tmp_path / "first", tmp_path / "same"
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(same) for path in same.rglob("*") if path.is_file())
    assert [file for file in files if not filecmp.cmp(first / file, same / file, shallow=False)] == []
    assert (first / "captions_msvd.json").read_text() != (tmp_path / "other/captions_msvd.json").read_text()


def test_the_encoder_leaves_out_what_reads_memory_that_nobody_has_written(folders):
    video = next((folders / "msrvtt/videos").glob("*.mp4")).read_bytes()
    assert b"mbtree=0" in video and b"mbtree=1" not in video  # x264 writes its options into the stream


@pytest.mark.slow
def test_an_interrupted_call_is_taken_up_where_it_ended(tmp_path, monkeypatch):
    write, written = video.write_video, []

    def stopping(scene, path):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        write(scene, path)

    monkeypatch.setattr(video, "write_video", stopping)
    with pytest.raises(KeyboardInterrupt):
        world.generate("msvd", tmp_path, sizes=SIZES["msvd"], seed=4, progress=False)
    assert not (tmp_path / "world.json").exists()
    early = list(written)
    monkeypatch.setattr(video, "write_video", lambda scene, path: (written.append(path.name), write(scene, path)))
    world.generate("msvd", tmp_path, sizes=SIZES["msvd"], seed=4, progress=False)
    assert len(written) == 11 and not set(early) & set(written[3:])
    world.generate("msvd", tmp_path, sizes=SIZES["msvd"], seed=4, progress=False)
    assert len(written) == 11, "a finished world is left alone"
    (tmp_path / "world.json").unlink()  # as Snakemake does before it runs a rule again
    world.generate("msvd", tmp_path, sizes={"train": 1, "test": 1}, seed=4, progress=False)
    assert len(list((tmp_path / "videos").iterdir())) == 2, "videos of the earlier order are gone"


def test_the_datas_hash_is_of_what_was_rendered_and_of_the_bytes_where_a_file_was_changed(tmp_path, monkeypatch):
    """Two systems encode one scene into different bytes."""

    def data_hash(folder):
        return check_dataset(
            datasets.load_dataset("msvd", folder), Layout(tmp_path / "results"), tmp_path / "lock.json"
        ).now.hash

    def generate(folder):
        world.generate("msvd", tmp_path / folder, sizes={"train": 1, "val": 1, "test": 2}, seed=4, progress=False)
        return tmp_path / folder

    one = generate("one")
    container, codec, options = video.CODECS[".mp4"]
    monkeypatch.setitem(video.CODECS, ".mp4", (container, codec, options | {"preset": "ultrafast"}))
    two = generate("two")
    changed = next((two / "videos").iterdir())
    assert changed.read_bytes() != (one / "videos" / changed.name).read_bytes()
    assert data_hash(one) == data_hash(two)
    whole = changed.read_bytes()
    changed.write_bytes(whole + b"free")
    assert data_hash(one) != data_hash(two)
    (two / "world.json").unlink()  # as Snakemake does before it runs a rule again
    generate("two")
    assert data_hash(one) == data_hash(two) and changed.read_bytes() == whole


def test_bad_orders_end_in_one_line(tmp_path):
    with pytest.raises(PetvrError, match=r"unknown world 'msrvt' \(did you mean 'msrvtt'\?\)"):
        world.generate("msrvt", tmp_path, sizes={"train": 1})
    with pytest.raises(PetvrError, match=r"sizes\.train is -1"):
        world.generate("msvd", tmp_path, sizes={"train": -1})
    with pytest.raises(PetvrError, match="unknown split 'tset'"):
        world.generate("msvd", tmp_path, sizes={"tset": 1})


def test_real_videos_are_never_touched(tmp_path):
    precious = tmp_path / "videos/video0.mp4"
    precious.parent.mkdir()
    precious.write_bytes(b"a real one")
    with pytest.raises(PetvrError, match="no generated world left there"):
        world.generate("msrvtt", tmp_path, sizes={"train": 2}, progress=False)
    assert precious.read_bytes() == b"a real one"


@pytest.mark.parametrize("mark", ["{", "[]", "{}"])
def test_with_a_damaged_list_of_its_own_videos_nothing_is_removed(tmp_path, mark):
    video, listed = tmp_path / "videos/video0.mp4", tmp_path / ".world-files.json"
    video.parent.mkdir()
    video.write_bytes(b"of whom?")
    listed.write_text(mark)
    with pytest.raises(PetvrError, match=r"\.world-files\.json is damaged: remove both"):
        world.generate("msrvtt", tmp_path, sizes={"train": 2}, progress=False)
    assert video.read_bytes() == b"of whom?"
