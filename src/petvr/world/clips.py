"""A clip is a scene with its place in a data set; `cast` draws the scenes of one, twins included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from petvr.world import drama
from petvr.world.meaning import Caption
from petvr.world.scene import Scene, reversed_scene, swapped_scene
from petvr.world.seeds import generator

TWINS = {"train": 0.3, "val": 0.3, "test": 0.4}  # share of a split's videos that come in hard pairs


@dataclass(frozen=True)
class Clip:
    """`twin` is the id of the clip that shows the same objects doing the opposite or the same in another order."""

    id: str
    split: str
    scene: Scene
    captions: tuple[Caption, ...] = ()
    twin: str = ""
    pair: str = ""  # "reversed" (the clip played backwards) or "swapped" (its two events in the other order)


def cast(kind: str, names: list[tuple[str, str]], seed: int) -> list[Clip]:
    """Scenes for `names`, (id, split) each; no two clips of a data set tell the same story."""
    style, told, clips = drama.STYLES[kind], set(), []
    for split in ("train", "val", "test"):
        ids = [name for name, its in names if its == split]
        pairs = int(TWINS[split] * len(ids) / 2)
        for number in range(pairs):
            one, two = ids[2 * number], ids[2 * number + 1]
            how = "swapped" if number % 3 == 2 and 2 in style.stages else "reversed"
            first, second = _twins(style, how, told, generator(seed, kind, split, "pair", number))
            clips += [Clip(one, split, first, (), two, how), Clip(two, split, second, (), one, how)]
        for number, name in enumerate(ids[2 * pairs :]):
            clips.append(Clip(name, split, _fresh(style, told, generator(seed, kind, split, "single", number))))
    place = {name: index for index, (name, _) in enumerate(names)}
    return sorted(clips, key=lambda clip: place[clip.id])


def signature(scene: Scene) -> tuple:
    """Who does what in which order, without places and times."""
    looks = tuple(sorted((a.shape, a.colour, a.visible) for a in scene.actors))
    return scene.background, looks, tuple((e.kind, scene.actors[e.actor].shape, e.detail) for e in scene.events)


def _fresh(style: drama.Style, told: set, rng: np.random.Generator) -> Scene:
    while True:
        scene = drama.draw(style, rng)
        if signature(scene) not in told:
            told.add(signature(scene))
            return scene


def _twins(style: drama.Style, how: str, told: set, rng: np.random.Generator) -> tuple[Scene, Scene]:
    while True:
        first = drama.draw(style, rng)
        second = reversed_scene(first) if how == "reversed" else swapped_scene(first)
        if second is None or not drama.apart(second):
            continue
        new = {signature(first), signature(second)}
        if len(new) == 2 and not new & told:
            told |= new
            return first, second
