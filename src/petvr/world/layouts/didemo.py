"""DiDeMo: three JSON files of descriptions, each of one five-second chunk; a video's descriptions are its paragraph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from petvr.world import captions
from petvr.world.caption_semantics import Caption
from petvr.world.clips import WorldClip
from petvr.world.scene import Event, Scene
from petvr.world.scene_sampler import Style
from petvr.world.seeds import generator

CHUNK = 5.0
STYLE = Style((25.0, 30.0), (3, 4, 5), (0.4, 0.4, 0.2), chunk=CHUNK)
ENDINGS = ("mov", "mp4", "avi", "m4v", "3gp")
ANNOTATORS = 4


def clip_names(sizes: Mapping[str, int], seed: int) -> list[tuple[str, str]]:
    """Flickr's `<user>_<photo>_<secret>.<ending>`; the ending is the upload's, the file here is an mp4 all the same."""
    split_of = {}
    for split in ("train", "val", "test"):
        for number in range(sizes[split]):
            rng = generator(seed, "didemo", split, number, "id")
            user = f"{rng.integers(10_000_000, 99_999_999)}@N0{rng.integers(10)}"
            secret = "".join("0123456789abcdef"[k] for k in rng.integers(16, size=10))
            ending = ENDINGS[int(rng.integers(len(ENDINGS)))]
            split_of[f"{user}_{rng.integers(10**9, 10**10)}_{secret}.{ending}"] = split
    return list(split_of.items())


def file_name(video: str) -> str:
    """As in the common copy of the data: the whole name, and `.mp4` behind it unless it is there."""
    return video if video.endswith(".mp4") else f"{video}.mp4"


def chunk(event: Event) -> int:
    return int((event.start + event.end) / 2 / CHUNK)


def caption_scene(scene: Scene, rng: np.random.Generator) -> list[Caption]:
    """One description for every chunk in which something happens, in no order: real ones are rarely sorted by time."""
    stories = []
    for number in sorted({chunk(event) for event in scene.events}):
        now = tuple(event for event in scene.events if chunk(event) == number)
        stories.append(captions.story(scene, rng, ground=0.15, events=now))
    return [stories[index] for index in rng.permutation(len(stories))]


def annotation_texts(clips: Sequence[WorldClip], seed: int) -> dict[str, str]:
    files = {}
    for split in ("train", "val", "test"):
        records = [record for clip in clips if clip.split == split for record in _records(clip, seed)]
        order = generator(seed, "didemo", split, "order").permutation(len(records))
        base = {"train": 0, "val": 100_000, "test": 200_000}[split]
        shuffled = [{**records[k], "annotation_id": base + number} for number, k in enumerate(order)]
        files[f"{split}_data.json"] = json.dumps(shuffled) + "\n"
        files[f"{split}_list.txt"] = "".join(f"{clip.id}\n" for clip in clips if clip.split == split)
    return files


def _records(clip: WorldClip, seed: int) -> list[dict]:
    segments = int(np.ceil(clip.scene.seconds / CHUNK))
    records = []
    for number, caption in enumerate(clip.captions):
        rng = generator(seed, "didemo", clip.id, number, "times")
        right = chunk(captions.first_event(caption, clip.scene))
        times = [[right, right] for _ in range(ANNOTATORS)]
        if rng.random() < 0.2:  # one annotator marks a chunk too many
            times[int(rng.integers(ANNOTATORS))] = [max(0, right - 1), right]
        link = f"https://world.invalid/video_download?id={clip.id.split('_')[1]}"
        records.append(
            {
                "num_segments": segments,
                "description": caption.text,
                "dl_link": link,
                "times": times,
                "video": clip.id,
            }
        )
    return records
