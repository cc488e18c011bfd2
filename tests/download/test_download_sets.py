"""Whole data sets: mirrors in their order, what is there already, what cannot be had, and what a killed call left."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from rogue import drop, hold, status
from small_set import CLIPS, LIST, NAMES, small
from test_download_archives import tarred, zipped

from petvr.data.datasets.source import DownloadSource, Login, Mirror
from petvr.data.datasets.video_state import VideoState
from petvr.data.download.dataset_folder import DatasetFolder, inspect_source
from petvr.data.download.session import DownloadOptions, DownloadSession
from petvr.data.download.sources import download_sources
from petvr.errors import PetvrError

LOGIN = Login("127.0.0.1", "SMALL_USER", "SMALL_PASSWORD")


@pytest.fixture
def call(tmp_path, retry):
    """`petvr download` on the small set with these sources; returns {key: SourceReport} and keeps the folder."""

    def act(*sources, given=(False, False), root=None, videos=None, **options):
        state = tmp_path / "data" / "small"
        root = root or state
        dataset = small(root, sources, videos)
        act.folder = DatasetFolder("small", [dataset], root, dataset.videos, state, given)
        return {
            one.key: one for one in download_sources(DownloadSession(act.folder, DownloadOptions(**options), retry))
        }

    return act


@pytest.fixture
def annotations(server):
    return DownloadSource("list.txt", "annotations", (Mirror(server.put("/list.txt", LIST)),))


@pytest.fixture
def state(tmp_path):
    """One of the three files that a call leaves."""
    return lambda name: json.loads((tmp_path / "data" / "small" / name).read_text())


def there(folder):
    return {path.name: path.read_bytes() for path in folder.videos.iterdir()}


def statuses(states):
    return {key: one.status for key, one in states.items()}


@pytest.mark.parametrize("kind", ["zip", "tar", "parts"])
@pytest.mark.parametrize("keep", [True, False])
def test_annotations_and_an_archive_of_videos(server, call, annotations, state, kind, keep):
    clips = {f"set/videos/{name}": data for name, data in CLIPS.items()}
    data = gzip.compress(tarred(clips)) if kind == "parts" else tarred(clips) if kind == "tar" else zipped(clips)
    step = len(data) // 3 + 1
    if kind == "parts":
        urls = [server.put(f"/v.tar.gz.0{i}", data[i * step : (i + 1) * step], drop(step // 2)) for i in range(3)]
        mirror = Mirror(urls[0], "tar", tuple(urls[1:]))
    else:
        mirror = Mirror(server.put("/v", data), kind)
    states = call(annotations, DownloadSource("videos", "videos", (mirror,)), archives="keep" if keep else "delete")
    assert statuses(states) == {"list.txt": "brought", "videos": "brought"}
    assert there(call.folder) == CLIPS
    mark = state("download.json")
    assert mark["complete"] and [one["mirror"] for one in mark["sources"]] == [annotations.mirrors[0].url, mirror.url]
    assert state("download.lock.json")["videos"]["videos"]["complete"] is True
    kept = list((call.folder.state / "archives").iterdir()) if keep else []
    assert b"".join(path.read_bytes() for path in sorted(kept)) == (data if keep else b"")
    asked = len(server.seen)
    again = call(annotations, DownloadSource("videos", "videos", (mirror,)))
    assert statuses(again) == statuses(states) and len(server.seen) == asked, "nothing is asked twice"


def test_the_next_mirror_is_asked_and_only_then(server, call, annotations):
    zipfile = zipped(CLIPS)
    hostile = zipped({"../a.mp4": b"x", **CLIPS})
    mirrors = (
        Mirror(server.put("/half.tar.0", tarred(CLIPS)), "tar", (server.url("/half.tar.1"),)),
        Mirror(server.url("/gone.zip"), "zip"),
        Mirror(server.put("/broken.zip", zipfile, *[status(503)] * 9), "zip"),
        Mirror(server.put("/wrong.zip", zipfile), "zip", sha256="00"),
        Mirror(server.put("/hostile.zip", hostile), "zip"),
        Mirror(server.put("/locked.zip", zipfile), "zip", login=LOGIN),
        Mirror(server.put("/good.zip", zipfile), "zip"),
        Mirror(server.put("/spare.zip", zipfile), "zip"),
    )
    states = call(annotations, DownloadSource("videos", "videos", mirrors))
    assert states["videos"].status == "brought" and states["videos"].mirror == mirrors[6].url
    assert there(call.folder) == CLIPS and not server.asked("/spare.zip") and not server.asked("/locked.zip")
    assert not (call.folder.videos / ".download").exists() and not (call.folder.state / "a.mp4").exists()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [((404, 404), "failed"), ((404, 503), "deferred"), ((503, 404), "deferred"), ((401, 404), "gated")],
)
def test_what_no_mirror_gives_is_told_with_every_reason(server, call, state, answers, expected):
    urls = [server.put(f"/{n}", LIST, *[status(code)] * 9) for n, code in enumerate(answers)]
    source = DownloadSource("list.txt", "annotations", tuple(map(Mirror, urls)), by_hand="ask the authors")
    videos = DownloadSource("videos", "videos", (Mirror(server.url("/v.zip"), "zip"),))
    states = call(source, videos)
    report = states["list.txt"]
    assert report.status == expected and all(f"HTTP {code}" in report.reason for code in answers)
    assert "ask the authors" in report.next and ("tries again" in report.next) == (expected == "deferred")
    assert states["videos"].status == "deferred" and "waits for the annotation files" in states["videos"].reason
    assert state("download.json")["complete"] is False and not server.asked("/v.zip")


def test_without_credentials_nothing_is_asked(server, call):
    source = DownloadSource(
        "list.txt", "annotations", (Mirror(server.url("/list.txt"), login=LOGIN),), by_hand="request form"
    )
    states = call(source)
    assert states["list.txt"].status == "gated" and "SMALL_USER" in states["list.txt"].reason and not server.seen
    assert call(DownloadSource("list.txt", "annotations", by_hand="request form"))["list.txt"].next == "request form"


def test_what_is_there_already_is_left_alone(server, call, tmp_path, annotations):
    root = tmp_path / "data" / "small"
    (root / "videos").mkdir(parents=True)
    (root / "list.txt").write_bytes(LIST)
    videos = DownloadSource("videos", "videos", (Mirror(server.put("/v.zip", zipped(CLIPS)), "zip"),))
    for name in NAMES[:2]:
        (root / "videos" / f"{name}.avi").write_bytes(b"mine")
    states = call(annotations, videos)
    assert statuses(states) == {"list.txt": "there", "videos": "partly"} and not server.seen
    assert "2 of 4" in states["videos"].reason and "--fill" in states["videos"].next
    states = call(annotations, videos, fill=True)
    assert states["videos"].status == "brought"
    assert (root / "videos" / "a.avi").read_bytes() == b"mine" and (root / "videos" / "c.mp4").exists()
    for name in NAMES:
        (root / "videos" / f"{name}.mp4").write_bytes(b"mine")
    (root / "download.lock.json").unlink()
    assert statuses(call(annotations, videos)) == {"list.txt": "there", "videos": "there"}


def test_a_path_of_the_user_is_neither_downloaded_to_nor_written(server, call, tmp_path, annotations):
    mine = tmp_path / "mine"
    (mine / "videos").mkdir(parents=True)
    videos = DownloadSource("videos", "videos", (Mirror(server.put("/v.zip", zipped(CLIPS)), "zip"),))
    states = call(annotations, videos, given=(False, True), videos=mine / "videos")
    assert statuses(states) == {"list.txt": "brought", "videos": "failed"}
    assert "no videos there" in states["videos"].reason and "paths.small.videos" in states["videos"].next
    (mine / "videos" / "a.mp4").write_bytes(b"mine")
    states = call(annotations, videos, given=(False, True), videos=mine / "videos")
    assert statuses(states) == {"list.txt": "brought", "videos": "given"}
    states = call(annotations, videos, given=(True, True), root=mine)
    assert statuses(states) == {"list.txt": "failed", "videos": "given"} and "no list.txt" in states["list.txt"].reason
    (mine / "list.txt").write_bytes(LIST)
    assert statuses(call(annotations, videos, given=(True, True), root=mine)) == dict.fromkeys(states, "given")
    assert sorted(path.name for path in mine.rglob("*")) == ["a.mp4", "list.txt", "videos"]
    assert [one.path for one in server.seen] == ["/list.txt"]


def test_an_archive_that_lacks_videos_says_which(server, call, annotations, state):
    some = {name: data for name, data in CLIPS.items() if name != "c.mp4"}
    url = server.put("/v.zip", zipped(some))
    source = DownloadSource("videos", "videos", (Mirror(url, "zip"),))
    states = call(annotations, source)
    assert states["videos"].status == "brought" and "1 videos removed" in states["videos"].reason
    missing = state("missing.json")["videos"]
    assert list(missing) == ["c"]
    assert (missing["c"]["status"], missing["c"]["reason"]) == (VideoState.REMOVED, f"not in {url}")
    (call.folder.videos / "c.mkv").write_bytes(b"found elsewhere")
    call(annotations, source)
    assert state("missing.json")["videos"] == {}
    (call.folder.videos / "a.mp4").unlink()
    assert call(annotations, source)["videos"].status == "brought" and there(call.folder)["a.mp4"] == CLIPS["a.mp4"]


def test_annotation_files_out_of_an_archive(server, call, tmp_path):
    data = zipped({"data/list.txt": LIST, "data/other.txt": b"x", "README.txt": b"y"})
    archived = DownloadSource("list.txt", "annotations", (Mirror(server.put("/l.zip", data), "zip"),))
    assert call(archived)["list.txt"].status == "brought"
    assert sorted(path.name for path in call.folder.root.iterdir() if path.suffix == ".txt") == ["list.txt"]
    (call.folder.root / "list.txt").unlink()
    lacking = server.put("/m.zip", zipped({"data/other.txt": b"x"}))
    report = call(DownloadSource("list.txt", "annotations", (Mirror(lacking, "zip"),)))["list.txt"]
    assert report.status == "failed" and "nothing that is wanted" in report.reason


def test_optional_sources_and_videos_only_where_asked(server, call, annotations):
    more = DownloadSource("more.txt", "annotations", (Mirror(server.put("/more.txt", b"more")),), optional=True)
    videos = DownloadSource("videos", "videos", (Mirror(server.put("/v.zip", zipped(CLIPS)), "zip"),))
    states = call(annotations, more, videos, annotations_only=True)
    assert statuses(states) == {"list.txt": "brought", "more.txt": "absent", "videos": "absent"}
    states = call(annotations, more, videos, optional=True)
    assert set(statuses(states).values()) == {"brought"}


def test_a_folder_that_cannot_be_written_is_named(server, call, annotations, tmp_path):
    (tmp_path / "data").write_text("a file where the folder of data should be")
    with pytest.raises(PetvrError, match=r"data/small: cannot be written"):
        call(annotations)
    (tmp_path / "data").unlink()
    (tmp_path / "data" / "small").mkdir(parents=True)
    (tmp_path / "data" / "small" / "videos").write_text("no folder either")
    report = call(
        annotations, DownloadSource("videos", "videos", (Mirror(server.put("/v.zip", zipped(CLIPS)), "zip"),))
    )
    assert report["videos"].status == "deferred" and "videos" in report["videos"].reason


def test_whoever_has_the_videos_needs_no_list_of_their_addresses(server, call, annotations, links, tmp_path):
    helper = DownloadSource("addresses.txt", "annotations", (Mirror(server.url("/gone.txt")),))
    source = links(*NAMES)
    states = call(annotations, helper, source)
    assert statuses(states) == {"list.txt": "brought", "addresses.txt": "failed", "videos": "brought"}
    assert states["addresses.txt"].optional, "the videos came all the same"
    asked = len(server.seen)
    states = call(annotations, helper, source)
    assert statuses(states) == {"list.txt": "brought", "addresses.txt": "absent", "videos": "brought"}
    assert len(server.seen) == asked
    states = call(annotations, helper, source, given=(True, True))
    assert statuses(states) == {"list.txt": "given", "addresses.txt": "absent", "videos": "given"}
    assert json.loads(call.folder.mark.read_text())["complete"] is True


def test_a_list_of_addresses_that_cannot_be_read_is_the_mirrors_fault(server, call, annotations, links, monkeypatch):
    def broken(self, source):
        raise PetvrError("addresses.txt: line 1 is no address")

    source = links(also=(Mirror(server.put("/v.zip", zipped(CLIPS)), "zip"),))
    monkeypatch.setattr("small_set.Small.links", broken)
    assert call(annotations, source)["videos"].status == "brought" and there(call.folder) == CLIPS


def test_a_changed_file_stops_its_source_before_another_mirror_hides_it(server, call, annotations):
    second = Mirror(server.put("/second", LIST))
    source = DownloadSource("list.txt", "annotations", (*annotations.mirrors, second))
    call(source)
    (call.folder.root / "list.txt").unlink()
    server.files["/list.txt"].body = b"a\nb\nx\ny"
    report = call(source)["list.txt"]
    assert report.status == "changed" and "now sha256" in report.reason and "download.lock.json" in report.reason
    assert not server.asked("/second") and not (call.folder.root / "list.txt").exists()


def test_too_little_room_for_the_archive_and_its_content(server, call, annotations, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 9 * 10**9})())
    source = DownloadSource("videos", "videos", (Mirror(server.put("/v.zip"), "zip"),), about_bytes=5 * 10**9)
    report = call(annotations, source)["videos"]
    assert report.status == "deferred" and "about 10.0 GB are needed" in report.reason and not server.asked("/v.zip")


# one address per video


@pytest.fixture
def links(server, monkeypatch):
    """A source of kind links; `found` are the videos that the mirror has."""

    def act(*found, also=()):
        def addresses(self, source):
            yield "unknown.mp4", server.url("/unknown.mp4")
            for name in NAMES:
                yield f"{name}.mp4", server.url(f"/v/{name}.mp4")

        monkeypatch.setattr("small_set.Small.links", addresses)
        for name in found:
            server.put(f"/v/{name}.mp4", CLIPS[f"{name}.mp4"])
        return DownloadSource("videos", "videos", (Mirror(kind="links"), *also))

    return act


def test_one_address_per_video_and_what_is_gone_or_put_off(server, call, annotations, links, state):
    source = links("a", "b")
    server.put("/v/c.mp4", CLIPS["c.mp4"], *[status(503)] * 4)
    states = call(annotations, source)
    missing = state("missing.json")["videos"]
    assert {name: one["status"] for name, one in missing.items()} == {
        "c": VideoState.RETRY_LATER,
        "d": VideoState.REMOVED,
    }
    assert (
        "HTTP 404" in missing["d"]["reason"] and "HTTP 503" in missing["c"]["reason"] and missing["c"]["attempts"] == 1
    )
    assert states["videos"].status == "partly" and "1 not downloaded yet" in states["videos"].reason
    assert not server.asked("/unknown.mp4"), "what no split needs is not brought"
    asked = len(server.asked("/v/d.mp4"))
    call.folder.done.touch()
    os.utime(call.folder.done, (1, 1))
    states = call(annotations, source)
    assert call.folder.done.stat().st_mtime > 1, "the workflow sees that something came"
    os.utime(call.folder.done, (1, 1))
    call(annotations, source)
    assert call.folder.done.stat().st_mtime == 1, "and that nothing more did"
    assert states["videos"].status == "brought" and there(call.folder) == {k: CLIPS[k] for k in list(CLIPS)[:3]}
    assert list(state("missing.json")["videos"]) == ["d"] and len(server.asked("/v/d.mp4")) == asked
    assert server.asked("/v/a.mp4")[1:] == []


def test_a_list_whose_addresses_are_all_dead_leaves_no_video_for_lost(server, call, annotations, links, state):
    source = links(also=(Mirror(server.put("/v.zip", zipped(CLIPS)), "zip"),))
    states = call(annotations, source)
    assert states["videos"].status == "brought" and there(call.folder) == CLIPS
    assert not (call.folder.state / "missing.json").exists()


def test_pictures_of_two_mirrors_are_not_mixed(server, call, annotations, links):
    """Also where a better mirror stands first meanwhile."""
    source = links("a")
    for name in "bcd":
        server.put(f"/v/{name}.mp4", b"", *[status(500)] * 99)
    assert call(annotations, source)["videos"].status == "partly"
    better = Mirror(server.put("/v.zip", zipped(CLIPS)), "zip")
    states = call(annotations, DownloadSource("videos", "videos", (better, *source.mirrors)))
    assert states["videos"].status == "partly" and not server.asked("/v.zip")
    assert there(call.folder)["a.mp4"] == CLIPS["a.mp4"] and "b.mp4" not in there(call.folder)


# more than one process

CHILD = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from petvr.data.datasets.source import DownloadSource, Mirror
from petvr.data.download.session import DownloadOptions, DownloadSession
from petvr.data.download.sources import download_sources
from petvr.data.download.dataset_folder import DatasetFolder
from small_set import small
root = Path({root!r})
sources = (
    DownloadSource("list.txt", "annotations", (Mirror({base!r} + "/list.txt"),)),
    DownloadSource("videos", "videos", (Mirror({base!r} + "/v.tar", "tar"),)),
)
dataset = small(root, sources)
folder = DatasetFolder("small", [dataset], root, dataset.videos, root)
print([report.status.value for report in download_sources(DownloadSession(folder, DownloadOptions()))])
"""


