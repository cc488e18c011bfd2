"""Damage of every kind to files of every kind: `petvr videos` and `petvr frames` say the same, whichever frames are
wanted, and what they take shows the numbers it should or comes with a note."""

import frames_zoo as zoo
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from petvr.data.frames import decode
from petvr.data.frames.check import check_video
from petvr.data.frames.decode import read_frames
from petvr.data.frames.probe import Probe, Unreadable
from petvr.data.frames.samplers import SAMPLERS, pick

FRAMES = 40
NAMES = sorted(set(zoo.CONTAINERS) - {"av1.mp4"})  # slow to write
TELLS = {name for name, made in zoo.CONTAINERS.items() if made["codec"] == "libx264"}  # others have no way to know all


def flip(data, at, size):
    data[at] ^= 1 << size % 8
    return data


def zeros(data, at, size):
    data[at : at + size] = bytes(len(data[at : at + size]))
    return data


def cut(data, at, size):
    return data[: at + 1]


def drop(data, at, size):
    return data[:at] + data[at + size :]


def splice(data, at, size):
    return data[: at + 10 * size] + data[at:]


def header(data, at, size):
    data[at % min(len(data), 600)] = size % 256
    return data


def table(data, at, size):
    """Of an MP4, where its table of contents lies."""
    start = max(data.find(b"moov"), 0)
    data[start + at % (len(data) - start)] = size % 256
    return data


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return {
        name: zoo.write(folder / name, **{"frames": FRAMES, "size": (64, 64), **zoo.CONTAINERS[name]}) for name in NAMES
    }


def answer(path, sampler, count=4):
    try:
        return read_frames(path, lambda n, fps: pick(sampler, n_frames=n, fps=fps, frames=count))
    except Unreadable as error:
        return error.reason


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    damage=st.sampled_from([flip, zeros, cut, drop, splice, header, table]),
    at=st.floats(0, 0.999),
    size=st.integers(1, 300),
)
def test_both_commands_agree(originals, tmp_path, name, damage, at, size):
    data = bytearray(originals[name].read_bytes())
    path = tmp_path / name
    path.write_bytes(damage(data, int(at * len(data)), size))
    answers = [answer(path, sampler) for sampler in SAMPLERS]
    try:
        found = check_video(path)
    except Unreadable as error:
        assert {found if isinstance(found, str) else "taken" for found in answers} == {error.reason}
        return
    for taken in answers:
        assert not isinstance(taken, str), (taken, found.note)
        assert taken.n_frames == found.n_frames
        shown = [zoo.read(picture) for picture in taken.pixels]
        if name in TELLS and damage is flip:
            assert shown == taken.indices.tolist() or taken.note


@pytest.mark.parametrize("name", NAMES)
def test_what_every_store_takes_is_usable_to_the_other_command_too(tmp_path, name):
    """Also where decord's random access is wrong, as at the end of some files with open groups of pictures."""
    path = zoo.write(tmp_path / name, **{"frames": 60, "size": (64, 64), **zoo.CONTAINERS[name]})
    assert check_video(path).n_frames == 60 == answer(path, "uniform_mid").n_frames


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "pyramid.mp4", "h264.flv"])
@pytest.mark.parametrize("seed", range(6))
def test_no_flipped_bit_that_a_decoder_notices_is_taken(originals, tmp_path, name, seed, monkeypatch):
    """An independent look: FFmpeg's own marks on every frame of the file. Also where decord may read."""
    import av

    data = bytearray(originals[name].read_bytes())
    at = int(np.random.default_rng(seed).uniform(0.1, 0.6) * len(data))
    (path := tmp_path / name).write_bytes(flip(data, at, seed))
    try:
        with av.open(str(path)) as container:
            marked = any(frame.is_corrupt for frame in container.decode(video=0))
    except av.error.FFmpegError:
        marked = True
    whole = answer(path, "linspace_all", FRAMES)
    assert isinstance(whole, str) or not marked
    monkeypatch.setattr(Probe, "read_whole", False)
    monkeypatch.setattr(decode, "SPARSE", 9)
    assert isinstance(answer(path, "linspace_all", FRAMES), str) == isinstance(whole, str)


def damaged_group(original, path, key, monkeypatch):
    """The file with the keyframe at index `key` damaged; every file counts as a long one."""
    import av

    monkeypatch.setattr(Probe, "read_whole", False)
    with av.open(str(original)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(original.read_bytes())
    at = data.index(packets[key]) + len(packets[key]) // 3
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    return path


def test_of_a_long_file_the_groups_of_pictures_that_are_touched_are_asked(originals, tmp_path, monkeypatch):
    pytest.importorskip("decord")
    long = zoo.write(tmp_path / "long.mp4", codec="libx264", frames=200, gop=10, options={"x264-params": "scenecut=0"})
    path = damaged_group(long, tmp_path / "hurt.mp4", 50, monkeypatch)
    sound = [0, 42, 61, 130, 199]
    taken = read_frames(path, lambda n, fps: np.array(sound))
    assert [zoo.read(picture) for picture in taken.pixels] == sound and taken.decoder.startswith("decord")
    for near in (51, 59):  # in the group of the damaged keyframe, whatever else is wanted
        with pytest.raises(Unreadable, match="damaged at frame 50 of 200"):
            read_frames(path, lambda n, fps, near=near: np.array([0, near, 199]))
    found = check_video(path)
    assert "damaged at frame 50 of 200" in found.note and "leaves the video out" in found.note
