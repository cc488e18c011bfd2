"""The store holds the right frames of the right videos, survives being killed, and loses nothing it had."""

import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import frames_zoo as zoo
import numpy as np
import pytest

from petvr.data.frames import build as build_module
from petvr.data.frames import stored_frames
from petvr.data.frames.index import INDEX, PIXELS, checksum
from petvr.data.frames.pool import TaskOutcome
from petvr.data.frames.store import FrameStore, VideoItem, build_store
from petvr.errors import PetvrError

SIZE = 32
LENGTHS = {"long": 200, "short": 60, "third": 130}  # frames at 10 fps
SETTINGS = {"sampler": "c4c_1fps_int", "frames": 8, "size": SIZE, "progress": False, "workers": 1}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name, length in LENGTHS.items():
        zoo.write(folder / f"{name}.mp4", codec="libx264", frames=length, fps=10, size=(64, 64), b_frames=2)
    return folder


@pytest.fixture
def items(videos):
    return [VideoItem(name, videos / f"{name}.mp4") for name in LENGTHS]


@pytest.fixture(scope="module")
def whole_store(videos, tmp_path_factory):
    """A store to be copied."""
    folder = tmp_path_factory.mktemp("whole") / "s"
    build_store([VideoItem(name, videos / f"{name}.mp4") for name in LENGTHS], folder, **SETTINGS)
    return folder


def shown(store, video):
    pixels, mask = store.get([video])
    return [zoo.read(picture.transpose(1, 2, 0)) for picture in pixels[0][mask[0]]]


def expected(length, frames=8):
    candidates = list(range(0, length, 10))
    if len(candidates) <= frames:
        return candidates
    return [candidates[i] for i in np.linspace(0, len(candidates) - 1, frames).astype(int)]


def test_frames_by_id_padded_and_masked(items, tmp_path):
    report = build_store(items, tmp_path / "s", **SETTINGS)
    assert (report.decoded, report.reused, report.problems) == (3, 0, {})
    store = FrameStore(tmp_path / "s")
    assert store.ids == ["long", "short", "third"] and store.digest == report.digest
    assert (store.sampler, store.frames, store.size) == ("c4c_1fps_int", 8, SIZE)
    for name, length in LENGTHS.items():
        assert shown(store, name) == expected(length)
    pixels, mask = store.get(["third", "short", "third"])
    assert pixels.shape == (3, 8, 3, SIZE, SIZE) and pixels.dtype == np.uint8
    assert mask.dtype == bool and mask.sum(1).tolist() == [8, 6, 8]
    assert mask[1].tolist() == [True] * 6 + [False] * 2  # 60 frames at 10 fps are 6 seconds
    assert (pixels[1, 6:] == 0).all() and (pixels[1, :6].reshape(6, -1).max(1) > 0).all()
    assert store.counts(["short", "long"]).tolist() == [6, 8]
    record = store.records["short"]
    assert record.indices == (0, 10, 20, 30, 40, 50) and record.n_frames == 60 and record.fps == 10
    assert record.decoder.split()[0] in ("decord", "pyav") and record.source.bytes > 0
    assert store.verify() == {}


def test_a_buffer_is_filled_anew_each_time(items, tmp_path):
    build_store(items, tmp_path / "s", **SETTINGS)
    store = pickle.loads(pickle.dumps(FrameStore(tmp_path / "s")))
    buffer = np.full((2, 8, 3, SIZE, SIZE), 255, np.uint8), np.ones((2, 8), bool)
    rows = store.rows(["long", "short"])
    pixels, mask = store.get_rows(rows, buffer)
    assert pixels is buffer[0] and mask is buffer[1]
    fresh = store.get(["long", "short"])
    assert np.array_equal(pixels, fresh[0]) and np.array_equal(mask, fresh[1])
    with pytest.raises(ValueError, match="buffers of shapes"):
        store.get(["long"], buffer)


