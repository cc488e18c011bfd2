"""Checking a file as the pipeline reads it, and writing anew what decord misreads."""

import os

import frames_zoo as zoo
import numpy as np
import pytest

from petvr import cli
from petvr.commands import videos
from petvr.data.frames import check as check_module
from petvr.data.frames.check import check_video
from petvr.data.frames.decode import decode_frames, read_frames
from petvr.data.frames.probe import Unreadable, probe
from petvr.data.frames.transcode import transcode

FRAMES = 80
MISREAD = ["xvid_b.avi", "h264.avi", "mpeg2.mpg", "wmv2.wmv", "mpeg4_b.mov", "av1.mp4", "h264.ts", "h265.mp4"]
CLEAR = ["h264.mp4", "odd.mp4", "vp9.webm"]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transcode")

    def file(name, **more):
        path = folder / name
        made = {"frames": FRAMES, "size": (64, 64), **zoo.CONTAINERS.get(name, zoo.X264), **more}
        return path if path.exists() else zoo.write(path, **made)

    return file


def by_decord(path, indices):
    decord = pytest.importorskip("decord")
    pictures = decord.VideoReader(str(path), num_threads=1).get_batch(list(indices)).asnumpy()
    return [zoo.read(picture) for picture in pictures]


@pytest.mark.parametrize("name", [*MISREAD, *CLEAR, "variable.mp4", "left_out.avi"])
def test_decord_itself_reads_what_was_written_anew(make, tmp_path, name):
    """No comparison with PyAV here: decord alone, out of order."""
    target = tmp_path / "clean.mp4"
    assert transcode(make(name), target) == FRAMES
    wanted = np.random.default_rng(0).permutation(FRAMES)[:28]
    assert by_decord(target, wanted) == wanted.tolist()
    before, after = probe(make(name)), probe(target)
    assert after.against_decord() is None and after.codec == "h264" and after.n_frames == FRAMES
    assert after.fps == pytest.approx(before.fps) and list(tmp_path.iterdir()) == [target]
    assert len(after.keys) >= FRAMES // 25  # a keyframe a second, so that no frame is far from one


def test_times_and_the_picture_survive(make, tmp_path):
    target = tmp_path / "clean.mp4"
    for name in ("variable.mp4", "left_out.avi", "mpeg2.mpg"):
        transcode(make(name), target)
        window = (1.0, 2.2)
        before, after = (read_frames(path, lambda n, fps: np.arange(n), window=window) for path in (make(name), target))
        assert [zoo.read(p) for p in after.pixels] == [zoo.read(p) for p in before.pixels]
        assert np.abs(before.pixels.astype(int) - after.pixels).mean() < 12


def test_a_turned_video_is_written_upright(make, tmp_path):
    turned = zoo.rotate(make("h264.mp4", size=(96, 64)), tmp_path / "turned.mp4", 90)
    transcode(turned, tmp_path / "clean.mp4")
    upright = decode_frames(tmp_path / "clean.mp4", [5, 40])
    assert upright.shape[1:3] == decode_frames(turned, [5, 40]).shape[1:3]
    assert [zoo.read(p) for p in np.rot90(upright, 1, axes=(1, 2))] == [5, 40]


def test_nothing_is_written_of_what_cannot_be_read_to_its_end(make, tmp_path):
    data = bytearray(make("h264.avi").read_bytes())
    place = len(data) * 8 // 10  # behind the padding of the header
    data[place : place + 300] = bytes(300)
    (tmp_path / "hurt.avi").write_bytes(data)
    (tmp_path / "out").mkdir()
    with pytest.raises(Unreadable, match=r"damaged|truncated"):
        transcode(tmp_path / "hurt.avi", tmp_path / "out" / "clean.mp4")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_result_that_does_not_agree_is_thrown_away(make, tmp_path, monkeypatch):
    """Were frames lost on the way, the file would not be kept."""
    from petvr.data.frames import transcode as module

    half = make("half.mp4", frames=40).read_bytes()
    monkeypatch.setattr(module, "_write", lambda facts, times, part: part.write_bytes(half))
    with pytest.raises(Unreadable, match="transcoding failed: 40 frames of 80"):
        transcode(make("xvid_b.avi"), tmp_path / "clean.mp4")
    assert list(tmp_path.iterdir()) == []


def test_what_a_check_says(make):
    found = check_video(make("xvid_b.avi"))
    assert (found.container, found.codec, found.width, found.height) == ("avi", "mpeg4", 64, 64)
    assert (found.fps, found.n_frames, found.seconds) == (25, FRAMES, 3.2)
    assert found.against_decord == "avi container" and found.note == ""
    found = check_video(make("h264.mp4"), window=(1.0, 2.0), seconds=1.0)
    assert found.n_frames == 26 and found.against_decord == ""
    with pytest.raises(Unreadable, match=r"lasts 3.20 s, should last 10.00 s"):
        check_video(make("h264.mp4"), seconds=10)
    with pytest.raises(Unreadable, match="no frame between 9 s and 19 s"):
        check_video(make("h264.mp4"), window=(9, 19))


def test_random_access_that_differs_is_told(make, monkeypatch):
    """Should decord slip through all that keeps it from a file, the check still compares it with reading in order; the
    store reads in order, so that this is no reason to refuse the file."""

    def drifting(facts, indices):
        return dict(zip(indices, decode_frames(facts.path, np.maximum(np.array(indices) - 1, 0)), strict=True)), ""

    monkeypatch.setattr(check_module.decode, "read_by_decord", drifting)
    assert "another picture than reading in order at frame 11" in check_video(make("h264.mp4")).against_decord


@pytest.mark.slow
def test_the_command(make, tmp_path, capsys, monkeypatch):
    (tmp_path / "config.yaml").write_text((zoo.Path(__file__).parents[2] / "config.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    folder, target = tmp_path / "clips", tmp_path / "clean"
    folder.mkdir()
    for name in ("h264.mp4", "xvid_b.avi"):
        (folder / name).write_bytes(make(name).read_bytes())
    assert cli.main(["videos", str(folder), "--transcode", str(target), "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "xvid_b.avi: avi mpeg4 64x64, 80 frames, 25.000 fps, 3.20 s, not by decord (avi container)" in out
    assert (target / "h264.mp4").is_symlink() and by_decord(target / "xvid_b.mp4", [0, 41, 79]) == [0, 41, 79]
    (folder / "page.mp4").write_text("<html>")
    assert cli.main(["videos", str(folder), "--only-bad", "--workers", "1"]) == 1
    out, told = capsys.readouterr()
    assert "page.mp4: cannot be used: an HTML page" in out and "h264.mp4" not in out and "3 files, 1 cannot" in told
    assert cli.main(["videos", str(folder), "--transcode", str(folder)]) == 2
    (folder / "h264.avi").write_bytes(b"x")
    assert cli.main(["videos", str(folder), "--transcode", str(target)]) == 2
    assert "would get the same name" in capsys.readouterr().err


def die_with_decord(file, target, use_decord=True):
    if use_decord:
        os.abort()  # as decord does within its own code at some damaged files
    return "read", True


@pytest.mark.slow
def test_a_decoder_that_dies_costs_the_command_no_video(make, tmp_path, capsys, monkeypatch):
    (tmp_path / "config.yaml").write_text((zoo.Path(__file__).parents[2] / "config.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(videos, "look", die_with_decord)
    assert cli.main(["videos", str(make("h264.mp4")), "--workers", "1"]) == 0
    assert capsys.readouterr().out == f"{make('h264.mp4')}: read\n"
