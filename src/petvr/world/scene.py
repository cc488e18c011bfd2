"""A scene is data: who is there, what happens when, on which background. Nothing here draws or writes a word.

Lengths are pixels of the picture (96 x 72; the centre crop of CLIP's preprocessing keeps x from 12 to 84), times are
seconds. No paper describes this world: every value in this package is a choice of this project.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

WIDTH, HEIGHT = 96, 72
COLOURS = {
    "red": (225, 30, 35),
    "green": (25, 165, 50),
    "blue": (35, 70, 230),
    "yellow": (245, 225, 30),
    "purple": (140, 40, 170),
    "orange": (250, 135, 15),
    "pink": (255, 140, 195),
    "cyan": (40, 205, 225),
}
BACKGROUNDS = {"black": (8, 8, 8), "white": (248, 248, 248), "gray": (128, 128, 128), "brown": (92, 58, 28)}
SHAPES = ("circle", "square", "triangle", "ring", "bar")
RADIUS = 11.5
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
OPPOSITE = {
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
    "appear": "disappear",
    "disappear": "appear",
    "grow": "shrink",
    "shrink": "grow",
    "move": "move",
    "turn": "turn",
}
SWELL = 1.4  # a grown shape's radius over what it was


@dataclass(frozen=True)
class Actor:
    """A shape as it is when the clip begins; (x, y) is its centre."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    visible: bool = True


@dataclass(frozen=True)
class Event:
    """What one actor does between two times.

    `detail` is the direction of a move or the new colour of a turn, `origin` the colour a turn starts from, `amount`
    the way of a move in pixels.
    """

    kind: str
    actor: int
    start: float
    end: float
    detail: str = ""
    origin: str = ""
    amount: float = 0.0


@dataclass(frozen=True)
class Scene:
    background: str
    actors: tuple[Actor, ...]
    events: tuple[Event, ...]  # by start
    seconds: float
    fps: Fraction

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)


@dataclass(frozen=True)
class ActorState:
    """An actor at one moment. `old` is the colour it is fading from, `blend` 0..1 how much of `colour` shows."""

    x: float
    y: float
    radius: float
    colour: str
    opacity: float
    old: str = ""
    blend: float = 1.0


def state(scene: Scene, actor: int, time: float) -> ActorState:
    """Where and how an actor is at `time`."""
    first = scene.actors[actor]
    x, y, radius, colour, opacity = first.x, first.y, first.radius, first.colour, float(first.visible)
    old, blend = "", 1.0
    for event in scene.events:
        if event.actor != actor or time <= event.start:
            continue
        done = min(1.0, (time - event.start) / (event.end - event.start))
        if event.kind == "move":
            dx, dy = DIRECTIONS[event.detail]
            x, y = x + dx * done * event.amount, y + dy * done * event.amount
        elif event.kind == "turn":
            colour, old, blend = event.detail, event.origin, done
        elif event.kind == "appear":
            opacity = done
        elif event.kind == "disappear":
            opacity = 1.0 - done
        else:
            factor = SWELL if event.kind == "grow" else 1 / SWELL
            radius = radius * factor**done
    return ActorState(x, y, radius, colour, opacity, old, blend)


def reversed_scene(scene: Scene) -> Scene:
    """The same clip played backwards: the same pictures, every direction, change and order opposite."""
    actors = []
    for index, actor in enumerate(scene.actors):
        last = state(scene, index, scene.seconds)
        actors.append(Actor(actor.shape, last.colour, last.x, last.y, last.radius, last.opacity > 0.5))
    events = []
    for event in scene.events:
        start, end = scene.seconds - event.end, scene.seconds - event.start
        detail, origin = (event.origin, event.detail) if event.kind == "turn" else (OPPOSITE.get(event.detail, ""), "")
        events.append(replace(event, kind=OPPOSITE[event.kind], start=start, end=end, detail=detail, origin=origin))
    return replace(scene, actors=tuple(actors), events=tuple(sorted(events, key=lambda event: event.start)))


def swapped_scene(scene: Scene) -> Scene | None:
    """The same two actors do the same two things in the other order; None where that cannot be said of the scene."""
    if len(scene.events) != 2:
        return None
    one, two = scene.events
    if one.actor == two.actor or one.end > two.start:
        return None
    events = (replace(two, start=one.start, end=one.end), replace(one, start=two.start, end=two.end))
    return replace(scene, events=events)