@pytest.mark.slow
def test_a_broken_video_is_listed_and_has_no_frames(items, tmp_path):
    (tmp_path / "page.mp4").write_text("<html>quota</html>")
    more = [*items, VideoItem("page", tmp_path / "page.mp4"), VideoItem("gone", tmp_path / "gone.mp4")]
    report = build_store(more, tmp_path / "s", **SETTINGS)
    assert set(report.problems) == {"page", "gone"} and report.decoded == 3
    store = FrameStore(tmp_path / "s")
    assert store.problems["gone"] == "no such file" and "HTML" in store.problems["page"]
    assert "page" not in store and "page" not in store.ids
    with pytest.raises(PetvrError, match="no frames of video 'page': an HTML page"):
        store.get(["long", "page"])
    with pytest.raises(PetvrError, match="'other': not in the store"):
        store.get(["other"])
    # the file comes back, sound: it alone is decoded
    (tmp_path / "gone.mp4").write_bytes(items[0].path.read_bytes())
    report = build_store(more, tmp_path / "s", **SETTINGS)
    assert (report.decoded, report.reused, list(report.problems)) == (1, 3, ["page"])
    assert shown(FrameStore(tmp_path / "s"), "gone") == expected(200)
    assert FrameStore(tmp_path / "s").verify() == {}


def test_nothing_readable_is_an_error(tmp_path):
    with pytest.raises(PetvrError, match=r"none of 1 videos can be read; the first: gone: no such file"):
        build_store([VideoItem("gone", tmp_path / "gone.mp4")], tmp_path / "s", **SETTINGS)
    with pytest.raises(PetvrError, match="no such frame store"):
        FrameStore(tmp_path / "s")


@pytest.mark.slow
def test_a_second_build_decodes_nothing_and_a_change_only_what_changed(items, tmp_path):
    first = build_store(items, tmp_path / "s", **SETTINGS)
    inode = (tmp_path / "s" / PIXELS).stat().st_ino
    again = build_store(items, tmp_path / "s", **SETTINGS)
    assert (again.decoded, again.reused, again.digest) == (0, 3, first.digest)
    assert (tmp_path / "s" / PIXELS).stat().st_ino == inode
    (tmp_path / "s" / INDEX).unlink()  # as Snakemake does with an output before it runs the job again
    again = build_store(items, tmp_path / "s", **SETTINGS)
    assert (again.decoded, again.reused, FrameStore(tmp_path / "s").digest) == (0, 3, first.digest)
    windowed = [VideoItem(items[0].video, items[0].path, (5, 9)), *items[1:]]
    third = build_store(windowed, tmp_path / "s", **SETTINGS)
    assert (third.decoded, third.reused) == (1, 2) and third.digest != first.digest
    assert shown(FrameStore(tmp_path / "s"), "long") == [50, 60, 70, 80, 90]
    assert shown(FrameStore(tmp_path / "s"), "third") == expected(130)
    fewer = build_store(items[1:], tmp_path / "s", **SETTINGS)
    assert (fewer.decoded, fewer.reused) == (0, 2) and FrameStore(tmp_path / "s").ids == ["short", "third"]


@pytest.mark.slow
def test_digest_is_of_the_content_not_of_the_order_or_the_place(items, tmp_path):
    one = build_store(items, tmp_path / "a", **SETTINGS)
    other = build_store(items[::-1], tmp_path / "b", **{**SETTINGS, "workers": 2})
    assert one.digest == other.digest
    assert build_store(items, tmp_path / "c", **{**SETTINGS, "sampler": "uniform_mid"}).digest != one.digest
    assert build_store(items, tmp_path / "d", **{**SETTINGS, "frames": 4}).digest != one.digest
    assert build_store(items[:2], tmp_path / "e", **SETTINGS).digest != one.digest
    stretched = build_store(items, tmp_path / "f", **SETTINGS, picture="stretch")
    assert stretched.digest != one.digest and FrameStore(tmp_path / "f").picture == "stretch"
    assert "picture" not in (tmp_path / "a" / INDEX).read_text()  # the usual one, which earlier stores do not name
    assert FrameStore(tmp_path / "a").picture == "crop"
    with pytest.raises(PetvrError, match="did you mean 'stretch'"):
        build_store(items, tmp_path / "g", **SETTINGS, picture="strech")


