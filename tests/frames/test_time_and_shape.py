"""Rates and lengths from time stamps; turned, mirrored, stretched and bright pictures; files of odd structure."""

import os
import socket

import frames_zoo as zoo
import numpy as np
import pytest

from petvr.data.frames import declared_length
from petvr.data.frames.build import VideoItem, decode_item
from petvr.data.frames.check import check_video
from petvr.data.frames.decode import read_frames
from petvr.data.frames.probe import Unreadable, probe
from petvr.data.frames.samplers import SAMPLERS, pick
from petvr.data.frames.store import FrameStore, build_store
from petvr.data.frames.transcode import transcode

X264 = {"codec": "libx264", "b_frames": 2, "size": (64, 64)}
SCREEN = tuple(number for number in range(300) if number % 30 > 3 and number > 40)  # still pictures but for bursts


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """A recording of a screen: 60 frames in some ten seconds, most of them in its first one and a half."""
    return zoo.write(
        tmp_path_factory.mktemp("time") / "screen.mp4",
        **X264 | {"b_frames": 0},
        options={"bf": "0"},
        frames=60,
        skip=SCREEN,
    )


def all_of(n_frames, fps):
    return np.arange(n_frames)


def test_the_rate_of_a_variable_file_is_the_average(screen):
    facts = probe(screen)
    times = facts.times()
    length = facts.ends(times)[-1]
    assert length == pytest.approx(times[-1] + 0.04) and length > 6
    assert facts.fps == round(60 / length, 2) and facts.fps < 10
    assert check_video(screen).seconds == pytest.approx(length)


@pytest.mark.parametrize("ending", ["mkv", "mov", "flv"])
def test_a_variable_file_gives_the_same_frames_in_every_container(screen, tmp_path, ending):
    other = zoo.remux(screen, tmp_path / f"screen.{ending}")
    assert probe(other).fps == pytest.approx(probe(screen).fps, abs=0.011)
    for sampler in SAMPLERS:
        one, two = (
            read_frames(path, lambda n, fps, s=sampler: pick(s, n_frames=n, fps=fps, frames=8))
            for path in (screen, other)
        )
        assert one.indices.tolist() == two.indices.tolist() and np.array_equal(one.pixels, two.pixels)
        assert np.allclose(one.ends, two.ends, atol=0.0011)


def test_b_frames_change_nothing_about_that(tmp_path):
    """Their packets lie in another order than they are shown in, and Matroska announces a later end because of it."""
    one = zoo.write(tmp_path / "a.mp4", **X264, frames=60, skip=SCREEN)
    two = zoo.remux(one, tmp_path / "a.mkv")
    assert probe(one).fps == probe(two).fps and check_video(two).seconds == pytest.approx(check_video(one).seconds)


@pytest.mark.parametrize(
    "fps", [8, zoo.Fraction(24000, 1001), 25, zoo.Fraction(30000, 1001), 30, zoo.Fraction(60000, 1001)]
)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "flv"])
def test_a_constant_rate_is_the_announced_one_whatever_the_clock(tmp_path, fps, ending):
    path = zoo.write(tmp_path / f"a.{ending}", **X264, frames=90, fps=fps)
    assert probe(path).fps == pytest.approx(float(fps), rel=2e-5)
    assert int(probe(path).fps) == int(fps) and probe(path).ends(probe(path).times())[-1] == pytest.approx(
        90 / fps, abs=0.002
    )


def test_an_even_row_by_hand():
    assert declared_length.is_even(np.array([0.0, 0.033, 0.067, 0.1]), 30, 0.001)
    assert not declared_length.is_even(np.array([0.0, 0.033, 0.1, 0.133]), 30, 0.001)  # one frame is left out


