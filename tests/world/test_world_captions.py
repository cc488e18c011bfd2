"""Captions say what the pixels show: read from the text and from the picture, without the scene in between."""

import re

import numpy as np
import pytest
import world_pixels

from petvr.world import captions, render, scene_sampler, stills
from petvr.world.caption_semantics import is_temporal, is_true_of
from petvr.world.layouts import KINDS, load_layout
from petvr.world.scene import COLOURS, SHAPES, reversed_scene, state
from petvr.world.seeds import generator

pytestmark = pytest.mark.slow  # renders what every kind of story tells

WAYS = {
    "left": r"(moves|goes|slides|travels) (to the )?left",
    "right": r"(moves|goes|slides|travels) (to the )?right",
    "up": r"(moves|goes|slides|travels) up|rises",
    "down": r"(moves|goes|slides|travels) down|falls",
    "appear": r"appears|shows up|comes into view",
    "disappear": r"disappears|vanishes|goes away",
    "turn": rf"(?:turns|becomes|changes from \w+ to) (?P<new>{'|'.join(COLOURS)})",
    "grow": r"grows|gets bigger|becomes larger",
    "shrink": r"shrinks|gets smaller|becomes smaller",
    "stay": r"stays where it is|does not move|rests",
}
AXES = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}
SUBJECT = rf"(?:a (?P<colour>{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})|(?P<it>it)) (?P<verb>.*)"
FPS = 5


def draw_frame(scene, time):
    """The picture at `time` seconds, uint8 [height, width, 3]."""
    now = [(actor.shape, state(scene, number, time)) for number, actor in enumerate(scene.actors)]
    return render.draw_shapes(scene.background, now)


def plain(text: str) -> str:
    """The text with every colour and shape by its first name."""
    for first, other in captions.OTHER_NAMES.items():
        text = re.sub(rf"\b{other}\b", first, text)
    return re.sub(r"\ban? (?=[a-z])", "a ", text)


def in_time(text: str) -> list[str]:
    """The clauses of a sentence about two events, in the order in which they happen."""
    for pattern, order in [
        (r"^first (.*), then (.*)$", (1, 2)),
        (r"^after (.*), (.*)$", (1, 2)),
        (r"^before (.*), (.*)$", (2, 1)),
        (r"^(.*) before (.*)$", (1, 2)),
        (r"^(.*) after (.*)$", (2, 1)),
        (r"^(.*?)(?:, then| and then) (.*)$", (1, 2)),
    ]:
        if match := re.match(pattern, text):
            one, two = (match[order[0]], match[order[1]])
            return [*in_time(one), *in_time(two)]
    return [text]


def onset(clause: str, before: str | None, seen: dict[str, np.ndarray]) -> tuple[float, str]:
    """When what a clause tells begins by the pixels, and the actor's colour then; fails where it never does."""
    match = re.fullmatch(SUBJECT, clause)
    assert match, clause
    colour = match["colour"] or before
    kind, hit = next((k, m) for k, w in WAYS.items() if (m := re.fullmatch(w, match["verb"])))
    x, y, area = seen[colour].T
    there = area > 0
    if kind in AXES:
        axis, sign = AXES[kind]
        way = sign * (x, y)[axis]
        across = (y, x)[axis]
        seen_first = np.flatnonzero(there)[0]
        gone = way - way[seen_first]
        middle = np.nanargmin(np.abs(gone - np.nanmax(gone) / 2))
        assert np.nanmax(gone) > 20, (clause, "too short a way")
        on_the_way = (gone > 3) & (gone < np.nanmax(gone) - 3)
        assert np.nanmax(np.abs(across[on_the_way] - across[middle])) < 3, (clause, "not along one axis")
        return np.argmax(gone > 3), colour
    if kind == "appear":
        assert not there[0] and there.any(), clause
        return np.argmax(there), colour
    if kind == "disappear":
        assert not there[-1], clause
        return np.flatnonzero(there)[-1], colour
    if kind == "turn":
        new = hit["new"]
        assert not seen[new][0, 2] and there.any(), clause
        begin = np.argmax(seen[new][:, 2] > 0)
        assert not there[begin + 1 :].any(), (clause, "the old colour is still there")
        return begin, new
    if kind == "stay":
        assert np.ptp(x) < 1 and np.ptp(y) < 1 and there.all(), clause
        return 0.0, colour
    first = np.flatnonzero(there)[0]
    first += 3 if first else 0  # a shape that appears needs half a second for it
    before = np.median(area[first : first + 3])
    changed = area > 1.25 * before if kind == "grow" else there & (area < before / 1.25)
    assert changed[-1] or not there[-1], clause
    begin = np.argmax(changed & (np.arange(len(area)) > first))
    assert changed[begin], clause
    return begin, colour


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_story_tells_happens_on_the_screen_in_this_order(kind):
    told = 0
    for number in range(4):
        rng = generator(11, kind, number)
        scene = scene_sampler.sample_scene(load_layout(kind).STYLE, rng)
        pictures = [draw_frame(scene, t) for t in np.arange(0, scene.seconds, 1 / FPS)]
        seen = world_pixels.tracks(pictures)
        for _ in range(18):
            caption = captions.story(scene, rng, ground=0.5)
            text = plain(caption.text)
            if match := re.search(r" (?:on|in front of)(?: a)? (black|white|gray|brown)(?: background)?$", text):
                assert world_pixels.background(pictures[0]) == match[1]
                text = text[: match.start()]
            if re.search(r"\bwhile | as |at the same time", text):
                continue
            colour, last = None, -1.0
            for clause in in_time(text):
                begin, colour = onset(clause, colour, seen)
                assert begin > last, text
                last = begin
            told += 1
    assert told >= 40