@pytest.mark.slow
def test_repeating_samplers_are_not_masked(items, tmp_path):
    build_store(items, tmp_path / "s", **{**SETTINGS, "sampler": "linspace_all", "frames": 70})
    store = FrameStore(tmp_path / "s")
    numbers = shown(store, "short")
    assert len(numbers) == 70 and sorted(set(numbers)) == list(range(60))


@pytest.mark.slow
def test_changed_bytes_are_found_when_the_store_is_opened_and_only_their_video_is_decoded_again(items, tmp_path):
    build_store(items, tmp_path / "s", **SETTINGS)
    place = FrameStore(tmp_path / "s").records["short"].offset * 3 * SIZE**2 + 17
    with open(tmp_path / "s" / PIXELS, "r+b") as stream:
        stream.seek(place)
        byte = stream.read(1)[0]
        stream.seek(place)
        stream.write(bytes([byte ^ 1]))
    with pytest.raises(PetvrError, match=r"1 videos are damaged, the first is 'short': pictures .* their checksum"):
        FrameStore(tmp_path / "s")
    assert build_store(items, tmp_path / "s", **SETTINGS).decoded == 1
    assert FrameStore(tmp_path / "s").verify() == {}
    with open(tmp_path / "s" / PIXELS, "r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(PetvrError, match="truncated: 1000 of"):
        FrameStore(tmp_path / "s")
    assert build_store(items, tmp_path / "s", **SETTINGS).decoded == 3


def test_a_store_is_read_whole_once_wherever_it_is_moved(items, tmp_path, monkeypatch):
    build_store(items, tmp_path / "s", **SETTINGS)
    read = []
    monkeypatch.setattr(stored_frames, "checksum", lambda pixels: read.append(1) or checksum(pixels))
    (tmp_path / "s").rename(tmp_path / "moved")
    FrameStore(tmp_path / "moved")
    assert not read, "its files are the ones that were written"
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    for _ in range(2):
        FrameStore(tmp_path / "copy")
    assert len(read) == 3, "a copy is read once"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["videos"]["short"].update(offset=-1), "'short' has frames -1 to"),
        (lambda data: data["videos"]["short"].update(offset="1"), "not a frame store's index"),
        (
            lambda data: data["videos"]["short"].update(offset=data["videos"]["long"]["offset"]),
            "has frames .* free from",
        ),
        (lambda data: data["videos"].pop("short"), "do not belong to its videos"),
        (lambda data: data.update(format=99), "format 99"),
        (lambda data: data.update(videos=[]), "not a frame store's index"),
    ],
)
@pytest.mark.parametrize("has_seal", [True, False])
def test_an_altered_index_opens_no_store(whole_store, tmp_path, change, message, has_seal):
    shutil.copytree(whole_store, tmp_path / "s")
    FrameStore(tmp_path / "s")
    data = json.loads((tmp_path / "s" / "index.json").read_text())
    change(data)
    if not has_seal:
        del data["seal"]  # as an earlier petvr wrote it
    (tmp_path / "s" / "index.json").write_text(json.dumps(data))
    with pytest.raises(PetvrError, match="altered or damaged since it was written" if has_seal else message):
        FrameStore(tmp_path / "s")


BUILD = """
import resource, signal, sys
from pathlib import Path
from petvr.errors import PetvrError
from petvr.data.frames.store_writer import StoreWriter
from petvr.data.frames.store import VideoItem, build_store

def slow(self, *arguments, add=StoreWriter.add, **facts):
    add(self, *arguments, **facts)
    added.append(1)
    if len(added) == int(sys.argv[4]):  # the test kills this process between two videos
        signal.pause()

added, StoreWriter.add = [], slow
if __name__ == "__main__":
    folder, out, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    items = [VideoItem(f"v{n:02d}", folder / f"v{n:02d}.mp4") for n in range(24)]
    try:
        build_store(items, out, sampler="c4c_1fps_int", frames=8, size=32, workers=1, progress=False)
    except PetvrError as error:
        sys.exit(f"error: {error}")
"""


