"""Eight real MSR-VTT clips: decord and PyAV agree, and the whole way into a store works."""

import importlib.util

import numpy as np
import pytest

from petvr.data.datasets import load_dataset
from petvr.data.frames.check import check_video
from petvr.data.frames.decode import decode_frames, read_frames
from petvr.data.frames.samplers import SAMPLERS, pick
from petvr.data.frames.store import FrameStore, VideoItem, build_store
from petvr.data.frames.transcode import transcode

NOT_SQUARE = "pixels of 1792:1341, pictures are not stretched"  # of seven of them
pytestmark = pytest.mark.slow  # real clips, decoded several times


@pytest.fixture(scope="module")
def clips(real_files):
    folder = real_files / "msrvtt" / "videos"
    found = sorted(folder.glob("*.mp4"))
    if not found:
        pytest.skip(f"no real clips in {folder.name}")
    return found


def test_decord_and_pyav_agree_on_every_sampled_frame(clips, monkeypatch):
    monkeypatch.setattr("petvr.data.frames.probe.SHORT", 0)  # as of long files, by decord
    monkeypatch.setattr("petvr.data.frames.decode.SPARSE", 9)
    used = set()
    for clip in clips:
        for sampler in SAMPLERS:
            found = read_frames(clip, lambda n, fps, s=sampler: pick(s, n_frames=n, fps=fps, frames=12))
            used.add(found.decoder.split()[0])
            same = decode_frames(clip, found.indices, use_decord=False)
            assert np.array_equal(found.pixels, same), (clip.name, sampler)
            assert min(found.pixels.shape[1:3]) >= 224 and found.pixels.std() > 5
    assert used == {"decord" if importlib.util.find_spec("decord") else "pyav"}


def test_the_clips_in_a_store(clips, real_files, tmp_path):
    dataset = load_dataset("msrvtt-9k", real_files / "msrvtt")
    videos = [video for video in dataset.split("test").videos if dataset.video_file(video).exists()]
    assert len(videos) == len(clips)
    items = [VideoItem(video, dataset.video_file(video), dataset.window(video)) for video in videos]
    report = build_store(items, tmp_path / "s", sampler="c4c_1fps_int", frames=12, size=224, workers=2, progress=False)
    assert report.problems == {} and report.decoded == 8
    store = FrameStore(tmp_path / "s")
    pixels, mask = store.get(videos)
    assert pixels.shape == (8, 12, 3, 224, 224) and mask.all() and store.verify() == {}
    assert len({picture.tobytes() for picture in pixels[:, 0]}) == 8


def test_random_access_is_reading_in_order(clips):
    """Against a plain loop of PyAV that knows nothing of petvr: 28 positions of each clip, out of order; a window."""
    import av

    for clip in clips:
        with av.open(str(clip)) as container:
            every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        wanted = np.random.default_rng(0).integers(0, len(every), 28)
        found = read_frames(clip, lambda n, fps, wanted=wanted: wanted)
        assert found.n_frames == len(every) and found.note.replace(NOT_SQUARE, "") == ""
        for index, picture in zip(wanted, found.pixels, strict=True):
            assert np.array_equal(picture, every[index]), (clip.name, index)
        cut = read_frames(clip, lambda n, fps: np.arange(n), window=(5.0, 8.0))
        assert cut.indices.tolist() == [i for i in range(len(every)) if 5 <= i / found.fps <= 8]
        for index, picture in zip(cut.indices, cut.pixels, strict=True):
            assert np.array_equal(picture, every[index]), (clip.name, index)


def test_the_clips_pass_the_check_and_survive_transcoding(clips, tmp_path):
    for clip in clips:
        found = check_video(clip)
        assert (found.container, found.codec) == ("mov,mp4,m4a,3gp,3g2,mj2", "h264")
        assert found.note.replace(NOT_SQUARE, "") == "" == found.against_decord
        assert 10 <= found.seconds <= 32  # as all clips of MSR-VTT
    assert transcode(clips[0], tmp_path / "clean.mp4") == check_video(clips[0]).n_frames
