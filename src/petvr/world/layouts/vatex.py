"""VATEX: two JSON lists of clips with ten English captions each, four id lists; every clip is ten seconds long."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence

import numpy as np

from petvr.world import captions
from petvr.world.caption_semantics import Caption
from petvr.world.clips import WorldClip
from petvr.world.scene import Scene
from petvr.world.scene_sampler import Style
from petvr.world.seeds import generator

STYLE = Style((10.0, 10.0), (1, 2), (0.5, 0.5))
ALPHABET = string.ascii_letters + string.digits + "-_"
SENTENCES = 10


def clip_names(sizes: Mapping[str, int], seed: int) -> list[tuple[str, str]]:
    """`<11 characters>_<start>_<end>`, both with six digits."""
    split_of = {}
    for split in ("train", "val", "test"):
        for number in range(sizes[split]):
            rng = generator(seed, "vatex", split, number, "id")
            letters = "".join(ALPHABET[k] for k in rng.integers(len(ALPHABET), size=11))
            start = int(rng.integers(0, 300))
            split_of[f"{letters}_{start:06d}_{start + 10:06d}"] = split
    return list(split_of.items())


def file_name(video: str) -> str:
    return f"{video}.mp4"


def caption_scene(scene: Scene, rng: np.random.Generator) -> list[Caption]:
    """Whole sentences with a capital and a full stop."""
    plain = captions.captions(scene, rng, SENTENCES)
    return [Caption(captions.sentence(caption.text), caption.claims) for caption in plain]


def annotation_texts(clips: Sequence[WorldClip], seed: int) -> dict[str, str]:
    """`test1k5_sec_list.txt` is drawn anew from what HGR's lists call validation and test, as large as the latter."""
    lists = {split: [clip.id for clip in clips if clip.split == split] for split in ("train", "val", "test")}
    pool = lists["val"] + lists["test"]
    drawn = generator(seed, "vatex", "random1k5").permutation(len(pool))[: len(lists["test"])]
    records = {split: [_record(clip) for clip in clips if clip.split == split] for split in lists}
    files = {f"{split}_list.txt": "".join(f"{name}\n" for name in ids) for split, ids in lists.items()}
    files["test1k5_sec_list.txt"] = "".join(f"{pool[index]}\n" for index in drawn)
    files["vatex_training_v1.0.json"] = json.dumps(records["train"]) + "\n"
    files["vatex_validation_v1.0.json"] = json.dumps(records["val"] + records["test"]) + "\n"
    return files


def _record(clip: WorldClip) -> dict:
    english = [caption.text for caption in clip.captions]
    chinese = [f"合成视频，第{number}句" for number in range(1, SENTENCES + 1)]  # the real file's other half, not read
    return {"videoID": clip.id, "enCap": english, "chCap": chinese}
