"""What a caption claims, and whether that is true of a scene: captions are made from claims, tests check them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from petvr.world.scene import Event, Scene, reversed_scene, state


@dataclass(frozen=True)
class Who:
    """A description of an actor; an empty word leaves that property open."""

    shape: str = ""
    colour: str = ""


@dataclass(frozen=True)
class Shows:
    """At some time such an actor is to be seen."""

    who: Who


@dataclass(frozen=True)
class Stays:
    """Such an actor is there all the time and nothing happens to it."""

    who: Who


@dataclass(frozen=True)
class Does:
    """Such an actor (as it is when the event begins) does this; an empty detail leaves direction or colour open."""

    who: Who
    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Then:
    """The first event is over before the second begins."""

    first: Does
    second: Does


@dataclass(frozen=True)
class While:
    """Both events overlap in time."""

    one: Does
    two: Does


@dataclass(frozen=True)
class On:
    background: str


Claim = Shows | Stays | Does | Then | While | On


@dataclass(frozen=True)
class Caption:
    """A sentence and what it claims."""

    text: str
    claims: tuple[Claim, ...]


def claim_holds(claim: Claim, scene: Scene) -> bool:
    """Whether a claim is true of a scene."""
    if isinstance(claim, On):
        return claim.background == scene.background
    if isinstance(claim, Shows):
        return any(_is(scene, actor, claim.who, time) for actor in _actors(scene) for time in _moments(scene))
    if isinstance(claim, Stays):
        idle = set(_actors(scene)) - {event.actor for event in scene.events}
        return any(_is(scene, actor, claim.who, 0.0) for actor in idle)
    if isinstance(claim, Does):
        return bool(_events(scene, claim))
    if isinstance(claim, Then):
        return any(
            a.end <= b.start for a in _events(scene, claim.first) for b in _events(scene, claim.second) if a is not b
        )
    return any(
        a.start < b.end and b.start < a.end
        for a in _events(scene, claim.one)
        for b in _events(scene, claim.two)
        if a is not b
    )


def is_true_of(caption: Caption, scene: Scene) -> bool:
    return all(claim_holds(claim, scene) for claim in caption.claims)


def is_temporal(caption: Caption, scene: Scene) -> bool:
    """A true caption is temporal where it would be false of the same clip played backwards."""
    return not is_true_of(caption, reversed_scene(scene))


def _actors(scene: Scene) -> range:
    return range(len(scene.actors))


def _moments(scene: Scene) -> list[float]:
    """The beginning, the end, and the middle between neighbouring events: every look an actor ever has."""
    edges = [0.0, *sorted(time for event in scene.events for time in (event.start, event.end)), scene.seconds]
    return [0.0, scene.seconds, *((a + b) / 2 for a, b in pairwise(edges))]


def _is(scene: Scene, actor: int, who: Who, time: float) -> bool:
    now = state(scene, actor, time)
    shape = scene.actors[actor].shape
    return now.opacity > 0.5 and who.shape in ("", shape) and who.colour in ("", now.colour)


def _events(scene: Scene, claim: Does) -> list[Event]:
    events = []
    for event in scene.events:
        colour = state(scene, event.actor, event.start).colour
        shape = scene.actors[event.actor].shape
        fits = claim.who.shape in ("", shape) and claim.who.colour in ("", colour)
        if fits and event.kind == claim.kind and claim.detail in ("", event.detail):
            events.append(event)
    return events