@pytest.fixture
def child(server, tmp_path):
    server.put("/list.txt", LIST)
    root = tmp_path / "data" / "small"
    code = CHILD.format(path=[os.path.dirname(__file__), *sys.path], root=str(root), base=server.url(""))

    def start():
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    start.part = root / "videos" / ".download" / "videos.000.v.tar.part"
    start.root = root
    return start


def wait_for(path, size, process):
    """Until so much of the file is written, which the process that writes it has to live to see."""
    while not (path.exists() and path.stat().st_size >= size):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_half_and_the_next_one_resumes(server, child):
    data, release = tarred({name: os.urandom(200_000) for name in CLIPS}), threading.Event()
    server.put("/v.tar", data, hold(300_000, release))
    first = child()
    wait_for(child.part, 100_000, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    release.set()
    saved = child.part.stat().st_size
    assert saved < len(data) and sorted(os.listdir(child.root / "videos")) == [".download"]
    assert not (child.root / "download.json").exists()
    out, error = child().communicate()
    assert out.strip() == "['brought', 'brought']", error
    assert server.asked("/v.tar")[1].range == f"bytes={saved}-"
    assert sorted(os.listdir(child.root / "videos")) == list(CLIPS)


@pytest.mark.slow
def test_two_calls_do_not_work_on_one_folder(server, child, call, annotations):
    release = threading.Event()
    server.put("/v.tar", tarred(CLIPS), hold(20_000, release))
    first = child()
    wait_for(child.part, 1, first)
    with pytest.raises(PetvrError, match="another `petvr download` is at work"):
        call(annotations)
    release.set()
    assert first.communicate()[0].strip() == "['brought', 'brought']"
    assert call(annotations)["list.txt"].status == "brought"


def test_looking_asks_nobody_and_writes_nothing(server, tmp_path, annotations):
    root = tmp_path / "data" / "small"
    folder = DatasetFolder("small", [small(root, (annotations,))], root, root / "videos", root)
    assert inspect_source(folder, annotations).status == "absent" and not server.seen and not root.exists()
