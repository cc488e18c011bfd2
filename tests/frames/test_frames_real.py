"""Eight real MSR-VTT clips: decord and PyAV agree, and the whole way into a store works."""

import importlib.util

import numpy as np
import pytest

from petvr.datasets import load
from petvr.frames.decode import decode, read
from petvr.frames.samplers import SAMPLERS, pick
from petvr.frames.store import FrameStore, Item, build


@pytest.fixture(scope="module")
def clips(real_files):
    folder = real_files / "msrvtt" / "videos"
    found = sorted(folder.glob("*.mp4"))
    if not found:
        pytest.skip(f"no real clips in {folder.name}")
    return found


def test_decord_and_pyav_agree_on_every_sampled_frame(clips):
    used = set()
    for clip in clips:
        for sampler in SAMPLERS:
            found = read(clip, lambda n, fps, s=sampler: pick(s, n_frames=n, fps=fps, frames=12))
            used.add(found.decoder.split()[0])
            same = decode(clip, found.indices, use_decord=False)
            assert np.array_equal(found.pictures, same), (clip.name, sampler)
            assert min(found.pictures.shape[1:3]) >= 224 and found.pictures.std() > 5
    assert used == {"decord" if importlib.util.find_spec("decord") else "pyav"}


def test_the_clips_in_a_store(clips, real_files, tmp_path):
    dataset = load("msrvtt-9k", real_files / "msrvtt")
    videos = [video for video in dataset.split("test").videos if dataset.video_file(video).exists()]
    assert len(videos) == len(clips)
    items = [Item(video, dataset.video_file(video), dataset.window(video)) for video in videos]
    report = build(items, tmp_path / "s", sampler="c4c_1fps_int", frames=12, size=224, workers=2, progress=False)
    assert report.problems == {} and report.decoded == 8
    store = FrameStore(tmp_path / "s")
    pixels, mask = store.get(videos)
    assert pixels.shape == (8, 12, 3, 224, 224) and mask.all() and store.verify() == {}
    assert len({picture.tobytes() for picture in pixels[:, 0]}) == 8
