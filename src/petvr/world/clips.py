"""A clip is a scene with its place in a data set; `cast_clips` draws the scenes of one, twins included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from petvr.world import scene_sampler
from petvr.world.caption_semantics import Caption
from petvr.world.scene import Scene, reversed_scene, swapped_scene
from petvr.world.seeds import generator

Signature = tuple[str, tuple[tuple[str, str, bool], ...], tuple[tuple[str, str, str], ...]]
TWINS = {"train": 0.3, "val": 0.3, "test": 0.4}  # share of a split's videos that come in hard pairs


@dataclass(frozen=True)
class WorldClip:
    """`twin` is the id of the clip that shows the same objects doing the opposite or the same in another order."""

    id: str
    split: str
    scene: Scene
    captions: tuple[Caption, ...] = ()
    twin: str = ""
    pair: str = ""  # "reversed" (the clip played backwards) or "swapped" (its two events in the other order)


def cast_clips(kind: str, style: scene_sampler.Style, names: list[tuple[str, str]], seed: int) -> list[WorldClip]:
    """Scenes for `names`, (id, split) each; no two clips of a data set tell the same story."""
    signatures, clips = set[Signature](), list[WorldClip]()
    for split in ("train", "val", "test"):
        ids = [name for name, its in names if its == split]
        pairs = int(TWINS[split] * len(ids) / 2)
        for number in range(pairs):
            one, two = ids[2 * number], ids[2 * number + 1]
            pair = "swapped" if number % 3 == 2 and 2 in style.stages else "reversed"
            first, second = _twin_scenes(style, pair, signatures, generator(seed, kind, split, "pair", number))
            clips += [WorldClip(one, split, first, (), two, pair), WorldClip(two, split, second, (), one, pair)]
        for number, name in enumerate(ids[2 * pairs :]):
            rng = generator(seed, kind, split, "single", number)
            clips.append(WorldClip(name, split, _new_scene(style, signatures, rng)))
    position = {name: index for index, (name, _) in enumerate(names)}
    return sorted(clips, key=lambda clip: position[clip.id])


def signature(scene: Scene) -> Signature:
    """Who does what in which order, without places and times."""
    looks = tuple(sorted((a.shape, a.colour, a.visible) for a in scene.actors))
    return scene.background, looks, tuple((e.kind, scene.actors[e.actor].shape, e.detail) for e in scene.events)


def _new_scene(style: scene_sampler.Style, signatures: set[Signature], rng: np.random.Generator) -> Scene:
    while True:
        scene = scene_sampler.sample_scene(style, rng)
        if signature(scene) not in signatures:
            signatures.add(signature(scene))
            return scene


def _twin_scenes(
    style: scene_sampler.Style, pair: str, signatures: set[Signature], rng: np.random.Generator
) -> tuple[Scene, Scene]:
    while True:
        first = scene_sampler.sample_scene(style, rng)
        second = reversed_scene(first) if pair == "reversed" else swapped_scene(first)
        if second is None or not scene_sampler.shapes_keep_apart(second):
            continue
        new = {signature(first), signature(second)}
        if len(new) == 2 and not new & signatures:
            signatures |= new
            return first, second
