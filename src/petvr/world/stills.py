"""Single pictures of the world with sentences that need no time: what the tiny CLIP learns before it sees a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from petvr.world import render
from petvr.world.caption_semantics import Who
from petvr.world.captions import GROUNDS, name
from petvr.world.scene import BACKGROUNDS, COLOURS, HEIGHT, RADIUS, SHAPES, WIDTH, ActorState
from petvr.world.seeds import one_of, one_weighted, shuffled

FRAMES_OF_SPEECH = ["{x}", "{x}", "{x}", "there is {x}", "we see {x}"]


@dataclass(frozen=True)
class Still:
    background: str
    shapes: tuple[tuple[str, ActorState], ...]

    def picture(self) -> np.ndarray:
        """uint8 [72, 96, 3]"""
        return render.draw_shapes(self.background, list(self.shapes))


def sample_still(rng: np.random.Generator) -> Still:
    """None to three shapes that do not touch, all in the central square."""
    count = one_weighted(rng, (0, 1, 2, 3), (0.03, 0.6, 0.35, 0.02))
    colours, shapes = shuffled(rng, COLOURS), shuffled(rng, SHAPES)
    placed: list[tuple[str, ActorState]] = []
    while len(placed) < count:
        r = RADIUS * float(rng.uniform(0.95, 1.05))
        x = float(rng.uniform(WIDTH / 2 - HEIGHT / 2 + r, WIDTH / 2 + HEIGHT / 2 - r))
        y = float(rng.uniform(r, HEIGHT - r))
        if all(np.hypot(x - other.x, y - other.y) > 1.2 * (r + other.radius) for _, other in placed):
            placed.append((shapes[len(placed)], ActorState(x, y, r, colours[len(placed)], 1.0)))
        elif rng.random() < 0.02:  # a corner from which the last shape finds no place
            placed.clear()
    return Still(one_of(rng, BACKGROUNDS), tuple(placed))


def third_of_square(now: ActorState) -> str:
    """`top left`, `middle`, `right`: the third of the central square a shape is in."""
    across = ("left", "", "right")[min(2, int(3 * (now.x - (WIDTH - HEIGHT) / 2) / HEIGHT))]
    down = ("top", "", "bottom")[min(2, int(3 * now.y / HEIGHT))]
    return " ".join(filter(None, [down, across])) or "middle"


def caption_still(still: Still, rng: np.random.Generator) -> str:
    """One true sentence about a picture."""
    ground = one_of(rng, GROUNDS).format(g=still.background)
    if not still.shapes:
        return one_of(rng, [f"nothing {ground}", f"a {still.background} background"])
    some = [still.shapes[k] for k in rng.permutation(len(still.shapes))]
    names = [name(Who(shape, now.colour)) for shape, now in some]
    how = rng.random()
    if len(some) >= 2 and how < 0.15:
        (_, one), (_, two) = some[:2]
        if abs(one.x - two.x) > abs(one.y - two.y):
            relation = "left of" if one.x < two.x else "right of"
        else:
            relation = "above" if one.y < two.y else "below"
        text = f"{names[0]} {relation} {names[1]}"
    elif how < 0.3:
        text = f"{names[0]} at the {third_of_square(some[0][1])}"
        if len(some) >= 2 and rng.random() < 0.5:
            text += f" and {names[1]} at the {third_of_square(some[1][1])}"
    else:
        text = " and ".join(names[: 1 + int(rng.integers(len(names)))] if rng.random() < 0.3 else names)
    text = one_of(rng, FRAMES_OF_SPEECH).format(x=text)
    return f"{text} {ground}" if rng.random() < 0.5 else text
