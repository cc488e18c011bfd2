"""LSMDC: three tab-separated files without a header, one sentence a clip; clips are .avi in a folder per film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from petvr.world import captions
from petvr.world.caption_semantics import Caption
from petvr.world.clips import WorldClip
from petvr.world.scene import Scene
from petvr.world.scene_sampler import Style
from petvr.world.seeds import generator

STYLE = Style((4.0, 6.0), (1, 2), (0.6, 0.4))
FILES = {
    "train": "LSMDC16_annos_training.csv",
    "val": "LSMDC16_annos_val.csv",
    "test": "LSMDC16_challenge_1000_publictect.csv",
}
KINDS = ("0", "1", "3")  # from a script, from MPII's and from M-VAD's audio descriptions
TITLES = ("The_Square", "Circles_in_Time", "A_RING_2011", "Bar_None", "Triangle")
PER_FILM = 12


def clip_names(sizes: Mapping[str, int], seed: int) -> list[tuple[str, str]]:
    """`<film>_<from>-<to>`; no film belongs to two splits."""
    names = []
    for offset, split in ((0, "train"), (500, "val"), (700, "test")):
        for number in range(sizes[split]):
            film = offset + number // PER_FILM
            rng = generator(seed, "lsmdc", split, film, "film")
            title = TITLES[int(rng.integers(len(TITLES)))]
            start = 60.0 + 97.3 * (number % PER_FILM) + generator(seed, "lsmdc", split, number, "id").uniform(0.0, 80.0)
            end = start + 4.5
            names.append((f"{KINDS[film % 3]}{film:03d}_{title}_{_clock(start)}-{_clock(end)}", split))
    return names


def file_name(video: str) -> str:
    """`<film>/<id>.avi`: the film is the id without its two times."""
    return f"{video.rpartition('_')[0]}/{video}.avi"


def caption_scene(scene: Scene, rng: np.random.Generator) -> list[Caption]:
    """One sentence; people's names in the real ones are all SOMEONE."""
    story = captions.story(scene, rng)
    watched = f"SOMEONE watches as {story.text}" if rng.random() < 0.2 else story.text
    return [Caption(captions.sentence(watched), story.claims)]


def annotation_texts(clips: Sequence[WorldClip], seed: int) -> dict[str, str]:
    return {name: "".join(_row(clip) for clip in clips if clip.split == split) for split, name in FILES.items()}


def _row(clip: WorldClip) -> str:
    start, end = clip.id.rpartition("_")[2].split("-")
    return "\t".join([clip.id, start, end, start, end, clip.captions[0].text]) + "\n"


def _clock(seconds: float) -> str:
    """`01.02.03.456`"""
    millis = round(1000 * seconds)
    return f"{millis // 3_600_000:02d}.{millis // 60_000 % 60:02d}.{millis // 1000 % 60:02d}.{millis % 1000:03d}"
