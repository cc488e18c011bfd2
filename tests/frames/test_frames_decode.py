"""Every frame shows its number: whatever the container, the frame asked for is the frame that comes."""

from fractions import Fraction

import frames_zoo as zoo
import numpy as np
import pytest

from petvr.data.frames import decode as decode_module
from petvr.data.frames.decode import decode_frames, read_frames
from petvr.data.frames.probe import Unreadable, probe
from petvr.errors import PetvrError

B = {"b_frames": 2}
ZOO = {
    "h264.mp4": {"codec": "libx264", **B},
    "h264_sound.mp4": {"codec": "libx264", "audio": True, **B},
    "h264_held_back.mp4": {"codec": "libx264", "gop": 48, "options": {"preset": "veryfast", "threads": "1"}},
    "h264_one_keyframe.mp4": {"codec": "libx264", "gop": 250},
    "h264_open_gop.mp4": {"codec": "libx264", "options": {"x264-params": "open-gop=1:log-level=none"}, **B},
    "h264_ntsc.mp4": {"codec": "libx264", "fps": Fraction(30000, 1001), **B},
    "h264_variable.mp4": {"codec": "libx264", "skip": tuple(range(5, 60, 3)), **B},
    "h264.mkv": {"codec": "libx264", **B},
    "h264.avi": {"codec": "libx264", **B},
    "h264.ts": {"codec": "libx264", "format": "mpegts", **B},
    "h265.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}, **B},
    "av1.mp4": {"codec": "libsvtav1"},
    "mpeg4.mov": {"codec": "mpeg4", **B},
    "mpeg4_b.avi": {"codec": "mpeg4", **B},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg"},
    "mpeg1.mpg": {"codec": "mpeg1video", **B},
    "mpeg2.mpg": {"codec": "mpeg2video", **B},
    "wmv2.wmv": {"codec": "wmv2"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}},
    "flv1.flv": {"codec": "flv"},
}
DECORD = {
    "h264.mp4", "h264_sound.mp4", "h264_held_back.mp4", "h264_one_keyframe.mp4", "h264_ntsc.mp4", "h264_variable.mp4",
    "h264.mkv", "vp9.webm", "flv1.flv",
}  # fmt: skip
FRAMES = 100


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")

    def file(name):
        path = folder / name
        return path if path.exists() else zoo.write(path, frames=FRAMES, **ZOO[name])

    return file


@pytest.fixture
def as_long(monkeypatch):
    """Every file counts as a long one of which few frames are wanted: decord reads it where it may."""
    monkeypatch.setattr("petvr.data.frames.probe.Probe.read_whole", False)
    monkeypatch.setattr(decode_module, "SPARSE", 9)


def numbers(pictures):
    return [zoo.read(picture) for picture in pictures]


@pytest.mark.parametrize("name", ZOO)
def test_the_frame_asked_for_is_the_frame_that_comes(make, name, as_long):
    path = make(name)
    for seed, count in ((0, 12), (1, 40)):
        indices = np.sort(np.random.default_rng(seed).choice(FRAMES, count, replace=False))
        found = read_frames(path, lambda n, fps, indices=indices: indices)
        assert numbers(found.pixels) == indices.tolist()
        assert found.n_frames == FRAMES
        assert found.decoder.startswith("decord" if name in DECORD else "pyav"), found.note
    assert numbers(decode_frames(path, [99, 0, 50, 50])) == [99, 0, 50, 50]


@pytest.mark.parametrize("name", sorted(DECORD))
def test_decord_and_pyav_give_the_same_pixels(make, name, as_long):
    indices = [0, 11, 12, 13, 57, 98, 99]
    pictures = decode_frames(make(name), indices)
    assert pictures.dtype == np.uint8 and pictures.shape == (7, 64, 96, 3)
    assert np.array_equal(pictures, decode_frames(make(name), indices, use_decord=False))


