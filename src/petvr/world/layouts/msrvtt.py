"""MSR-VTT: one JSON with 20 sentences a video, id lists for 9k and 7k training, a CSV with the 1k-A sentences."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

import numpy as np

from petvr.world import captions
from petvr.world.caption_semantics import Caption
from petvr.world.clips import WorldClip
from petvr.world.scene import Scene
from petvr.world.scene_sampler import Style
from petvr.world.seeds import generator

STYLE = Style((10.0, 16.0), (1, 2, 3), (0.3, 0.55, 0.15))
SENTENCES = 20
SHARE_7K = 7010 / 9000  # of the 9k list


def clip_names(sizes: Mapping[str, int], seed: int) -> list[tuple[str, str]]:
    splits = [split for split in ("train", "val", "test") for _ in range(sizes[split])]
    return [(f"video{number}", split) for number, split in enumerate(splits)]


def file_name(video: str) -> str:
    return f"{video}.mp4"


def caption_scene(scene: Scene, rng: np.random.Generator) -> list[Caption]:
    return captions.captions(scene, rng, SENTENCES)


def tested(clip: WorldClip, seed: int) -> Caption:
    """The sentence by which a test clip is searched: the whole story, for a single clip now and then only a part."""
    rng = generator(seed, "msrvtt", clip.id, "tested")
    part = not clip.twin and rng.random() < 0.1
    return clip.captions[int(2 * rng.integers(SENTENCES // 2)) + part] if part else clip.captions[0]


def annotation_texts(clips: Sequence[WorldClip], seed: int) -> dict[str, str]:
    """`val` clips are in both training lists: the 9k split has no validation set of its own."""
    official = {"train": "train", "val": "validate", "test": "test"}
    training = [clip for clip in clips if clip.split != "test"]
    optional = [clip.id for clip in training if clip.split == "train"]
    keep = round(SHARE_7K * len(training)) - (len(training) - len(optional))
    order = generator(seed, "msrvtt", "7k").permutation(len(optional))
    left_out = {optional[index] for index in order[max(0, keep) :]}
    videos: list[dict[str, object]] = []
    sentences: list[dict[str, object]] = []
    for number, clip in enumerate(clips):
        videos.append(
            {
                "video_id": clip.id,
                "url": f"https://world.invalid/{clip.id}",
                "start time": 0.0,
                "end time": clip.scene.seconds,
                "category": number % 20,
                "split": "test" if clip.id in left_out else official[clip.split],
                "id": number,
            }
        )
        for caption in clip.captions:
            sentences.append({"caption": caption.text, "video_id": clip.id, "sen_id": len(sentences)})
    ids = [clip.id for clip in training]
    rows = [
        (f"ret{number}", clip.id.replace("video", "msr"), clip.id, tested(clip, seed).text)
        for number, clip in enumerate(clip for clip in clips if clip.split == "test")
    ]
    data = {"info": {"description": "synthetic world"}, "videos": videos, "sentences": sentences}
    return {
        "MSRVTT_data.json": json.dumps(data) + "\n",
        "MSRVTT_train.9k.csv": _csv([("video_id",), *((name,) for name in ids)]),
        "MSRVTT_train.7k.csv": _csv([("video_id",), *((name,) for name in sorted(set(ids) - left_out))]),
        "MSRVTT_JSFUSION_test.csv": _csv([("key", "vid_key", "video_id", "sentence"), *rows]),
    }


def _csv(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