@pytest.fixture(scope="module")
def many(videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for number in range(24):
        name = list(LENGTHS)[number % 3]
        (folder / f"v{number:02d}.mp4").write_bytes((videos / f"{name}.mp4").read_bytes())
    return folder, [VideoItem(f"v{n:02d}", folder / f"v{n:02d}.mp4") for n in range(24)]


@pytest.fixture(scope="module")
def undisturbed(many, tmp_path_factory):
    return build_store(many[1], tmp_path_factory.mktemp("whole") / "s", **SETTINGS).digest


def journal(out):
    path = out.with_name(out.name + ".partial") / "journal.jsonl"
    return path.read_text().count("\n") - 1 if path.exists() else 0


def script(tmp_path, *arguments):
    (tmp_path / "build.py").write_text(BUILD)
    return [sys.executable, str(tmp_path / "build.py"), *map(str, arguments)]


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.slow), 9])
@pytest.mark.slow
def test_killed_and_started_again(many, undisturbed, tmp_path, after):
    folder, items = many
    out = tmp_path / "s"
    process = subprocess.Popen(script(tmp_path, folder, out, 0, after))
    while journal(out) < after and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    had = journal(out)
    assert after <= had < 24
    with pytest.raises(PetvrError, match="interrupted: build it again"):
        FrameStore(out)
    with open(out.with_name("s.partial") / PIXELS, "ab") as stream:  # what a kill in the middle of a write leaves
        stream.write(b"half a picture")
    with open(out.with_name("s.partial") / "journal.jsonl", "a") as stream:
        stream.write('["v23", {"offset"')
    report = build_store(items, out, **SETTINGS)
    assert (report.decoded, report.reused) == (24 - had, had)
    assert report.digest == undisturbed
    assert FrameStore(out).verify() == {} and not out.with_name("s.partial").exists()
    for number, item in enumerate(items):
        assert shown(FrameStore(out), item.video) == expected(list(LENGTHS.values())[number % 3])


@pytest.mark.slow
def test_killed_between_the_last_two_renames(many, undisturbed, tmp_path, monkeypatch):
    def die(path, text):
        if path.name.endswith(".json"):
            raise KeyboardInterrupt
        path.write_text(text)

    with monkeypatch.context() as patch:
        patch.setattr("petvr.data.frames.store_writer.atomic.write_text", die)
        with pytest.raises(KeyboardInterrupt):
            build_store(many[1], tmp_path / "s", **SETTINGS)
    report = build_store(many[1], tmp_path / "s", **SETTINGS)
    assert (report.decoded, report.reused, report.digest) == (0, 24, undisturbed)