def test_the_store_and_the_manifest_know_how_long_a_video_is(screen, tmp_path):
    facts, _ = decode_item(VideoItem("a", screen), "uniform_mid", 4, 32, True)
    assert facts["seconds"] == pytest.approx(check_video(screen).seconds) != pytest.approx(60 / 25)
    build_store(
        [VideoItem("a", screen)], tmp_path / "s", sampler="uniform_mid", frames=4, size=32, workers=1, progress=False
    )
    assert FrameStore(tmp_path / "s").records["a"].seconds == facts["seconds"]


def test_transcoding_keeps_the_ratio_of_the_picture(tmp_path):
    wide = zoo.write(tmp_path / "wide.mp4", **X264, frames=20, aspect=zoo.Fraction(64, 45))
    assert "pixels of 64:45" in check_video(wide).note
    transcode(wide, tmp_path / "clean.mp4")
    assert probe(tmp_path / "clean.mp4").aspect == zoo.Fraction(64, 45)
    turned = zoo.rotate(wide, tmp_path / "turned.mp4", 90)
    transcode(turned, tmp_path / "clean.mp4")
    assert probe(tmp_path / "clean.mp4").aspect == zoo.Fraction(45, 64), "upright pictures: what was wide is high"


@pytest.mark.parametrize("hflip, degrees", [(True, 0), (True, 90), (True, 180)])
def test_a_mirrored_picture_is_noted_and_stays_mirrored_when_transcoded(tmp_path, hflip, degrees):
    path = zoo.write(tmp_path / "a.mp4", **{**X264, "size": (96, 64)}, frames=20, mirror=(degrees, hflip))
    for file in (path, transcoded(path, tmp_path / "clean.mp4")):
        found = read_frames(file, all_of)
        assert "mirrored" in found.note and "mirrored" in check_video(file).note
        assert matrix_of(file) == matrix_of(path)
    before, after = read_frames(path, all_of).pixels.astype(int), found.pixels
    assert before.shape == after.shape and np.abs(before - after).mean() < 12


def transcoded(path, target):
    transcode(path, target)
    return target


def matrix_of(path):
    from petvr.data.frames.probe import open_video
    from petvr.data.frames.sequential_decode import display_matrix

    with open_video(path) as container:
        return display_matrix(next(container.decode(video=0)))


def test_bright_pictures_are_noted(tmp_path):
    path = zoo.write(
        tmp_path / "hdr.mp4", **X264, frames=5, options={"x264-params": "transfer=smpte2084:log-level=none"}
    )
    assert "HDR" in check_video(path).note and "HDR" in read_frames(path, all_of).note


def test_pictures_and_sounds_beside_the_video_change_nothing(tmp_path):
    """Sound that goes on for seconds, and a cover picture before the video's own stream."""
    import av

    plain = zoo.write(tmp_path / "plain.mp4", **X264, frames=30)
    long = tmp_path / "sound.mp4"
    with av.open(str(plain)) as taken, av.open(str(long), "w") as container:
        copy = container.add_stream_from_template(taken.streams.video[0])
        sound = container.add_stream("aac", rate=44100)
        for packet in taken.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
        zoo._silence(container, sound, 5)
    found = check_video(long)
    assert (found.n_frames, found.fps, found.seconds) == (30, 25, pytest.approx(1.2))
    assert np.array_equal(read_frames(long, all_of).pixels, read_frames(plain, all_of).pixels)


def test_what_is_no_file_of_bytes_is_told_and_nothing_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket.mp4"))
    sound = zoo.write(tmp_path / "sound.mp4", **X264, frames=10)
    kinds = {
        "pipe": "a pipe",
        "device": "a device",
        "folder": "a folder",
        "socket": "a socket",
        "dangling": "no such file",
    }
    for name, kind in kinds.items():
        for read in (check_video, probe):
            with pytest.raises(Unreadable, match=kind):
                read(tmp_path / f"{name}.mp4")
    items = [VideoItem(name, tmp_path / f"{name}.mp4") for name in kinds] + [VideoItem("sound", sound)]
    report = build_store(items, tmp_path / "s", sampler="uniform_mid", frames=2, size=32, workers=1, progress=False)
    assert report.problems.keys() == kinds.keys() and report.decoded == 1
