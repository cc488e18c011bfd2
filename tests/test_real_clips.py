"""Eight real MSR-VTT clips and the real 1k-A file, from mp4 to ranks: CLIP's vocabulary, random B/32 weights."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from petvr.clip import tokenizer, weights
from petvr.config import Config
from petvr.data import datasets
from petvr.data.frames import store
from petvr.run_ids import spec_of
from petvr.training.options import TrainOptions
from petvr.training.run import train

pytestmark = pytest.mark.slow
FRAMES = 2  # of each clip: all is a product of ViT-B/32, five times


@pytest.fixture(scope="module")
def root(tmp_path_factory, real_files):
    """MSR-VTT's folder with the real test file and clips; captions of the training clips are not at hand."""
    source = real_files / "msrvtt"
    if not list((source / "videos").glob("*.mp4")):
        pytest.skip("no real clips beside the annotation files")
    root = tmp_path_factory.mktemp("msrvtt")
    for name in ("MSRVTT_JSFUSION_test.csv", "MSRVTT_train.9k.csv", "MSRVTT_train.7k.csv"):
        shutil.copy(source / name, root / name)
    (root / "videos").symlink_to(source / "videos", target_is_directory=True)
    train = [row["video_id"] for row in csv.DictReader((root / "MSRVTT_train.9k.csv").open())]
    sentences = [{"caption": f"clip {video}", "video_id": video, "sen_id": n} for n, video in enumerate(train)]
    videos = [{"video_id": video, "split": "train", "id": n} for n, video in enumerate(train)]
    (root / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    return root


def test_from_clips_to_ranks(root, real_files, tmp_path):
    dataset = datasets.load_dataset("msrvtt-9k", root)
    test = dataset.split("test")
    assert len(test.videos) == 1000
    here = [video for video in test.videos if dataset.video_file(video).exists()]
    assert len(here) == 8

    items = [store.VideoItem(video, dataset.video_file(video), dataset.window(video)) for video in test.videos[:40]]
    items += [store.VideoItem(video, dataset.video_file(video)) for video in here if video not in test.videos[:40]]
    report = store.build_store(
        items, tmp_path / "frames", sampler="c4c_1fps_int", frames=FRAMES, size=224, workers=1, progress=False
    )
    assert report.decoded == 8 and len(report.problems) == len(items) - 8  # absent files are problems, not zeros
    frames = store.FrameStore(tmp_path / "frames")
    pixels, mask = frames.get(here)
    assert pixels.shape == (8, FRAMES, 3, 224, 224) and mask.all()
    assert len(np.unique(pixels.reshape(8, -1).mean(1))) == 8

    clip = weights.random("vit-b-32", seed=0)
    weights.save(clip, tmp_path / "weights")
    tokenizer.from_bpe_file(real_files / "clip" / "bpe_simple_vocab_16e6.txt.gz", tmp_path / "weights")
    config = Config(
        seeds=[0], weights={"vit-b-32": "-"}, tables=["rap/table_1"], recipe={"default": {"frames": FRAMES}}
    )
    spec = spec_of(config, "rap/msrvtt-9k/vit-b-32/zero_shot/seed-0")
    options = TrainOptions(
        weights=tmp_path / "weights",
        store=tmp_path / "frames",
        dataset=dataset,
        out=tmp_path / "out",
        state=tmp_path / "state",
        missing="record",
        device="cpu",
        threads=1,
    )
    result = train(spec, options)
    assert result.data.test_videos == 8 and result.data.test_videos_official == 1000
    assert len(result.data.missing) > 900 and result.data.data_class == "D"  # never beside a paper's number

    # the same ranks by hand: frames and captions encoded one by one
    clip = weights.load_clip(tmp_path / "weights").eval()
    words = tokenizer.load_tokenizer(tmp_path / "weights")
    with torch.no_grad():
        vision = [
            clip.encode_frames(torch.from_numpy(pixels[i : i + 1]), torch.ones(1, FRAMES, dtype=bool)) for i in range(8)
        ]
        captions = {video: test.captions[test.caption_video.index(test.videos.index(video))] for video in here}
        text = [clip.encode_texts(words([captions[video]], spec.recipe.words)) for video in here]
    unit = lambda x: x / x.norm(dim=-1, keepdim=True)  # noqa: E731
    video = unit(unit(torch.cat(vision).float()).mean(1))
    scores = (unit(torch.cat(text).float()) @ video.T).numpy()
    ranks = (scores > scores.diagonal()[:, None]).sum(1) + 1
    metrics = result.evaluations[0].plain["t2v"]
    assert metrics["MnR"] == pytest.approx(ranks.mean(), abs=0.01)
    assert metrics["R@1"] == pytest.approx(100 * (ranks == 1).mean())
