"""Pairs of clips that one thing alone tells apart, as frames in memory, with captions as token ids.

A pair has one subject, a coloured square or ring at rest on grey. What an order probe compares are the same frames,
noise included, in another order. Legend: N pairs, F frames, W words.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import Tensor

from petvr.training.determinism import numpy_generator
from petvr.training.model import BatchTensors
from petvr.world.scene import COLOURS

SIZE, FRAMES, WORDS = 24, 6, 14
SIDE, DOT = 8, 3  # pixels of a subject, of a dot
SHAPES = ("square", "ring")
SUBJECTS = tuple(product(COLOURS, SHAPES))
PLACES = {"left": (8, 1), "right": (8, 15), "top": (1, 8), "bottom": (15, 8), "middle": (8, 8)}
COUNTS: dict[str, list[tuple[int, ...]]] = {
    "once": [(3,)],
    "twice": [(2, 1), (1, 2)],
    "thrice": [(1, 1, 1)],
}  # frames of each piece
VERBS = "a on and dot flashes turns then appears vanishes blinks"
NUMBERS = {word: n for n, word in enumerate((*COLOURS, *SHAPES, *PLACES, *COUNTS, *VERBS.split()), start=1)}
SOT, EOT = len(NUMBERS) + 1, len(NUMBERS) + 2

Random = np.random.Generator
Subject = tuple[str, str]  # colour, shape
Clips = list[np.ndarray]  # two, uint8 [F, 3, SIZE, SIZE]
Captions = list[str]  # theirs, without the subject


def empty_clip(rng: Random, colour: str = "") -> np.ndarray:
    """[F, SIZE, SIZE, 3] of a colour, or of some grey"""
    shade = np.array(COLOURS[colour] if colour else [rng.integers(90, 160)] * 3, np.int16)
    return np.broadcast_to(shade, (FRAMES, SIZE, SIZE, 3)).copy()


def paint(frame: np.ndarray, colour: str, shape: str, top: int, left: int) -> None:
    area = frame[top : top + SIDE, left : left + SIDE]
    hole = area[2:-2, 2:-2].copy()
    area[:] = COLOURS[colour]
    if shape == "ring":
        area[2:-2, 2:-2] = hole


def anywhere(rng: Random) -> tuple[int, int]:
    top, left = rng.integers(0, SIZE - SIDE + 1, 2)
    return int(top), int(left)


def noisy(clip: np.ndarray, rng: Random) -> np.ndarray:
    """uint8, channels first"""
    return (
        np.clip(clip + rng.integers(-10, 11, clip.shape, dtype=np.int8), 0, 255).astype(np.uint8).transpose(0, 3, 1, 2)
    )


def two_colours(subject: Subject, rng: Random) -> tuple[str, str]:
    """Different ones, neither the subject's."""
    one, two = rng.choice([name for name in COLOURS if name != subject[0]], 2, replace=False)
    return str(one), str(two)


def appearance(subject: Subject, rng: Random) -> tuple[Clips, Captions]:
    grounds, place, clips = two_colours(subject, rng), anywhere(rng), []
    for ground in grounds:
        clips.append(empty_clip(rng, ground))
        for frame in clips[-1]:
            paint(frame, *subject, *place)
    return [noisy(clip, rng) for clip in clips], [f"on {ground}" for ground in grounds]


def small_patch(subject: Subject, rng: Random) -> tuple[Clips, Captions]:
    dots, (top, left), still = two_colours(subject, rng), anywhere(rng), empty_clip(rng)
    for frame in still:
        paint(frame, *subject, top, left)
    beside = [(y, x) for y in range(SIZE - DOT) for x in range(SIZE - DOT)
              if not (top - DOT < y < top + SIDE and left - DOT < x < left + SIDE)]  # fmt: skip
    y, x = beside[rng.integers(len(beside))]
    clips = [still.copy(), still.copy()]
    for clip, dot in zip(clips, dots, strict=True):
        clip[:, y : y + DOT, x : x + DOT] = COLOURS[dot]
    return [noisy(clip, rng) for clip in clips], [f"and a {dot} dot" for dot in dots]


def one_frame(subject: Subject, rng: Random) -> tuple[Clips, Captions]:
    flashes, at, place, still = two_colours(subject, rng), rng.integers(FRAMES), anywhere(rng), empty_clip(rng)
    clips = [still.copy(), still.copy()]
    for clip, flash in zip(clips, flashes, strict=True):
        for number, frame in enumerate(clip):
            paint(frame, flash if number == at else subject[0], subject[1], *place)
    return [noisy(clip, rng) for clip in clips], [f"flashes {flash}" for flash in flashes]


def reversed_clip(subject: Subject, rng: Random) -> tuple[Clips, Captions]:
    clip, place = empty_clip(rng), anywhere(rng)
    for frame in clip[rng.integers(2, FRAMES - 1) :]:
        paint(frame, *subject, *place)
    clip = noisy(clip, rng)
    return [clip, clip[::-1]], ["appears", "vanishes"]


