"""A store in shards is the store in one piece; killed, changed and cut anew it loses nothing."""

import pickle
import shutil
import signal
import subprocess
import sys
import time

import frames_zoo as zoo
import numpy as np
import pytest

from petvr.data.frames import shards
from petvr.data.frames.index import INDEX, KEPT, PIXELS
from petvr.data.frames.store import FrameStore, VideoItem, build_store
from petvr.data.frames.stored_frames import MEMORY
from petvr.errors import PetvrError

SIZE = 32
SETTINGS = {"sampler": "c4c_1fps_int", "frames": 4, "size": SIZE, "progress": False, "workers": 1}
COUNT, CUT = 14, 3


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Video n begins with frame number 100 n, so that a mix-up shows in the picture."""
    folder = tmp_path_factory.mktemp("videos")
    for n in range(COUNT):
        path = folder / f"v{n:02d}.mp4"
        zoo.write(path, codec="libx264", frames=10 + 10 * (n % 3), fps=10, size=(48, 48), first=100 * n)
    (folder / "page.mp4").write_text("<html>quota</html>")
    return [VideoItem(path.stem, path) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def whole(items, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "s"
    build_store(items, out, **SETTINGS)
    return FrameStore(out)


@pytest.fixture(scope="module")
def built(items, tmp_path_factory):
    out = tmp_path_factory.mktemp("cut") / "s"
    for number in range(1, CUT + 1):
        one(items, out, number)
    shards.join_shards(out, CUT, [item.video for item in items])
    return out


@pytest.fixture
def cut(built, tmp_path):
    return shutil.copytree(built, tmp_path / "s")


def one(items, out, number, of=CUT):
    mine = [item for item in items if shards.shard_of(item.video, of) == number]
    return build_store(mine, shards.shard_folder(out, number, of), **SETTINGS)


def same(store, whole):
    """Equal in all that training sees, in every order of reading."""
    assert store.digest == whole.digest and store.ids == whole.ids and store.problems == whole.problems
    order = np.random.default_rng(0).permutation(len(store.ids)).tolist() * 2
    for mine, its in zip(
        store.get([store.ids[i] for i in order]), whole.get([whole.ids[i] for i in order]), strict=True
    ):
        assert np.array_equal(mine, its)
    assert store.verify() == {}
    pixels, _ = store.get(["v07", "v03"])
    assert [zoo.read(video[0].transpose(1, 2, 0)) for video in pixels] == [700, 300]
    return True


def test_every_video_has_its_shard_for_ever():
    ids = [f"video{n}" for n in range(10_000)]
    sizes = np.bincount([shards.shard_of(video, 10) for video in ids], minlength=11)
    assert sizes[0] == 0 and sizes.sum() == 10_000 and 900 < sizes[1:].min() <= sizes.max() < 1100
    # written down: a store cut by an older version must find its videos where they were
    assert [shards.shard_of(video, 10) for video in ("video0", "video7010", "-8y1Q0rA3n8_108_115", "видео")] == [
        4,
        2,
        9,
        1,
    ]
    assert shards.shard_of("anything", 1) == 1


@pytest.mark.slow
def test_joined_shards_are_the_store(cut, whole):
    store = FrameStore(cut)
    assert same(store, whole) and same(pickle.loads(pickle.dumps(store)), whole)
    assert store.problems["page"].startswith("an HTML page")
    assert not (cut / PIXELS).exists(), "no picture is copied"


def test_a_missing_shard_is_named_and_an_old_one_too(cut, items):
    shutil.rmtree(shards.shard_folder(cut, 2, CUT))
    with pytest.raises(PetvrError, match=r"shard 2 of 3 is not there yet: .*shard-2-of-3"):
        shards.join_shards(cut, CUT)
    one(items[1:], cut, 2)
    one(items[1:], cut, shards.shard_of(items[0].video, CUT))
    with pytest.raises(PetvrError, match=r"shard-\d-of-3: out of date: video 'page' is not in it"):
        shards.join_shards(cut, CUT, [item.video for item in items])
    with pytest.raises(PetvrError, match="no such frame store"):
        FrameStore(cut)  # the old index is gone with the old pictures


def test_shards_of_other_settings_do_not_join(cut, items):
    mine = [item for item in items if shards.shard_of(item.video, CUT) == 2]
    build_store(mine, shards.shard_folder(cut, 2, CUT), **{**SETTINGS, "frames": 2})
    with pytest.raises(PetvrError, match="shard-2-of-3: built with other settings"):
        shards.join_shards(cut, CUT)


def test_a_truncated_shard_is_found_when_joined_and_when_opened(cut):
    path = shards.shard_folder(cut, 3, CUT) / PIXELS
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(PetvrError, match=r"shard-3-of-3.frames\.bin: truncated: 1000 of"):
        FrameStore(cut)
    with pytest.raises(PetvrError, match="truncated"):
        shards.join_shards(cut, CUT)


def test_nothing_is_decoded_again_when_nothing_changed(cut, items, whole):
    (cut / INDEX).unlink()  # as Snakemake does before it runs a job again
    for number in range(1, CUT + 1):
        place = shards.shard_folder(cut, number, CUT)
        (place / INDEX).unlink()
        before = (place / PIXELS).stat().st_ino
        assert one(items, cut, number).decoded == 0 and (place / PIXELS).stat().st_ino == before
    shards.join_shards(cut, CUT)
    assert same(FrameStore(cut), whole)


def test_a_changed_video_is_decoded_in_its_shard_alone(cut, items, tmp_path):
    path = tmp_path / "v05.mp4"
    zoo.write(path, codec="libx264", frames=20, fps=10, size=(48, 48), first=2000)
    changed = [VideoItem("v05", path) if item.video == "v05" else item for item in items]
    decoded = [one(changed, cut, number).decoded for number in range(1, CUT + 1)]
    assert sum(decoded) == 1 and decoded[shards.shard_of("v05", CUT) - 1] == 1
    shards.join_shards(cut, CUT)
    store = FrameStore(cut)
    pixels, _ = store.get(["v05", "v06"])
    assert [zoo.read(video[0].transpose(1, 2, 0)) for video in pixels] == [2000, 600] and store.verify() == {}


@pytest.mark.slow
def test_cut_anew_and_put_together_nothing_is_decoded(items, whole, tmp_path):
    """One piece -> 3 shards -> 2 shards -> one piece: pictures are taken over, and nothing old stays behind."""
    out = shutil.copytree(whole.path, tmp_path / "s")
    for of in (3, 2):
        assert [one(items, out, number, of).decoded for number in range(1, of + 1)] == [0] * of
        shards.join_shards(out, of)
        folders = {f"shard-{n}-of-{of}" for n in range(1, of + 1)}
        assert {path.name for path in out.iterdir()} == {*folders, INDEX, KEPT, MEMORY} and same(FrameStore(out), whole)
    assert build_store(items, out, **SETTINGS).decoded == 0  # a sound store is left as it is, however it is cut
    report = build_store(items[:-1], out, **SETTINGS)
    assert report.decoded == 0 and {path.name for path in out.iterdir()} == {PIXELS, INDEX, KEPT, MEMORY}
    assert FrameStore(out).ids == whole.ids[:-1] and FrameStore(out).verify() == {}


@pytest.mark.slow
def test_all_bad_in_one_shard_is_no_error_but_in_all_it_is(items, tmp_path):
    bad = [VideoItem(f"gone{n}", tmp_path / f"gone{n}.mp4") for n in range(4)]
    for number in (1, 2):
        one(bad, tmp_path / "s", number, 2)
    with pytest.raises(PetvrError, match=r"none of 4 videos can be read; the first: gone\d: no such file"):
        shards.join_shards(tmp_path / "s", 2)
    for number in (1, 2):
        one([*bad, items[0], items[1]], tmp_path / "s", number, 2)
    shards.join_shards(tmp_path / "s", 2)
    assert len(FrameStore(tmp_path / "s").problems) == 4 + 1  # page.mp4 is items[0]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_a_shard_is_written_i_of_n(text):
    with pytest.raises(PetvrError, match="allowed: 1/N to N/N"):
        shards.parse_shard(text)
    assert shards.parse_shard("3/10") == (3, 10)


KILLED = """
import signal, sys
from pathlib import Path
from petvr.data.frames import shards
from petvr.data.frames.store_writer import StoreWriter
from petvr.data.frames.store import VideoItem, build_store

