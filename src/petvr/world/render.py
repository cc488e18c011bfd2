"""Draws a scene: each shape is a signed distance, its edge one pixel wide, so that no picture needs supersampling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from petvr.world.scene import BACKGROUNDS, COLOURS, HEIGHT, WIDTH, ActorState, Scene, state


def distance_to_edge(shape: str, x: np.ndarray, y: np.ndarray, r: float) -> np.ndarray:
    """Pixels from the edge of a shape of radius `r` at the origin, negative inside; y points down."""
    if shape == "circle":
        return np.hypot(x, y) - 0.85 * r
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - r
    if shape == "triangle":
        return np.maximum((np.abs(x) * 2 - (y + r)) / np.hypot(2.0, 1.0), y - r)
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.9 * r) - 0.15 * r
    if shape == "bar":
        return np.maximum(np.abs(x) - 1.05 * r, np.abs(y) - 0.3 * r)
    raise ValueError(shape)


def paint_shape(picture: np.ndarray, shape: str, now: ActorState) -> None:
    """Lay one shape over `picture` (float [height, width, 3], 0..255) in place."""
    reach = now.radius + 2
    left, right = max(0, int(now.x - reach)), min(WIDTH, int(now.x + reach) + 2)
    top, bottom = max(0, int(now.y - reach)), min(HEIGHT, int(now.y + reach) + 2)
    if now.opacity <= 0 or left >= right or top >= bottom:
        return
    x = np.arange(left, right)[None, :] + 0.5 - now.x
    y = np.arange(top, bottom)[:, None] + 0.5 - now.y
    cover = np.clip(0.5 - distance_to_edge(shape, x, y, now.radius), 0.0, 1.0)[..., None] * now.opacity
    colour = np.array(COLOURS[now.colour], np.float32)
    if now.old and now.blend < 1:
        colour = now.blend * colour + (1 - now.blend) * np.array(COLOURS[now.old], np.float32)
    patch = picture[top:bottom, left:right]
    patch += cover.astype(np.float32) * (colour - patch)


def draw_shapes(background: str, shapes: list[tuple[str, ActorState]]) -> np.ndarray:
    """uint8 [height, width, 3] of these shapes."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.float32)
    picture[:] = BACKGROUNDS[background]
    for shape, now in shapes:
        paint_shape(picture, shape, now)
    return np.rint(picture).astype(np.uint8)


def draw_frames(scene: Scene) -> Iterator[np.ndarray]:
    """All pictures of a scene; one in which nothing has changed is the same array again."""
    last: np.ndarray | None = None
    key: list[tuple[str, ActorState]] = []
    for index in range(scene.frames):
        time = index * scene.fps.denominator / scene.fps.numerator
        now = [(actor.shape, state(scene, number, time)) for number, actor in enumerate(scene.actors)]
        if last is None or now != key:
            last, key = draw_shapes(scene.background, now), now
        yield last