@pytest.mark.slow
def test_full_disk_is_one_message_and_keeps_what_is_there(many, undisturbed, tmp_path):
    folder, items = many
    out = tmp_path / "s"
    limit = 10 * 8 * 3 * SIZE**2  # ten videos of eight frames
    done = subprocess.run(script(tmp_path, folder, out, limit, 0), capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "frames.bin: cannot be written" in done.stderr and "what is decoded is kept" in done.stderr
    assert journal(out) >= 10
    report = build_store(items, out, **SETTINGS)
    assert report.reused >= 10 and report.digest == undisturbed


def test_one_builder_at_a_time(items, tmp_path):
    from petvr.data.frames.build import store_settings
    from petvr.data.frames.store_writer import StoreWriter

    with (
        StoreWriter(tmp_path / "s", store_settings("uniform_mid", 4, 8)),
        pytest.raises(PetvrError, match="another process is building this store"),
    ):
        build_store(items, tmp_path / "s", **SETTINGS)


@pytest.mark.slow
def test_other_settings_do_not_mix(items, tmp_path):
    build_store(items, tmp_path / "s", **SETTINGS)
    report = build_store(items, tmp_path / "s", **{**SETTINGS, "frames": 4})
    assert report.decoded == 3 and FrameStore(tmp_path / "s").get(["long"])[0].shape == (1, 4, 3, SIZE, SIZE)


def test_a_hung_decoder_is_tried_again_without_decord(items, tmp_path, monkeypatch):
    """The pool is replaced by one in which decord always hangs."""
    tried = []

    def run(function, tasks, **options):
        for key, arguments in tasks:
            item, use_decord = key
            tried.append(use_decord)
            if use_decord:
                yield TaskOutcome(key, error="decoding did not end within 300 s", lost=True)
            elif item.video == "short":
                yield TaskOutcome(key, error="the decoding process died (SIGSEGV)", lost=True)
            else:
                yield TaskOutcome(key, function(*arguments))
            if len(tried) == 6:
                return

    monkeypatch.setattr(build_module.pool, "run_tasks", run)
    report = build_store(items, tmp_path / "s", **SETTINGS)
    assert sorted(tried) == [False] * 3 + [True] * 3
    assert report.problems == {"short": "the decoding process died (SIGSEGV)"} and report.decoded == 2
    store = FrameStore(tmp_path / "s")
    assert shown(store, "long") == expected(200)
    assert store.records["long"].decoder.startswith("pyav")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sampler": "c4c_1fps"}, "did you mean 'c4c_1fps_int'"),
        ({"frames": 0}, "at least 1"),
        ({"items": 2}, "a video is given twice: long"),
    ],
)
def test_bad_settings(items, tmp_path, change, message):
    items = items * change.pop("items", 1)
    with pytest.raises(PetvrError, match=message):
        build_store(items, tmp_path / "s", **{**SETTINGS, **change})


def test_a_foreign_index_is_named(tmp_path):
    (tmp_path / INDEX).write_text("{}")
    with pytest.raises(PetvrError, match=r"index\.json: not a frame store's index"):
        FrameStore(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"format": 99}))
    with pytest.raises(PetvrError, match="format 99"):
        FrameStore(tmp_path)
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(PetvrError, match="not JSON"):
        FrameStore(tmp_path)


def test_plain_lines_where_nobody_watches(items, tmp_path, capsys):
    more = [*items, VideoItem("gone", Path("gone.mp4"))]
    build_store(more, tmp_path / "s", **{**SETTINGS, "progress": True})
    lines = capsys.readouterr().err.splitlines()
    assert "frames s: left out: gone: no such file" in lines
    assert lines[-1].startswith("frames s: 4/4 videos, 1 left out")
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_nothing_here_imports_torch():
    code = "import sys, petvr.data.frames.store, petvr.data.datasets.didemo; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.slow
def test_a_file_that_is_cut_while_it_is_in_use_is_one_line_and_no_signal(items, tmp_path):
    """What is mapped and no longer there would end the process by SIGBUS."""
    build_store(items, tmp_path / "s", **SETTINGS)
    store = FrameStore(tmp_path / "s")
    os.truncate(tmp_path / "s" / PIXELS, 1000)
    for read in (lambda: store.get(["short"]), store.verify, lambda: pickle.loads(pickle.dumps(store))):
        with pytest.raises(PetvrError, match=r"frames\.bin: (cut off while it was in use|truncated: 1000 of)"):
            read()
    assert build_store(items, tmp_path / "s", **SETTINGS).decoded == 3


def test_an_edit_that_keeps_size_and_date_is_found(items, tmp_path):
    """As `rsync --inplace --times` leaves it, or a clock that was set back."""
    build_store(items, tmp_path / "s", **SETTINGS)
    path = tmp_path / "s" / PIXELS
    before = path.stat()
    with open(path, "r+b") as stream:
        stream.write(bytes(3 * SIZE**2))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    stored_frames._verified.clear()  # as in another process
    with pytest.raises(PetvrError, match="1 videos are damaged"):
        FrameStore(tmp_path / "s")