def swapped(subject: Subject, rng: Random) -> tuple[Clips, Captions]:
    """Each event lasts two frames; its own colour between them."""
    (one, two), place, clip = two_colours(subject, rng), anywhere(rng), empty_clip(rng)
    first, second = int(rng.integers(0, 2)), int(rng.integers(3, 5))
    shown = {first: one, first + 1: one, second: two, second + 1: two}
    for number, frame in enumerate(clip):
        paint(frame, shown.get(number, subject[0]), subject[1], *place)
    clip, order = noisy(clip, rng), np.arange(FRAMES)
    order[[first, first + 1, second, second + 1]] = [second, second + 1, first, first + 1]
    return [clip, clip[order]], [f"turns {one} then {two}", f"turns {two} then {one}"]


def counting(subject: Subject, rng: Random) -> tuple[Clips, Captions]:
    clip, place, clips = empty_clip(rng), anywhere(rng), []
    for frame in clip[: FRAMES // 2]:
        paint(frame, *subject, *place)
    clip = noisy(clip, rng)
    counts = [str(count) for count in rng.choice(list(COUNTS), 2, replace=False)]
    for count in counts:
        with_it, without, order = 0, FRAMES // 2, []
        for seen in pieces(COUNTS[count][rng.integers(len(COUNTS[count]))], rng):
            order.append(with_it if seen else without)
            with_it, without = with_it + seen, without + (not seen)
        clips.append(clip[order])
    return clips, [f"blinks {count}" for count in counts]


def pieces(lengths: tuple[int, ...], rng: Random) -> list[bool]:
    """In which frames something is to be seen that comes in pieces of these lengths, at least one frame apart."""
    spare = FRAMES - sum(lengths) - len(lengths) + 1
    cuts = [0, *np.sort(rng.integers(0, spare + 1, len(lengths))), spare]
    seen: list[bool] = []
    for number, length in enumerate(lengths):
        seen += [False] * (cuts[number + 1] - cuts[number] + (number > 0)) + [True] * length
    return seen + [False] * (FRAMES - len(seen))


DRAWN: dict[str, Callable[[Subject, Random], tuple[Clips, Captions]]] = {
    "appearance": appearance,
    "small_patch": small_patch,
    "one_frame": one_frame,
    "reversed": reversed_clip,
    "swapped": swapped,
    "counting": counting,
}


def token_ids(captions: list[str]) -> Tensor:
    """[N, W], zeros behind EOT"""
    ids = torch.zeros(len(captions), WORDS, dtype=torch.long)
    for row, caption in zip(ids, captions, strict=True):
        tokens = [SOT, *(NUMBERS[word] for word in caption.split()), EOT]
        row[: len(tokens)] = torch.tensor(tokens)
    return ids


def batch_of(clips: list[np.ndarray], captions: list[str]) -> BatchTensors:
    pixels = torch.from_numpy(np.stack(clips))
    return BatchTensors(token_ids(captions), pixels, torch.ones(pixels.shape[:2], dtype=torch.bool), None)


def pairs(probe: str, split: str, count: int) -> BatchTensors:
    """`count` pairs, the two of a pair one behind the other; 16 pairs in a row have different subjects."""
    rng = numpy_generator(0, "probes", probe, split)
    clips: list[np.ndarray] = []
    captions: list[str] = []
    subjects: list[int] = []
    for _ in range(count):
        subjects = subjects or rng.permutation(len(SUBJECTS)).tolist()
        colour, shape = SUBJECTS[subjects.pop()]
        drawn, texts = DRAWN[probe]((colour, shape), rng)
        clips += drawn
        captions += [f"a {colour} {shape} {text}" for text in texts]
    return batch_of(clips, captions)


def stills(count: int) -> BatchTensors:
    """Single pictures of one subject or two, with their places: what the CLIP of the probes has read before."""
    rng = numpy_generator(0, "probes", "stills")
    frames, captions = [], []
    for _ in range(count):
        subject = SUBJECTS[rng.integers(len(SUBJECTS))]
        ground, other = two_colours(subject, rng)
        ground = ground if rng.random() < 0.4 else ""
        frame = empty_clip(rng, ground)[:1]
        shown = [subject, (other, SHAPES[rng.integers(2)])][: 1 + (rng.random() < 0.4)]
        texts = []
        for (colour, shape), name in zip(shown, rng.choice(list(PLACES), len(shown), replace=False), strict=True):
            top, left = np.clip(PLACES[name] + rng.integers(-2, 3, 2), 0, SIZE - SIDE)
            paint(frame[0], colour, shape, top, left)
            texts.append(f"a {colour} {shape} {name}")
        frames.append(noisy(frame, rng))
        captions.append(" and ".join(texts) + f" on {ground}" * bool(ground))
    return batch_of(frames, captions)
