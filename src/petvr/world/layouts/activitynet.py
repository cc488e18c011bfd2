"""ActivityNet Captions: two JSON files of long videos; sentences with their times make a video's paragraph."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence

import numpy as np

from petvr.world import captions
from petvr.world.caption_semantics import Caption
from petvr.world.clips import WorldClip
from petvr.world.scene import Event, Scene
from petvr.world.scene_sampler import Style
from petvr.world.seeds import generator

STYLE = Style((28.0, 40.0), (3, 4, 5), (0.4, 0.4, 0.2))
ALPHABET = string.ascii_letters + string.digits + "-_"


def clip_names(sizes: Mapping[str, int], seed: int) -> list[tuple[str, str]]:
    """`v_` and YouTube's eleven characters."""
    split_of = {}
    for split in ("train", "val", "test"):
        for number in range(sizes[split]):
            rng = generator(seed, "activitynet", split, number, "id")
            split_of["v_" + "".join(ALPHABET[k] for k in rng.integers(len(ALPHABET), size=11))] = split
    return list(split_of.items())


def file_name(video: str) -> str:
    return f"{video}.mp4"


def event_groups(scene: Scene) -> list[tuple[Event, ...]]:
    """The events in groups that overlap in time: what one sentence tells."""
    groups: list[list[Event]] = []
    for event in scene.events:
        if groups and event.start < max(other.end for other in groups[-1]):
            groups[-1].append(event)
        else:
            groups.append([event])
    return [tuple(group) for group in groups]


def caption_scene(scene: Scene, rng: np.random.Generator) -> list[Caption]:
    """A sentence per group of events; one paragraph in twenty is not in the order of time, as in the real file."""
    stories = [captions.story(scene, rng, ground=0.15, events=group) for group in event_groups(scene)]
    whole = [Caption(captions.sentence(caption.text), caption.claims) for caption in stories]
    return whole[::-1] if rng.random() < 0.05 else whole


def annotation_texts(clips: Sequence[WorldClip], seed: int) -> dict[str, str]:
    """`val` clips train as well: the papers test on val_1 and have no validation set."""
    training = {clip.id: _entry(clip, seed) for clip in clips if clip.split != "test"}
    testing = {clip.id: _entry(clip, seed) for clip in clips if clip.split == "test"}
    return {"train.json": json.dumps(training) + "\n", "val_1.json": json.dumps(testing) + "\n"}


def _entry(clip: WorldClip, seed: int) -> dict:
    """All sentences but the first begin with a blank, which most of the real ones do."""
    length = round(clip.scene.seconds, 2)
    stamps = []
    for number, caption in enumerate(clip.captions):
        first = captions.first_event(caption, clip.scene)
        group = next(group for group in event_groups(clip.scene) if first in group)
        early, late = generator(seed, "activitynet", clip.id, number, "times").uniform(0.0, 0.8, size=2)
        start, end = min(event.start for event in group) - early, max(event.end for event in group) + late
        stamps.append([round(max(0.0, start), 2), round(min(length, end), 2)])
    sentences = [(" " if number else "") + caption.text for number, caption in enumerate(clip.captions)]
    return {"duration": length, "timestamps": stamps, "sentences": sentences}
