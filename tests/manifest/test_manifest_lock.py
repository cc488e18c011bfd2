"""Manifests and locks: what a user sees when a caption, a video or a file is no longer what it was."""

import json
import os
import re
import shutil

import pytest
import yaml
from pyarrow import parquet

from petvr import cli
from petvr.data.datasets import load_dataset
from petvr.data.frames.index import FrameIndex, FrameRecord, Problem, SourceFingerprint, StoreSettings
from petvr.data.manifest import files, identity, lock
from petvr.layout import Layout

SPLITS = {"train": ["a1", "a2", "a3"], "val": ["v1"], "test": ["t1", "t2"]}
BIG = 60_000  # bytes: more than a fingerprint's two ends


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with config.yaml and a data set in MSVD's files, whose videos are bytes that nobody decodes."""
    root = tmp_path / "data" / "msvd"
    (root / "videos").mkdir(parents=True)
    (root / "world.json").write_text("{}")  # no official counts
    for name, videos in SPLITS.items():
        (root / f"{name}_list.txt").write_text("".join(f"{video}\n" for video in videos))
        for video in videos:
            (root / "videos" / f"{video}.avi").write_bytes(video.encode() * (BIG // 2))
    captions = {video: [f"{video} one", f"{video} two"] for videos in SPLITS.values() for video in videos}
    (root / "captions_msvd.json").write_text(json.dumps(captions))
    config = {"seeds": [0], "weights": {}, "datasets": ["msvd"], "tables": ["vop/table_3"]}  # no run, so no frames
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PETVR_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def data(capsys):
    """Call `petvr data ...`: (exit code, stdout, stderr)."""

    def call(*arguments):
        code = cli.main(["data", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def video(project, name):
    return project / "data" / "msvd" / "videos" / f"{name}.avi"


def rows(project, split):
    return {row["video"]: row for row in parquet.read_table(f"results/manifests/msvd.{split}.parquet").to_pylist()}


def store(project, problems=(), name="uniform_mid-12f-224px"):
    """A frame store as `petvr frames` leaves it, of the videos that are there."""
    folder = project / "results" / "frames" / "msvd" / name
    folder.mkdir(parents=True, exist_ok=True)
    settings = StoreSettings("uniform_mid", 12, 224, {"sampler": 1, "decode": 1, "preprocess": 1, "format": 1})
    videos, bad = {}, {}
    for split in ("train", "test"):
        for one in SPLITS[split]:
            stamp = SourceFingerprint.of(video(project, one))
            if one in problems:
                bad[one] = Problem("holds no picture", stamp)
            else:
                videos[one] = FrameRecord(2 * len(videos), (0, 10), 250, 25.0, "decord", "", stamp, None, "0" * 32)
    (folder / "index.json").write_text(json.dumps(FrameIndex(settings, videos, bad).to_json()))


def test_one_row_per_official_video_with_what_is_known(project, data):
    video(project, "a2").unlink()
    video(project, "t2").write_text("<!DOCTYPE html><html>quota exceeded</html>")
    code, out, _ = data("msvd", "--checksum")
    assert code == 0 and "train: 2 of 3 videos (1 missing: a2), 6 captions" in out
    found = rows(project, "train") | rows(project, "test")
    assert list(found) == SPLITS["train"] + SPLITS["test"], "in the order of the lists"
    assert (found["a2"]["status"], found["a2"]["bytes"], found["a2"]["fingerprint"]) == ("missing", None, "")
    assert found["t2"]["status"] == "undecodable" and "HTML page" in found["t2"]["reason"]
    assert (found["a1"]["status"], found["a1"]["bytes"], found["a1"]["captions"]) == ("ok", BIG, 2)
    import hashlib

    assert found["a1"]["sha256"] == hashlib.sha256(b"a1" * (BIG // 2)).hexdigest()
    assert found["a1"]["captions_sha256"] == hashlib.sha256(b"a1 one\0a1 two").hexdigest()


def test_frame_stores_add_length_and_what_cannot_be_read(project, data):
    store(project, problems=["t1"])
    _, out, _ = data("msvd")
    assert "test: 1 of 2 videos (1 undecodable: t1)" in out
    assert rows(project, "train")["a1"]["duration"] == 10.0 and rows(project, "train")["a1"]["frames"] == 250
    assert rows(project, "test")["t1"]["reason"] == "holds no picture"
    video(project, "t1").write_bytes(b"another file")  # the store has not seen this one: it may be sound
    _, out, _ = data("msvd")
    assert "test: 2 of 2 videos" in out


def test_the_summary_does_not_change_when_nothing_did(project, data):
    """It is what runs wait for: another text would train everything again."""
    path = project / "results" / "manifests" / "msvd.json"
    data("msvd")
    before, time = path.read_bytes(), path.stat().st_mtime_ns
    store(project, problems=["t1"])
    os.utime(video(project, "a1"))
    data("msvd")
    assert path.read_bytes() == before and path.stat().st_mtime_ns == time
    video(project, "a1").unlink()
    data("msvd")
    assert path.read_bytes() != before


def test_freezing_gives_the_hash_that_runs_carried_before(project, data):
    store(project, problems=["t1"])
    data("msvd")
    carried = identity.identity(files.read_summary(Layout(project / "results"), "msvd").presence, ["t1"])
    code, out, _ = data("freeze", "msvd")
    assert code == 0 and carried in out
    frozen = lock.read_lock(project / "locks" / "msvd.json")
    assert frozen.hash == carried == lock.hash_of(project / "locks" / "msvd.json")
    assert frozen.usable("test") == {"t2"} and frozen.usable("train") == set(SPLITS["train"])


def test_freezing_is_deterministic_and_the_place_does_not_count(project, data):
    data("freeze")
    text = (project / "locks" / "msvd.json").read_text()
    data("freeze", "msvd")
    assert (project / "locks" / "msvd.json").read_text() == text
    shutil.move(project / "data", project / "elsewhere")
    (project / "config.yaml").write_text((project / "config.yaml").read_text() + "data: elsewhere\n")
    shutil.rmtree(project / "results")
    assert data("msvd")[0] == 0
    data("freeze", "msvd")
    assert (project / "locks" / "msvd.json").read_text() == text


def changed_caption(project):
    path = project / "data" / "msvd" / "captions_msvd.json"
    path.write_text(path.read_text().replace("t1 two", "t1 too"))


def removed_video(project):
    video(project, "a2").unlink()


def replaced_file(project):
    video(project, "t2").write_bytes(b"x" * BIG)


def replaced_by_one_of_equal_size_and_time(project):
    stat = video(project, "t2").stat()
    video(project, "t2").write_bytes(b"x" * BIG)
    os.utime(video(project, "t2"), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    shutil.rmtree(project / "results")  # with the manifest, the earlier fingerprint would be believed


def shortened_list(project):
    (project / "data" / "msvd" / "test_list.txt").write_text("t1\n")


def turned_list(project):
    (project / "data" / "msvd" / "test_list.txt").write_text("t2\nt1\n")


def unreadable_video(project):
    store(project, problems=["a3"])


CHANGES = {
    changed_caption: ["test t1: captions changed"],
    removed_video: ["train a2: its file is gone"],
    replaced_file: [f"test t2: its file was replaced ({BIG} bytes, now {BIG})"],
    replaced_by_one_of_equal_size_and_time: ["test t2: its file was replaced"],
    shortened_list: ["test t2: no longer in the list of the split"],
    turned_list: ["test: the order of its videos or captions changed"],
    unreadable_video: ["train a3: is undecodable now, frozen as ok"],
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_differs_from_the_lock_is_named_and_stops(project, data, change):
    data("freeze", "msvd")
    frozen, manifest = (project / "locks" / "msvd.json").read_text(), project / "results" / "manifests" / "msvd.json"
    change(project)
    before = manifest.read_text() if manifest.exists() else None
    for action in ("check", "freeze"):
        code, _, err = data(action, "msvd")
        lines = err.strip().splitlines()
        assert code == 2 and len(lines) == 3, err
        assert CHANGES[change][0] in lines[1]
        assert lines[2].startswith("petvr: error: ") and "--accept" in lines[2]
    assert (project / "locks" / "msvd.json").read_text() == frozen
    assert (manifest.read_text() if manifest.exists() else None) == before, "nothing downstream goes on"
    code, out, _ = data("freeze", "msvd", "--accept")
    assert code == 0 and "frozen as" in out
    assert data("check", "msvd")[0] == 0
    assert lock.read_lock(project / "locks" / "msvd.json").hash != json.loads(frozen)["hash"]


def test_a_lock_remembers_the_unreadable_when_the_frames_are_deleted(project, data):
    store(project, problems=["t1"])
    data("freeze", "msvd")
    shutil.rmtree(project / "results")
    code, out, _ = data("msvd")
    assert code == 0 and "test: 1 of 2 videos (1 undecodable: t1)" in out


def test_a_copy_of_a_list_with_another_last_newline_is_the_same(project, data):
    data("freeze", "msvd")
    path = project / "data" / "msvd" / "test_list.txt"
    path.write_text(path.read_text() + "\n")
    assert data("msvd")[0] == 0


def test_many_differences_are_counted(project, data):
    data("freeze", "msvd")
    captions = json.loads((project / "data/msvd/captions_msvd.json").read_text())
    extra = {f"x{n}": ["new"] for n in range(40)}
    (project / "data/msvd/captions_msvd.json").write_text(json.dumps(captions | extra))
    (project / "data/msvd/val_list.txt").write_text("\n".join(["v1", *extra]))
    _, _, err = data("msvd")
    assert "and 10 more" in err and "40 difference(s)" in err
    assert len(data("msvd", "--all")[2].splitlines()) == 42


def test_a_lock_edited_by_hand_or_broken_is_one_line(project, data):
    data("freeze", "msvd")
    path = project / "locks" / "msvd.json"
    frozen = path.read_text()
    unsealed = re.sub(r',\n "seal": "[0-9a-f]+"', "", frozen)
    path.write_text(unsealed)
    assert unsealed != frozen and data("msvd")[0] == 0, "locks of an earlier petvr have no seal"
    for text in (
        "{",
        "[]",
        frozen.replace('"format": 1', '"format": 9'),
        frozen.replace('["ok"', '["missing"', 1),
        re.sub(r'\["ok", \d+', '["ok", "x"', unsealed, count=1),
        re.sub(r'"hash": "[0-9a-f]+"', '"hash": ""', unsealed),
    ):
        path.write_text(text)
        code, _, err = data("msvd")
        assert code == 2 and str(path.name) in err and len(err.strip().splitlines()) == 1


def test_strict_stops_at_a_missing_video(project, data):
    video(project, "a2").unlink()
    (project / "config.yaml").write_text((project / "config.yaml").read_text() + "missing: strict\n")
    code, _, err = data("msvd")
    assert code == 2 and "a2: missing" in err and not (project / "results/manifests/msvd.json").exists()


def test_a_data_set_that_is_not_there_is_one_line(project, data):
    shutil.rmtree(project / "data")
    for words in (["msvd"], ["check", "msvd"], ["freeze", "msvd"], ["freeze"]):
        code, _, err = data(*words)
        assert code == 2 and "petvr data status" in err and len(err.strip().splitlines()) == 1


def test_unknown_words(project, data):
    code, _, err = data("msvdd")
    assert code == 2 and "did you mean 'msvd'" in err
    assert "did you mean 'msvd'" in data("freeze", "msvdd")[2]


@pytest.mark.slow
def test_identity_of_real_annotations(real_files, tmp_path):
    """MSVD's real lists without any video: every row is there, and none is made up."""
    from petvr.data.manifest.rows import collect

    dataset = load_dataset("msvd", real_files / "msvd", tmp_path)
    found = collect(dataset, {name: dataset.split(name) for name in dataset.splits})
    assert len(found) == 1200 + 100 + 670
    assert sum(row.captions for row in found) == 48_774 + 4_290 + 27_763
    assert {row.status for row in found} == {"missing"}


def status(data, *names):
    """Data set -> (its line of the table, what to do next)."""
    code, out, err = data("status", *names)
    assert code == 0, err
    grid, following = out.split("\nnext\n")
    return next(line for line in grid.splitlines() if "msvd" in line), following.strip().splitlines()[0]


def test_status_leads_through_a_data_set_step_by_step(project, data, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    place = project / "data" / "msvd"
    place.rename(project / "away")
    assert "petvr download msvd" in status(data)[1]
    (project / "away").rename(place)
    line, step = status(data, "msvd")
    assert line.split() == ["msvd", "4", "3", "1", "2", "–", "A", "not", "frozen"]
    assert "petvr data freeze msvd" in step
    data("freeze")
    assert status(data)[1].split() == ["msvd", "ready"]
    video(project, "a2").unlink()
    line, step = status(data)
    assert " 2/3 " in line and " D " in line and "1 differ" in line
    assert "petvr data check msvd names what differs" in step
    data("freeze", "--accept")
    video(project, "a2").write_bytes(b"it is back")
    (project / "locks" / "msvd.json").unlink()
    assert "petvr data check msvd: files changed since" in status(data)[1]


def test_what_a_download_could_not_bring_keeps_its_reason(project, data):
    for name in ("a1", "a2"):
        video(project, name).unlink()
    told = {
        "a1": {"status": "missing_permanent", "reason": "private video"},
        "a2": {"status": "missing_deferred", "reason": "HTTP 503"},
        "a3": {"status": "missing_permanent", "reason": "but it is there"},
    }
    (project / "data" / "msvd" / "missing.json").write_text(json.dumps({"format": 1, "videos": told}))
    _, out, _ = data("msvd")
    assert "train: 1 of 3 videos (1 not downloaded yet: a2, 1 removed: a1)" in out
    found = rows(project, "train")
    assert (found["a1"]["reason"], found["a3"]["status"]) == ("private video", "ok")
    assert "petvr download msvd tries 1 videos again" in status(data)[1]
