"""Draws scenes: actors that keep apart, events in stages, and twins that only time can tell from one another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from petvr.world.scene import (
    BACKGROUNDS,
    COLOURS,
    DIRECTIONS,
    HEIGHT,
    RADIUS,
    SHAPES,
    SWELL,
    WIDTH,
    Actor,
    Event,
    Scene,
    state,
)
from petvr.world.seeds import one_of, one_weighted, shuffled

RATES = tuple(Fraction(*rate) for rate in [(8, 1), (10, 1), (12, 1), (15, 1), (24000, 1001), (25, 1), (30000, 1001)])
RATE_WEIGHTS = (0.2, 0.2, 0.2, 0.2, 0.05, 0.1, 0.05)
EVENT_WEIGHTS = {"move": 0.75, "appear": 0.07, "disappear": 0.05, "turn": 0.09, "grow": 0.02, "shrink": 0.02}


@dataclass(frozen=True)
class Style:
    """What the clips of a data set are like. `chunk` fixes the length of a stage (DiDeMo's five seconds)."""

    seconds: tuple[float, float]
    stages: tuple[int, ...]
    stage_weights: tuple[float, ...]
    chunk: float | None = None


def sample_scene(style: Style, rng: np.random.Generator) -> Scene:
    """One scene in which all shapes stay in the part of the picture that a centre crop keeps, and never touch."""
    while True:
        scene = _sample_once(style, rng)
        if scene is not None and shapes_keep_apart(scene):
            return scene


def shapes_keep_apart(scene: Scene) -> bool:
    """No two visible shapes come near one another, and none leaves the central square."""
    margin = (WIDTH - HEIGHT) / 2
    for time in np.arange(0.0, scene.seconds + 0.25, 0.25):
        now = [state(scene, actor, float(time)) for actor in range(len(scene.actors))]
        for index, one in enumerate(now):
            r = one.radius
            if not (margin + r <= one.x <= WIDTH - margin - r and r <= one.y <= HEIGHT - r):
                return False
            for two in now[:index]:
                if one.opacity and two.opacity and np.hypot(one.x - two.x, one.y - two.y) < 1.2 * (r + two.radius):
                    return False
    return True


def _sample_once(style: Style, rng: np.random.Generator) -> Scene | None:
    rate = one_weighted(rng, RATES, RATE_WEIGHTS)
    stages = one_weighted(rng, style.stages, style.stage_weights)
    if style.chunk is None:
        seconds = rng.uniform(*style.seconds)
        edges = np.linspace(0.0, seconds, stages + 1)
        slots = list(pairwise(edges))
    else:
        segments = int(rng.integers(5, 7))
        seconds = segments * style.chunk - rng.uniform(0.0, 2.0)
        chosen = np.sort(rng.choice(segments, size=stages, replace=False))
        slots = [(style.chunk * k, min(style.chunk * (k + 1), seconds)) for k in chosen]
    frames = round(seconds * rate)
    seconds = float(frames / rate)  # a whole number of frames, so that file and scene agree

    count = one_weighted(rng, (1, 2, 3), (0.4, 0.55, 0.05))
    shapes = [SHAPES[index] for index in rng.choice(len(SHAPES), size=count, replace=False)]
    colours = shuffled(rng, COLOURS)
    spare = colours[count:]
    actors = []
    for index in range(count):
        x = rng.uniform(WIDTH / 2 - HEIGHT / 2 + RADIUS, WIDTH / 2 + HEIGHT / 2 - RADIUS)
        y = rng.uniform(RADIUS, HEIGHT - RADIUS)
        actors.append(Actor(shapes[index], colours[index], round(x, 2), round(y, 2), RADIUS))

    events: list[Event] = []
    used: set[tuple[int, str]] = set()
    visible_first = [True] * count
    hidden = [False] * count
    colours_now = [actor.colour for actor in actors]
    for begin, finish in slots:
        both = count > 1 and rng.random() < 0.15
        cast = rng.choice(count, size=2 if both else 1, replace=False)
        for actor in map(int, cast):
            fresh = not any(event.actor == actor for event in events)
            kinds = [kind for kind in EVENT_WEIGHTS if (actor, kind) not in used]
            if not (fresh and not hidden[actor]):
                kinds = [kind for kind in kinds if kind != "appear"]
            if hidden[actor]:
                return None
            if not spare:
                kinds = [kind for kind in kinds if kind != "turn"]
            kind = one_weighted(rng, kinds, [EVENT_WEIGHTS[kind] for kind in kinds])
            event = _sample_event(kind, actor, float(begin), float(finish), colours_now[actor], spare, rng)
            if kind == "appear":
                visible_first[actor] = False
            if kind == "disappear":
                hidden[actor] = True
            if kind == "turn":
                colours_now[actor] = event.detail
                spare.remove(event.detail)
            used.add((actor, kind))
            if kind in ("grow", "shrink"):
                used |= {(actor, "grow"), (actor, "shrink")}
            events.append(event)
    actors = [
        replace(actor, radius=_start_radius(actor, index, events), visible=visible_first[index])
        for index, actor in enumerate(actors)
    ]
    background = one_of(rng, BACKGROUNDS)
    return Scene(background, tuple(actors), tuple(sorted(events, key=lambda e: e.start)), seconds, rate)


def _start_radius(actor: Actor, index: int, events: list[Event]) -> float:
    """A shape that will shrink begins bigger, so that small and large look the same in both directions of time."""
    shrinks = any(event.actor == index and event.kind == "shrink" for event in events)
    return actor.radius * SWELL if shrinks else actor.radius


def _sample_event(
    kind: str, actor: int, begin: float, finish: float, colour: str, spare: list[str], rng: np.random.Generator
) -> Event:
    length = finish - begin
    if kind == "move":
        direction = one_of(rng, DIRECTIONS)
        amount = round(float(rng.uniform(26.0, 40.0)), 2)
        start, end = begin + 0.1 * length, finish - 0.1 * length
        return Event(kind, actor, round(start, 3), round(end, 3), direction, "", amount)
    middle = begin + length * rng.uniform(0.4, 0.6)
    half = 0.25 if kind in ("turn", "appear", "disappear") else min(1.0, 0.3 * length)
    detail = one_of(rng, spare) if kind == "turn" else ""
    origin = colour if kind == "turn" else ""
    return Event(kind, actor, round(middle - half, 3), round(middle + half, 3), detail, origin)
