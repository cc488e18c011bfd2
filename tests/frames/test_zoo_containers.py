"""Whatever container a video comes in, every sampler gets the frames it named, also through a whole store."""

import frames_zoo as zoo
import numpy as np
import pytest

from petvr.data.frames import preprocess
from petvr.data.frames.decode import read_frames
from petvr.data.frames.samplers import SAMPLERS, pick
from petvr.data.frames.store import FrameStore, VideoItem, build_store

FRAMES = 80  # at 25 a second: seven groups of pictures, three whole seconds
SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("containers")


def made(folder, name):
    path = folder / name
    if path.exists():
        return path
    if name == "packed.avi":
        return zoo.write_packed(path, FRAMES)
    if name == "packed.mkv":
        return zoo.remux(made(folder, "packed.avi"), path)
    return zoo.write(path, **{"frames": FRAMES, "size": (64, 64), **zoo.CONTAINERS[name]})


NAMES = [*zoo.CONTAINERS, "packed.avi", "packed.mkv"]


def small(picture):
    return preprocess.prepare(picture, SIZE)


def numbers(pictures):
    return [zoo.read(picture.transpose(1, 2, 0)) for picture in pictures]


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_gets_the_frames_it_named(folder, name):
    path = made(folder, name)
    for sampler in SAMPLERS:
        found = read_frames(path, lambda n, fps, s=sampler: pick(s, n_frames=n, fps=fps, frames=12), transform=small)
        rate = 20.2 if name in ("variable.mp4", "left_out.avi") else 25  # 80 frames in 3.96 s
        named = pick(sampler, n_frames=FRAMES, fps=rate, frames=12).tolist()
        assert numbers(found.pixels) == found.indices.tolist() == named, (sampler, found.decoder, found.note)
        assert (found.n_frames, found.fps) == (FRAMES, rate)


@pytest.mark.parametrize("name", NAMES)
def test_frames_asked_for_out_of_order_and_at_the_edges(folder, name):
    wanted = np.array([FRAMES - 1, 13, 0, 12, 60, 11, 60])
    found = read_frames(made(folder, name), lambda n, fps: wanted, transform=small)
    assert numbers(found.pixels) == wanted.tolist(), (found.decoder, found.note)


def test_one_frame(tmp_path):
    for name in ("a.mp4", "a.avi", "a.mpg", "a.wmv", "a.webm", "a.mkv"):
        codec = {"avi": "mpeg4", "mpg": "mpeg2video", "wmv": "wmv2", "webm": "libvpx"}.get(name[2:], "libx264")
        path = zoo.write(tmp_path / name, codec=codec, frames=1, first=7)
        for sampler in SAMPLERS:
            found = read_frames(path, lambda n, fps, s=sampler: pick(s, n_frames=n, fps=fps, frames=3))
            assert {zoo.read(picture) for picture in found.pixels} == {7} and found.n_frames == 1
            assert 0 < found.fps <= 60


def test_the_first_of_two_pictures_streams_is_read(tmp_path):
    """decord takes the one it likes best."""
    import av

    one = zoo.write(tmp_path / "one.mp4", codec="libx264", frames=30, size=(64, 64))
    two = zoo.write(tmp_path / "two.mp4", codec="libx264", frames=30, size=(128, 128), first=500)
    path = tmp_path / "both.mp4"
    with av.open(str(one)) as first, av.open(str(two)) as second, av.open(str(path), "w") as container:
        copies = [(f, container.add_stream_from_template(f.streams.video[0])) for f in (first, second)]
        for taken, copy in copies:
            for packet in taken.demux(video=0):
                if packet.dts is not None:
                    packet.stream = copy
                    container.mux(packet)
    found = read_frames(path, lambda n, fps: np.array([0, 15, 29]))
    assert [zoo.read(picture) for picture in found.pixels] == [0, 15, 29]


def test_a_title_in_another_encoding_is_no_reason_to_lose_the_video(tmp_path):
    path = zoo.write(tmp_path / "a.avi", codec="mpeg4", frames=10, title=b"un cafe noir")
    path.write_bytes(path.read_bytes().replace(b"un cafe noir", b"un caf\xe9 noir"))
    assert zoo.read(read_frames(path, lambda n, fps: np.array([4])).pixels[0]) == 4


def test_a_duration_that_is_no_time_is_no_reason_to_lose_the_video(tmp_path):
    path = zoo.write(tmp_path / "a.mkv", codec="libx264", frames=10)
    assert b"00:00:00.4" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"00:00:00.4", b"00:0x:00.4"))
    assert zoo.read(read_frames(path, lambda n, fps: np.array([4])).pixels[0]) == 4


BAD = {
    "page.mp4": b"<!doctype html><title>Sign in</title>",
    "empty.avi": b"",
    "picture.mp4": b"\xff\xd8\xff\xe0" + bytes(500),
    "list.mp4": b"#EXTM3U\n#EXTINF:4,\nh264.mp4\n",
}


@pytest.mark.slow
def test_the_zoo_in_a_store(folder, tmp_path):
    """One build over everything, as the workflow makes it: right numbers, or a reason."""
    items = [VideoItem(name, made(folder, name)) for name in NAMES]
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
        items.append(VideoItem(name, tmp_path / name))
    half = tmp_path / "half.avi"
    whole = made(folder, "xvid_b.avi").read_bytes()
    half.write_bytes(whole[: len(whole) * 7 // 10])
    items += [VideoItem("half.avi", half), VideoItem("sound.mp4", zoo.write_audio(tmp_path / "sound.mp4"))]
    report = build_store(items, tmp_path / "s", sampler="linspace_all", frames=8, size=SIZE, workers=2, progress=False)
    assert report.problems.keys() == {*BAD, "half.avi", "sound.mp4"} and report.decoded == len(NAMES)
    assert "truncated" in report.problems["half.avi"] and "a playlist" in report.problems["list.mp4"]
    store = FrameStore(tmp_path / "s")
    for name in NAMES:
        pixels, mask = store.get([name])
        assert mask.all() and numbers(pixels[0]) == [0, 11, 22, 33, 45, 56, 67, 79], name
        assert store.records[name].n_frames == FRAMES