def slow(self, *arguments, add=StoreWriter.add, **facts):
    add(self, *arguments, **facts)
    added.append(1)
    if len(added) == 2:  # the test kills this process between two videos
        signal.pause()

added, StoreWriter.add = [], slow
if __name__ == "__main__":
    items = [VideoItem(path.stem, path) for path in sorted(Path(sys.argv[1]).iterdir())]
    items = [item for item in items if shards.shard_of(item.video, 2) == 1]
    out = shards.shard_folder(Path(sys.argv[2]), 1, 2)
    build_store(items, out, sampler="c4c_1fps_int", frames=4, size=32, workers=1, progress=False)
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_a_shard(items, whole, tmp_path):
    """SIGKILL: the other shard is untouched, this one continues, and the whole is the same."""
    out = tmp_path / "s"
    one(items, out, 2, 2)
    other = (shards.shard_folder(out, 2, 2) / PIXELS).stat()
    (tmp_path / "build.py").write_text(KILLED)
    process = subprocess.Popen([sys.executable, str(tmp_path / "build.py"), str(items[0].path.parent), str(out)])
    journal = out / "shard-1-of-2.partial" / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_text().count("\n") > 2):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    had = journal.read_text().count("\n") - 1
    with pytest.raises(PetvrError, match="shard 1 of 2 is not there yet"):
        shards.join_shards(out, 2)
    report = one(items, out, 1, 2)
    mine = [item for item in items if shards.shard_of(item.video, 2) == 1 and item.video != "page"]
    assert 2 <= had < len(mine) and (report.decoded, report.reused) == (len(mine) - had, had)
    shards.join_shards(out, 2)
    now = (shards.shard_folder(out, 2, 2) / PIXELS).stat()
    assert (other.st_ino, other.st_mtime_ns) == (now.st_ino, now.st_mtime_ns)
    assert same(FrameStore(out), whole)
