"""A small grammar: many true sentences about one scene, most of them needing time to be understood."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from petvr.world.caption_semantics import Caption, Claim, Does, On, Shows, Stays, Then, While, Who
from petvr.world.scene import Event, Scene, state
from petvr.world.seeds import one_of

MOVES = {
    "left": ["moves left", "moves to the left", "goes left", "slides to the left", "travels left"],
    "right": ["moves right", "moves to the right", "goes right", "slides to the right", "travels right"],
    "up": ["moves up", "goes up", "rises", "slides up", "travels up"],
    "down": ["moves down", "goes down", "falls", "slides down", "travels down"],
}
VERBS = {
    "move": ["moves", "is moving", "travels"],
    "appear": ["appears", "shows up", "comes into view"],
    "disappear": ["disappears", "vanishes", "goes away"],
    "turn": ["changes its colour", "gets another colour"],
    "grow": ["grows", "gets bigger", "becomes larger"],
    "shrink": ["shrinks", "gets smaller", "becomes smaller"],
}
SEQUENCES = [
    "{a}, then {b}",
    "{a} and then {b}",
    "first {a}, then {b}",
    "{a} before {b}",
    "{b} after {a}",
    "after {a}, {b}",
    "before {b}, {a}",
]
OVERLAPS = ["{a} while {b}", "while {b}, {a}", "{a} as {b}", "at the same time {a} and {b}"]
GROUNDS = ["on a {g} background", "in front of a {g} background", "on {g}"]
GROUND_CHANCE = 0.6


# Who describes clips has words of their own, which no sentence about a still holds: the gap between captions from the
# web and those of a video data set. Zero-shot meets them unprepared; whatever trains the text tower can learn them.
OTHER_NAMES = {
    "red": "crimson",
    "green": "emerald",
    "blue": "azure",
    "yellow": "golden",
    "purple": "violet",
    "orange": "amber",
    "pink": "rosy",
    "cyan": "teal",
    "circle": "disk",
    "square": "box",
    "triangle": "wedge",
    "ring": "hoop",
    "bar": "plank",
}


def word(of: str, rng: np.random.Generator | None) -> str:
    """A name of a colour or shape: the plain one, or where a clip is told (`rng` given) as often its other one."""
    return one_of(rng, [of, OTHER_NAMES[of]]) if rng is not None else of


def sentence(text: str) -> str:
    """With a capital and a full stop, as the describers of some data sets write."""
    return f"{text[0].upper()}{text[1:]}."


def name(who: Who, rng: np.random.Generator | None = None) -> str:
    """`a red square`, `an amber hoop`."""
    noun = f"{word(who.colour, rng)} {word(who.shape, rng)}"
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def who(scene: Scene, event: Event) -> Who:
    """An event's actor as it looks when the event begins."""
    return Who(scene.actors[event.actor].shape, state(scene, event.actor, event.start).colour)


def clause(
    scene: Scene, event: Event, rng: np.random.Generator, exact: bool = True, it: bool = False
) -> tuple[str, Does]:
    """`a red square slides to the left` and its claim; not `exact`: the direction or the new colour is left out."""
    subject = who(scene, event)
    noun = "it" if it else name(subject, rng)
    if event.kind == "move" and exact:
        return f"{noun} {one_of(rng, MOVES[event.detail])}", Does(subject, "move", event.detail)
    if event.kind == "turn" and exact:
        new = word(event.detail, rng)
        verb = one_of(rng, [f"turns {new}", f"becomes {new}", f"changes from {word(event.origin, rng)} to {new}"])
        return f"{noun} {verb}", Does(subject, "turn", event.detail)
    return f"{noun} {one_of(rng, VERBS[event.kind])}", Does(subject, event.kind)


def first_event(caption: Caption, scene: Scene) -> Event:
    """The event that a story begins with."""
    first = caption.claims[0]
    for event in scene.events:
        if isinstance(first, Does) and (first.who, first.kind) == (who(scene, event), event.kind):
            return event
    raise ValueError(f"no event of the scene is described by '{caption.text}'")


def story(
    scene: Scene, rng: np.random.Generator, ground: float = GROUND_CHANCE, events: tuple[Event, ...] | None = None
) -> Caption:
    """All events of a scene (or these alone) in one sentence, with the background by chance `ground`."""
    events = scene.events if events is None else events
    text, claim = clause(scene, events[0], rng)
    claims: list[Claim] = [claim]
    last = len(events) == 2
    for before, now in pairwise(events):
        same, behind = before.actor == now.actor, before.end <= now.start
        later, following = clause(scene, now, rng, it=same)
        if behind:
            join = one_of(rng, SEQUENCES[:4] if same else SEQUENCES) if last else one_of(rng, SEQUENCES[:2])
        else:
            join = one_of(rng, OVERLAPS) if last else OVERLAPS[0]
        text = join.format(a=text, b=later)
        claims.append(Then(claim, following) if behind else While(claim, following))
        claim = following
    return _grounded(text, claims, scene, rng, ground)


def glimpse(scene: Scene, rng: np.random.Generator) -> Caption:
    """A part of a scene: one event, with or without its direction, what is to be seen, what stands still."""
    kind = int(rng.integers(5))
    event = scene.events[int(rng.integers(len(scene.events)))]
    if kind in (0, 1):
        text, claim = clause(scene, event, rng, exact=kind == 0)
        return _grounded(text, [claim], scene, rng, GROUND_CHANCE)
    if kind == 2:
        idle = [a for i, a in enumerate(scene.actors) if all(event.actor != i for event in scene.events)]
        if idle:
            text, claim = clause(scene, event, rng, exact=True)
            other = Who(idle[0].shape, idle[0].colour)
            verb = one_of(rng, ["stays where it is", "does not move", "rests"])
            return Caption(f"{text} while {name(other, rng)} {verb}", (claim, Stays(other)))
    looks = list(dict.fromkeys(_looks(scene)))
    chosen = [looks[i] for i in rng.permutation(len(looks))[: 1 + int(rng.integers(2))]]
    listed = " and ".join(name(look, rng) for look in chosen)
    text = one_of(rng, ["there is {x}", "{x}", "a video of {x}", "we see {x}"]).format(x=listed)
    return _grounded(text, [Shows(look) for look in chosen], scene, rng, GROUND_CHANCE)


def captions(scene: Scene, rng: np.random.Generator, count: int) -> list[Caption]:
    """`count` different true sentences, about half of them telling all that happens."""
    different: dict[str, Caption] = {}
    for turn in range(60 * count):
        caption = story(scene, rng) if turn % 2 == 0 else glimpse(scene, rng)
        different.setdefault(caption.text, caption)
        if len(different) == count:
            break
    else:
        raise ValueError(f"the grammar has fewer than {count} sentences for {scene}")
    return list(different.values())


def _grounded(text: str, claims: list, scene: Scene, rng: np.random.Generator, chance: float) -> Caption:
    if rng.random() < chance:
        text = f"{text} {one_of(rng, GROUNDS).format(g=scene.background)}"
        claims = [*claims, On(scene.background)]
    return Caption(text, tuple(claims))


def _looks(scene: Scene) -> list[Who]:
    """Every look of every actor that is clearly to be seen for a while."""
    times = np.linspace(0.0, scene.seconds, 9)
    looks = []
    for index, actor in enumerate(scene.actors):
        for time in times:
            now = state(scene, index, float(time))
            if now.opacity > 0.9 and now.blend == 1:
                looks.append(Who(actor.shape, now.colour))
    return looks
