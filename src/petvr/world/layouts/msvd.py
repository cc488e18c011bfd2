"""MSVD: three lists of ids and one JSON of all captions; ids are `<11 characters>_<start>_<end>`, counts vary."""

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

STYLE = Style((10.0, 14.0), (1, 2), (0.5, 0.5))
ALPHABET = string.ascii_letters + string.digits + "-_"
FEWEST, MOST = 10, 20  # the real data has 18 to 81 a video


def clip_names(sizes: Mapping[str, int], seed: int) -> list[tuple[str, str]]:
    """As in the real lists, some ids begin with a dash: the first of every split does."""
    split_of = {}
    for split in ("train", "val", "test"):
        for number in range(sizes[split]):
            rng = generator(seed, "msvd", split, number, "id")
            letters = "".join(ALPHABET[k] for k in rng.integers(len(ALPHABET), size=11))
            start = int(rng.integers(1, 200))
            letters = "-" + letters[1:] if number == 0 else letters
            split_of[f"{letters}_{start}_{start + int(rng.integers(10, 20))}"] = split
    return list(split_of.items())


def file_name(video: str) -> str:
    return f"{video}.mp4"


def caption_scene(scene: Scene, rng: np.random.Generator) -> list[Caption]:
    """Lower case without punctuation, as in the JSON that is in use."""
    plain = captions.captions(scene, rng, int(rng.integers(FEWEST, MOST + 1)))
    return [Caption(caption.text.replace(",", ""), caption.claims) for caption in plain]


def annotation_texts(clips: Sequence[WorldClip], seed: int) -> dict[str, str]:
    texts = {clip.id: [caption.text for caption in clip.captions] for clip in clips}
    files = {"captions_msvd.json": json.dumps(texts) + "\n"}
    for split in ("train", "val", "test"):
        files[f"{split}_list.txt"] = "".join(f"{clip.id}\n" for clip in clips if clip.split == split)
    return files
