"""Windows are right to the frame: DiDeMo's first 31 seconds, VATEX' ten seconds of a long video, at any frame rate."""

from fractions import Fraction

import frames_zoo as zoo
import numpy as np
import pytest

from petvr.data.frames.decode import read_frames
from petvr.data.frames.samplers import SAMPLERS, pick
from petvr.data.frames.store import FrameStore, VideoItem, build_store
from petvr.data.frames.timeline import frame_range
from petvr.errors import PetvrError

NTSC, FILM = Fraction(30000, 1001), Fraction(24000, 1001)
X264 = {"codec": "libx264", "b_frames": 2, "size": (64, 64)}
SKIP = tuple(range(5, 60, 3))
VIDEOS = {  # how the file is made; frames are 120 where nothing else is said
    "25.mp4": X264,
    "ntsc.mp4": {**X264, "fps": NTSC},
    "film.mp4": {**X264, "fps": FILM},
    "ntsc.mkv": {**X264, "fps": NTSC},  # times in whole milliseconds
    "ntsc.flv": {**X264, "fps": NTSC},
    "ntsc_xvid.avi": {"codec": "mpeg4", "b_frames": 2, "fps": NTSC, "size": (64, 64)},
    "ntsc_h264.avi": {**X264, "fps": NTSC},
    "ntsc.mpg": {"codec": "mpeg2video", "b_frames": 2, "fps": NTSC, "size": (64, 64)},
    "film.wmv": {"codec": "wmv2", "fps": FILM, "size": (64, 64)},
    "film.webm": {"codec": "libvpx", "fps": FILM, "options": zoo.VPX, "size": (64, 64)},
    "ntsc.ts": {**X264, "fps": NTSC, "format": "mpegts"},
    "variable.mp4": {**X264, "skip": SKIP},
    "variable.mkv": {**X264, "skip": SKIP},
    "variable.wmv": {"codec": "wmv2", "skip": SKIP, "size": (64, 64)},
    "variable.webm": {"codec": "libvpx", "options": zoo.VPX, "skip": SKIP, "size": (64, 64)},
    "variable.ts": {**X264, "format": "mpegts", "skip": SKIP},
    "left_out.avi": {"codec": "mpeg4", "skip": SKIP, "size": (64, 64)},
    "no_edit_list.mp4": {**X264, "audio": True, "mux": {"use_editlist": "0"}},  # starts two frames late, by the muxer
    "late.mp4": {**X264, "audio": True, "delay": 12},
    "late.mkv": {**X264, "audio": True, "delay": 12},
    "late_alone.mp4": {**X264, "delay": 12},  # nothing plays before the picture: it is second 0
    "late_alone.ts": {**X264, "delay": 12, "format": "mpegts"},
}
FRAMES = 120


def times(made):
    """Seconds of each frame from the beginning of the file, by how it was written."""
    stamps, stamp = [], 0
    for _ in range(made.get("frames", FRAMES)):
        while stamp in made.get("skip", ()):
            stamp += 1
        stamps.append(stamp)
        stamp += 1
    late = made.get("delay", 0) if made.get("audio") else 0
    return [float((stamp + late) / Fraction(made.get("fps", 25))) for stamp in stamps]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("windows")


def file(folder, name, **more):
    path = folder / name
    return path if path.exists() else zoo.write(path, **{"frames": FRAMES, **VIDEOS.get(name, {}), **more})


def everything(n_frames, fps):
    return np.arange(n_frames)


@pytest.mark.slow
@pytest.mark.parametrize("window", [(0.0, 2.0), (1.0, 2.0), (0.95, 3.33), (2.0, 100.0)])
@pytest.mark.parametrize("name", VIDEOS)
def test_exactly_the_frames_shown_in_the_window(folder, name, window):
    shown = times(VIDEOS[name])
    expected = [i for i, time in enumerate(shown) if window[0] - 1e-3 <= time <= window[1] + 1e-3]
    found = read_frames(file(folder, name), everything, window=window)
    assert [zoo.read(picture) for picture in found.pixels] == expected == found.indices.tolist(), found.note
    assert found.n_frames == FRAMES
    assert ("its window at 100 s" in found.note) == (window[1] == 100)