@pytest.mark.parametrize("name", ["mpeg4_b.avi", "h265.mp4", "mpeg1.mpg", "h264.ts"])
def test_a_wrong_frame_from_decord_is_noticed(make, name, monkeypatch, as_long):
    """These are kept from decord; were one of them let through, the comparison with PyAV has to catch it."""
    monkeypatch.setattr("petvr.data.frames.probe.Probe.against_decord", lambda self: None)
    indices = np.sort(np.random.default_rng(3).choice(FRAMES, 30, replace=False))
    found = read_frames(make(name), lambda n, fps: indices)
    assert numbers(found.pixels) == indices.tolist()
    if name != "h265.mp4":  # there decord is right at the three frames that it is asked for
        assert found.decoder.startswith("pyav") and "decord" in found.note


@pytest.mark.parametrize("late", range(3))
def test_one_other_picture_from_decord_and_the_file_is_read_in_order(make, monkeypatch, as_long, late):
    honest = decode_module.read_by_decord

    def drifting(facts, indices):
        pictures, why = honest(facts, indices)
        return pictures | {indices[late]: honest(facts, [indices[late] - 1])[0][indices[late] - 1]}, why

    monkeypatch.setattr(decode_module, "read_by_decord", drifting)
    found = read_frames(make("h264.mp4"), lambda n, fps: np.array([3, 40, 70, 90]))
    assert numbers(found.pixels) == [3, 40, 70, 90]
    assert found.decoder.startswith("pyav") and "do not agree" in found.note


