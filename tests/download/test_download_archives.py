"""Hostile and broken archives: refused with one line, and nothing of them outside or inside the target."""

import os
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_archives import CLIPS, WANTED, attempt, tarred, zipped

from petvr.data.download.archives import Unpacking, UnpackLimits, is_video
from petvr.data.download.failures import DiskFull, MirrorFailed
from petvr.data.download.untar import untar
from petvr.data.download.unzip import unzip


@pytest.fixture
def unpack(tmp_path):
    """Unpack bytes as a zip or as a tar in so many parts; returns what is in the target."""

    def act(data, kind, parts=1, wanted=is_video, **limits):
        target = tmp_path / "outer" / "target"
        order = Unpacking("http://x/a", target, tmp_path / "outer" / "staging", wanted, UnpackLimits(**limits))
        files = []
        step = len(data) // parts + 1
        for number in range(parts):
            files.append(tmp_path / f"archive.{number}")
            files[-1].write_bytes(data[number * step : (number + 1) * step])
        count = unzip(files[0], order) if kind == "zip" else untar(files, order)
        found = {path.name: path.read_bytes() for path in target.iterdir()}
        assert count == len(found) and not order.staging.exists()
        return found

    return act


def outside(tmp_path):
    """Everything that is neither an archive nor in the target or its staging."""
    known = {"archive", "outer", "target", "staging"}
    return [path for path in tmp_path.rglob("*") if path.name.split(".")[0] not in known]


def test_videos_are_laid_flat_and_the_rest_is_left(unpack):
    assert unpack(zipped(CLIPS), "zip") == WANTED


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("parts", [1, 3, 7])
def test_tars_of_any_compression_and_in_any_parts(unpack, mode, parts):
    assert unpack(tarred(CLIPS, mode), "tar", parts) == WANTED


def test_resource_forks_of_a_mac_are_no_videos(unpack):
    members = {**CLIPS, "__MACOSX/video0.mp4": b"fork", "MSRVTT/._video1.avi": b"fork"}
    assert unpack(zipped(members), "zip") == WANTED


ESCAPES = ["../video0.mp4", "a/../../video0.mp4", "/etc/video0.mp4", "a\\..\\video0.mp4", "C:/video0.mp4", "a/\nv.mp4"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused(unpack, tmp_path, kind, name):
    members = [("video1.mp4", b"good"), (name, b"bad")]
    with pytest.raises(MirrorFailed, match=r"http://x/a: member .*(leads out|not safe).*; nothing of it was used"):
        unpack(zipped(members) if kind == "zip" else tarred(members), kind)
    assert not list((tmp_path / "outer" / "target").iterdir()) and outside(tmp_path / "outer" / "target") == []


def special(kind, target="/etc/passwd"):
    info = tarfile.TarInfo("link.mp4")
    info.type, info.linkname = kind, target
    return info


KINDS = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE]


@pytest.mark.parametrize("kind", KINDS)
def test_links_and_devices_are_refused_in_tars(unpack, tmp_path, kind):
    with pytest.raises(MirrorFailed, match="a link, a device or a file with holes"):
        unpack(tarred([("video1.mp4", b"good"), (special(kind), b"")]), "tar")
    assert not list((tmp_path / "outer" / "target").iterdir())


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010666])
def test_links_and_devices_are_refused_in_zips(unpack, mode):
    info = zipfile.ZipInfo("link.mp4")
    info.external_attr = mode << 16
    with pytest.raises(MirrorFailed, match="a link or a device"):
        unpack(zipped([(info, b"/etc/passwd")]), "zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "names", [("a/v.mp4", "a/v.mp4"), ("a/v.mp4", "./a//v.mp4"), ("a/v.mp4", "b/v.mp4"), ("a.txt", "a.txt")]
)
def test_duplicates_are_refused(unpack, kind, names):
    members = [(name, b"x") for name in names]
    with pytest.raises(MirrorFailed, match=r"twice|two files named"):
        unpack(zipped(members) if kind == "zip" else tarred(members), kind)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_bombs_are_refused_before_they_are_written(unpack, tmp_path, kind):
    bomb = {"v.mp4": bytes(40_000_000)}
    data = zipped(bomb) if kind == "zip" else tarred(bomb, "w:gz")
    with pytest.raises(MirrorFailed, match=r"[\d,]+ bytes would become 40,"):
        unpack(data, kind, free_ratio=1_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "outer").rglob("*") if path.is_file()) == 0


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_too_many_members_are_refused(unpack, kind):
    members = {f"{number}.mp4": b"x" for number in range(30)}
    with pytest.raises(MirrorFailed, match="more than 29 members"):
        unpack(zipped(members) if kind == "zip" else tarred(members), kind, members=29)