def test_a_clip_played_backwards_shows_the_same_pictures_and_makes_temporal_captions_false():
    for number in range(30):
        rng = generator(3, "backwards", number)
        scene = scene_sampler.sample_scene(load_layout("msrvtt").STYLE, rng)
        back = reversed_scene(scene)
        for time in np.linspace(0.01, scene.seconds - 0.01, 9):
            difference = draw_frame(scene, time).astype(int) - draw_frame(back, scene.seconds - time)
            assert np.abs(difference).max() <= 2
        story = captions.story(scene, rng)
        assert is_true_of(story, scene) and is_temporal(story, scene) and not is_true_of(story, back)


def test_captions_differ_are_true_and_most_but_not_all_need_time():
    need = []
    for number in range(20):
        rng = generator(5, "captions", number)
        scene = scene_sampler.sample_scene(load_layout("msvd").STYLE, rng)
        told = captions.captions(scene, rng, 20)
        assert len({caption.text for caption in told}) == 20
        assert all(is_true_of(caption, scene) for caption in told)
        need += [is_temporal(caption, scene) for caption in told]
    assert 0.5 < np.mean(need) < 0.8


def test_a_false_word_makes_a_caption_false():
    rng = generator(8, "false")
    scene = next(
        scene
        for scene in (scene_sampler.sample_scene(load_layout("msvd").STYLE, rng) for _ in range(99))
        if [event.kind for event in scene.events] == ["move"]
    )
    caption = captions.story(scene, rng, ground=1.0)
    does, on = caption.claims
    other = {"left": "right", "right": "left", "up": "down", "down": "up"}[does.detail]
    wrong = [type(does)(does.who, "move", other), type(on)("white" if on.background != "white" else "black")]
    assert is_true_of(caption, scene)
    assert not any(is_true_of(type(caption)(caption.text, (claim,)), scene) for claim in wrong)


def test_sentences_about_stills_are_true_of_their_pixels():
    relations = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
    checked = 0
    for number in range(300):
        rng = generator(2, "still", number)
        still = stills.sample_still(rng)
        picture = still.picture()
        seen = world_pixels.tracks([picture])
        text = stills.caption_still(still, rng)
        for colour in re.findall("|".join(COLOURS), text):
            assert seen[colour][0, 2] > 0, text
        if match := re.search(r"(black|white|gray|brown)", text):
            assert world_pixels.background(picture) == match[1], text
        if match := re.search(r"(\w+) \w+ (left of|right of|above|below) an? (\w+)", text):
            axis, sign = relations[match[2]]
            assert sign * (seen[match[1]][0, axis] - seen[match[3]][0, axis]) > 0, text
            checked += 1
    assert checked > 15