def test_decord_reads_the_last_frames_of_sound_files(tmp_path, as_long):
    """With a low DECORD_EOF_RETRY_MAX it fails now and then on exactly such files."""
    options = {"preset": "veryfast", "threads": "1"}
    path = zoo.write(tmp_path / "a.mp4", codec="libx264", frames=381, fps=10, gop=48, options=options)
    for _ in range(5):
        found = read_frames(path, lambda n, fps: [0, n // 2, n - 1])
        assert found.decoder.startswith("decord"), found.note
        assert numbers(found.pixels) == [0, 190, 380]


def test_without_decord_pyav_does_it(make, monkeypatch, as_long):
    monkeypatch.setattr(decode_module.importlib.util, "find_spec", lambda name: None)
    found = read_frames(make("h264.mp4"), lambda n, fps: np.array([3, 4]))
    assert numbers(found.pixels) == [3, 4] and "not installed" in found.note


def test_facts(make):
    assert probe(make("h264_ntsc.mp4")).fps == pytest.approx(29.97, abs=0.01)
    assert probe(make("h264_variable.mp4")).n_frames == FRAMES
    assert read_frames(make("wmv2.wmv"), lambda n, fps: [n - 1]).n_frames == FRAMES


@pytest.mark.parametrize("source, start", [("h264.mp4", 1.5), ("h264_one_keyframe.mp4", 2.2)])
def test_cut_without_reencoding_shows_only_what_is_presented(make, tmp_path, source, start):
    """decord counts the frames before the cut too, repeats others, or never comes back."""
    path = zoo.cut(make(source), tmp_path / "cut.mp4", start)
    first = round(start * 25)
    found = read_frames(path, lambda n, fps: np.arange(n))
    assert abs(found.n_frames - (FRAMES - first)) <= 1
    shown = numbers(found.pixels)
    assert shown == list(range(FRAMES - found.n_frames, FRAMES))
    assert found.decoder.startswith("pyav") and "never shown" in found.note
    assert numbers(decode_frames(path, [found.n_frames - 1])) == [99]
    with pytest.raises(Unreadable, match=f"frame {found.n_frames} was asked for, it has {found.n_frames}"):
        decode_frames(path, [found.n_frames])


@pytest.mark.parametrize("degrees, turns", [(90, -1), (180, 2), (270, 1)])
def test_rotation_is_respected_by_both_decoders(make, tmp_path, degrees, turns, as_long):
    """`degrees` clockwise in the file; numpy turns counter-clockwise."""
    path = zoo.rotate(make("h264.mp4"), tmp_path / "turned.mp4", degrees)
    upright = np.rot90(decode_frames(make("h264.mp4"), [0, 5, 40]), turns, axes=(1, 2))
    for use_decord in (True, False):
        pictures = decode_frames(path, [0, 5, 40], use_decord=use_decord)
        assert np.array_equal(pictures, upright)
        assert numbers(np.rot90(pictures, -turns, axes=(1, 2))) == [0, 5, 40]


def damaged(path, source, keep):
    path.write_bytes(source.read_bytes()[: int(source.stat().st_size * keep)])
    return path


@pytest.mark.parametrize("name", ["h264.avi", "mpeg4_b.avi", "h264.mkv", "vp9.webm", "wmv2.wmv"])
def test_half_a_file_is_truncated(make, tmp_path, name):
    path = damaged(tmp_path / name, make(name), 0.5)
    with pytest.raises(Unreadable, match=r"truncated: \d+ of (99|100|101) frames|truncated: \d+ of \d+ bytes"):
        decode_frames(path, [0, 1])


@pytest.fixture(scope="module")
def faststart(tmp_path_factory):
    path = tmp_path_factory.mktemp("faststart") / "a.mp4"
    return write_faststart(path)


def write_faststart(path):
    """Table of contents first, as on the web: half of such a file opens without complaint."""
    import av

    plain = zoo.write(path.with_name("plain.mp4"), codec="libx264", frames=FRAMES, b_frames=2, size=(192, 128))
    with av.open(str(plain)) as taken, av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        copy = container.add_stream_from_template(taken.streams.video[0])
        for packet in taken.demux(taken.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                container.mux(packet)
    return path


def test_half_a_faststart_mp4_is_truncated(faststart, tmp_path):
    with pytest.raises(Unreadable, match=r"truncated: \d\d of 100 frames"):
        decode_frames(damaged(tmp_path / "half.mp4", faststart, 0.5), [0])


def test_a_few_missing_frames_at_the_end_are_no_reason_to_lose_the_video(faststart, tmp_path):
    path = damaged(tmp_path / "most.mp4", faststart, 0.98)
    found = read_frames(path, lambda n, fps: np.arange(n))
    assert 90 <= found.n_frames < FRAMES
    assert numbers(found.pixels) == list(range(found.n_frames))


def test_garbage_in_the_middle_never_becomes_a_frame(faststart, tmp_path):
    data = bytearray(faststart.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 8] = bytes(len(data) // 8)
    path = tmp_path / "garbage.mp4"
    path.write_bytes(data)
    with pytest.raises(Unreadable, match="damaged"):
        decode_frames(path, np.arange(FRAMES))
    # what lies before the damage is sound and stays usable, with its right numbers
    assert numbers(decode_frames(path, [0, 10, 20])) == [0, 10, 20]


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.mp4", b"", "empty file"),
        ("a.mp4", b"<!DOCTYPE html><html><body>Quota exceeded</body></html>", "an HTML page saved as a video"),
        ("a.mp4", b"\n  <html>Sign in</html>" + bytes(1000), "an HTML page"),
        ("a.avi", bytes(range(256)) * 40, "not a readable video"),
        ("a.mp4", None, "no such file"),
    ],
)
def test_what_is_no_video_is_told_apart(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Unreadable, match=reason) as caught:
        decode_frames(tmp_path / name, [0])
    assert str(tmp_path / name) in str(caught.value) and isinstance(caught.value, PetvrError)
    assert "\n" not in str(caught.value)


def test_no_moov(make, tmp_path):
    with pytest.raises(Unreadable, match="no moov box"):
        decode_frames(damaged(tmp_path / "a.mp4", make("h264.mp4"), 0.5), [0])


def test_audio_only(tmp_path):
    with pytest.raises(Unreadable, match=r"no video stream \(only audio\)"):
        decode_frames(zoo.write_audio(tmp_path / "a.mp4"), [0])


def test_indices_out_of_range(make):
    with pytest.raises(Unreadable, match="frame 100 was asked for, it has 100"):
        decode_frames(make("h264.mp4"), [5, 100])
    with pytest.raises(Unreadable, match="no frame was asked for"):
        decode_frames(make("h264.mp4"), [])
    with pytest.raises(Unreadable, match="frame -1 was asked for"):
        decode_frames(make("h264.mp4"), [-1])