def test_a_zip_whose_sizes_lie_is_refused(unpack):
    data = bytearray(zipped({"v.mp4": b"x" * 5_000}))
    table = data.rindex(b"PK\x01\x02")
    data[table + 24 : table + 28] = struct.pack("<I", 4_000)
    with pytest.raises(MirrorFailed, match=r"damaged|declares|cut off"):
        unpack(bytes(data), "zip")


def test_an_encrypted_zip_is_refused(unpack):
    data = bytearray(zipped({"v.mp4": b"x"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    with pytest.raises(MirrorFailed, match="encrypted"):
        unpack(bytes(data), "zip")


def test_no_room_is_told_before_writing(unpack, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 4_900})())
    for kind, data in (("zip", zipped(CLIPS)), ("tar", tarred(CLIPS))):
        with pytest.raises(DiskFull, match="are free"):
            unpack(data, kind, spare=0)


def test_an_archive_without_anything_wanted_is_refused(unpack):
    with pytest.raises(MirrorFailed, match="nothing that is wanted among 1 files"):
        unpack(zipped({"README.md": b"text"}), "zip")


PIECE = st.sampled_from(
    ["..", ".", "", "a", "video.mp4", "~", "C:", "con", "é", "\\", "\x00", "\x7f", "-rf", "b" * 300]
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(names=st.lists(st.lists(PIECE, min_size=1, max_size=4).map("/".join), min_size=1, max_size=4))
def test_no_name_leads_anywhere_but_into_the_target(names):
    info = [tarfile.TarInfo(name) for name in names]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        attempt("tar", tarred([(one, b"x") for one in info], "w"), folder)
        written = {Path(where) / name for where, _, files in os.walk(folder) for name in files}
        assert {path.parent for path in written} <= {folder, folder / "target", folder / "staging"}
        assert {path for path in written if path.parent == folder} == {folder / "archive"}


def test_a_killed_call_is_continued_where_it_was(tmp_path, monkeypatch):
    """Members that were finished, still beside the target or already moved there, are not written again."""
    archive = tmp_path / "a.tar"
    archive.write_bytes(tarred({f"{number}.mp4": bytes([number]) * 1_000 for number in range(5)}))
    written = []
    original = Unpacking.write

    def write(self, leaf, size, stream):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(leaf)
        original(self, leaf, size, stream)

    def order():
        return Unpacking("a", tmp_path / "target", tmp_path / "staging", is_video)

    monkeypatch.setattr(Unpacking, "write", write)
    with pytest.raises(KeyboardInterrupt):
        untar([archive], order())
    (tmp_path / "target" / "0.mp4").write_bytes((tmp_path / "staging" / "0.mp4").read_bytes())
    (tmp_path / "staging" / "0.mp4").unlink()  # as if it had been killed while moving
    monkeypatch.setattr(Unpacking, "write", lambda *a: (written.append(a[1]), original(*a))[1])
    assert untar([archive], order()) == 5
    assert written == ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4"]
    for number in range(5):
        assert (tmp_path / "target" / f"{number}.mp4").read_bytes() == bytes([number]) * 1_000