@pytest.mark.slow
@pytest.mark.parametrize("fps", [25, NTSC, FILM])
def test_ten_seconds_of_a_long_video(tmp_path, fps):
    """One frame a second, 40 s into the file: at 29.97 counting int(fps) frames a second would begin at 38.7 s."""
    frames = 52 * round(float(fps))
    options = {"preset": "ultrafast"}
    path = zoo.write(tmp_path / "a.mp4", codec="libx264", frames=frames, fps=fps, size=(32, 32), options=options)
    rate = float(Fraction(fps))
    start = next(i for i in range(frames) if i / rate >= 40)
    items = [VideoItem("clip", path, (40.0, 50.0)), VideoItem("all", path)]
    for sampler, step in (("c4c_1fps_int", int(rate)), ("round_1fps", round(rate))):
        build_store(items, tmp_path / sampler, sampler=sampler, frames=12, size=32, workers=1, progress=False)
        store = FrameStore(tmp_path / sampler)
        pixels, mask = store.get(["clip"])
        numbers = [zoo.read(picture.transpose(1, 2, 0)) for picture in pixels[0][mask[0]]]
        expected = [start + step * second for second in range(11) if (start + step * second) / rate <= 50]
        assert numbers == expected and len(numbers) in (10, 11)
        assert store.records["clip"].indices == tuple(expected)


def test_didemo_is_the_loop_of_clip4clip(tmp_path):
    """Its window begins at 0, where the loop's frame `second * int(fps)`, second 0 to 31, is what it always was."""
    path = zoo.write(tmp_path / "a.avi", codec="mpeg4", b_frames=2, frames=34 * 30, fps=NTSC, size=(32, 32))
    found = read_frames(
        path, lambda n, fps: pick("c4c_1fps_int", n_frames=n, fps=fps, frames=64, seconds=31), window=(0, 31)
    )
    assert [zoo.read(picture) for picture in found.pixels] == [second * 29 for second in range(32)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_window_is_sampled_as_the_same_frames_in_a_file_of_their_own(folder, sampler):
    """Cut [1 s, 3 s] out of a 25 fps video: frames 25 to 75."""
    alone = file(folder, "alone.mp4", codec="libx264", size=(64, 64), frames=51, first=25)

    def named(n, fps):
        return pick(sampler, n_frames=n, fps=fps, frames=5)

    window = read_frames(file(folder, "25.mp4"), named, window=(1.0, 3.0))
    whole = read_frames(alone, named)
    assert [zoo.read(p) for p in window.pixels] == [zoo.read(p) for p in whole.pixels] == window.indices.tolist()


@pytest.mark.parametrize("to", ["mp4", "mkv"])
def test_second_0_of_a_cut_file_is_its_first_picture_shown(folder, tmp_path, to):
    """An edit list hides the pictures from the keyframe to the cut; Matroska has none and shows them."""
    path = zoo.cut(file(folder, "25.mp4"), tmp_path / f"cut.{to}", 1.5)
    whole = read_frames(path, everything)
    first = zoo.read(whole.pixels[0])
    assert first == FRAMES - whole.n_frames and (first == 38 if to == "mp4" else first <= 38)
    found = read_frames(path, everything, window=(1.0, 2.0))
    assert [zoo.read(picture) for picture in found.pixels] == [first + index for index in range(25, 51)]


def test_a_window_in_which_nothing_is_shown_is_a_problem(folder, tmp_path):
    items = [
        VideoItem("in", file(folder, "25.mp4"), (1.0, 3.0)),
        VideoItem("after", file(folder, "25.mp4"), (60.0, 90.0)),
    ]
    report = build_store(items, tmp_path / "s", sampler="uniform_mid", frames=4, size=32, workers=1, progress=False)
    assert report.problems == {"after": "no frame between 60 s and 90 s; it shows 0.00 s to 4.76 s"}
    with pytest.raises(PetvrError, match="must be 0 <= start <= end"):
        read_frames(file(folder, "25.mp4"), everything, window=(5.0, 2.0))


def test_times_are_rounded_by_containers_and_windows_forgive_it():
    times = [0.0, 0.5, 0.9995, 1.5, 2.0004, 2.002]
    assert frame_range("a", times, (1.0, 2.0)) == (2, 5)
    assert frame_range("a", times, (0.4, 0.5)) == (1, 2)
    assert frame_range("a", times, None) == (0, 6)
