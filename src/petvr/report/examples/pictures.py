"""The papers' qualitative figures, drawn over the frames the model saw: what two runs find, weights of frames, patches.

Each function gives the drawn figure and the lines of its CSV.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from petvr.data.datasets import Split
from petvr.data.frames.store import FrameStore
from petvr.report.examples.choose import SEED, choose_queries, sample
from petvr.report.examples.page import GAP, frame_strip, joined
from petvr.report.figures import FigureRows, style
from petvr.report.figures.label import mathtext
from petvr.search.answers import SplitAnswers
from petvr.search.attention import PatchMaps

Drawn = tuple[Any, list[list[object]]]
RIGHT, WRONG = style.COLOURS[2], style.COLOURS[1]


def compose_results(figure: FigureRows, answers: Sequence[SplitAnswers], frames: FrameStore) -> Drawn:
    """Per direction that `y` names a few queries: left what the first row finds first, right what the second finds."""
    names = [row.name for row in figure.rows]
    both_right, only_first, only_second, both_wrong, *_ = choose_queries(answers, names, figure.spec.count)
    chosen = [*only_second.captions, *only_first.captions[:1], *both_right.captions[:1], *both_wrong.captions[:1]]
    directions = {text.split()[0] for text in figure.spec.y}
    items = [("t2v", caption) for caption in chosen if "t2v" in directions]
    items += [("v2t", int(answers[0].owner[caption])) for caption in chosen if "v2t" in directions]
    lines: list[list[object]] = [["direction", "query", "row", "first", "right"]]
    with style.figure(max(len(items), 1), 2, 9.6, 1.75 * max(len(items), 1) + 0.9) as (drawn, axes):
        style.head(drawn, figure)
        for (left, right), (direction, index) in zip(axes, items, strict=False):
            asked = textwrap.wrap(_asked(answers[0], direction, index), 150)
            said = []
            for axis, name, one in zip((left, right), names, answers, strict=True):
                query, answer, is_right = _first(one, direction, index)
                said.append(textwrap.wrap(f"{name}, {'right' if is_right else 'wrong'}: {answer}", 72)[:3])
                lines.append([direction, query, name, answer, is_right])
                _show(axis, frame_strip(frames, answer if direction == "t2v" else query), RIGHT if is_right else WRONG)
            high = max(map(len, said))
            for axis, above, each in ((left, asked, said[0]), (right, [], said[1])):  # the query stands over both
                title = [*above, *each, *[""] * (high - len(each))]
                axis.set_title(mathtext("\n".join(title)), fontsize=7.5)
        rule = "queries by rule and seed, as petvr examples chooses"
        notes = ["green: right; orange: wrong", rule, *_runs(figure)]
        style.foot(drawn, notes, figure)
        return drawn, lines


def _asked(answers: SplitAnswers, direction: str, index: int) -> str:
    """The query, and what would be right."""
    split = answers.split
    if direction == "t2v":
        return f"text → video: “{split.captions[index]}”; its video: {split.videos[split.caption_video[index]]}"
    video = split.videos[index]
    return f"video → text: {video}; its caption: “{split.captions_of(video)[0]}”"


def _first(answers: SplitAnswers, direction: str, index: int) -> tuple[str, str, bool]:
    """The query, what comes first for it, and whether that is right."""
    split = answers.split
    if direction == "t2v":
        video = answers.best_videos(index, 1)[0][0]
        return split.captions[index], split.videos[video], video == split.caption_video[index]
    text = answers.texts[answers.best_texts(index, 1)[0][0]]
    return split.videos[index], text, text in split.captions_of(split.videos[index])


def compose_modulation(
    figure: FigureRows, weights: dict[str, np.ndarray], videos: Sequence[str], frames: FrameStore
) -> Drawn:
    """`weights`: row -> [frames]. The factors do not depend on the video: its frames stand below for orientation."""
    lines: list[list[object]] = [["row", "frame", "weight"]]
    down = 1 + len(videos)
    with style.figure(down, max(len(weights), 1), 4.6 * max(len(weights), 1), 2.6 + 1.3 * len(videos)) as (drawn, axes):
        style.head(drawn, figure)
        for column, (name, weight) in enumerate(weights.items()):
            lines += [[name, frame, float(value)] for frame, value in enumerate(weight)]
            top = axes[0][column]
            top.bar(np.arange(len(weight)) + 0.5, weight, color=style.COLOURS[column], width=0.8)
            top.set_xlim(0, len(weight))
            top.set_ylim(0, max(map(np.max, weights.values())) * 1.1)
            top.set_xticks(np.arange(len(weight)) + 0.5, [str(frame + 1) for frame in range(len(weight))])
            top.set_title(mathtext(name))
            top.set_xlabel("frame")
            top.set_ylabel("mean |scale − 1|" if column == 0 else "")
            for axis, video in zip(axes[1:, column], videos, strict=True):
                _show(axis, frame_strip(frames, video), None)
                axis.set_title(video, fontsize=7.5)
        style.foot(drawn, _runs(figure), figure)
        return drawn, lines


def compose_correlation(figure: FigureRows, maps: dict[tuple[str, str], PatchMaps], frames: FrameStore) -> Drawn:
    """`maps`: (video, caption) -> its maps; above vanilla, below asynchronous attention; a cross marks the patch.

    Both are laid in one scale of colours over the grey frames, so that they are read on dark videos too.
    """
    lines: list[list[object]] = [["video", "attention", "frame", "patch", "cosine", "query"]]
    count = max(len(maps), 1)
    with style.figure(2 * count, 1, 7.0, 3.3 * count + 0.9) as (drawn, axes):
        style.head(drawn, figure)
        for number, ((video, caption), each) in enumerate(maps.items()):
            pixels, mask = frames.get([video])
            pictures = pixels[0][mask[0]].transpose(0, 2, 3, 1)
            both = np.stack([each.vanilla, each.asynchronous])
            for below, (name, cosines) in enumerate((("vanilla", each.vanilla), ("asynchronous", each.asynchronous))):
                axis, limits = axes[2 * number + below][0], (float(both.min()), float(both.max()))
                _overlay(axis, pictures, cosines, each, limits)
                said = f"{name} self-attention, cosines {cosines.min():.2f} to {cosines.max():.2f}"
                title = [said] if below else [*textwrap.wrap(f"{video}: “{caption}”", 90), said]
                axis.set_title(mathtext("\n".join(title)), fontsize=7.5)
                for frame, row in enumerate(cosines):
                    queried = frame == each.frame
                    lines += [[video, name, frame, patch, float(value), queried and patch == each.patch]
                              for patch, value in enumerate(row)]  # fmt: skip
        style.foot(
            drawn,
            ["yellow: more similar, blue: less; cross: the patch whose query is compared", *_runs(figure)],
            figure,
        )
        return drawn, lines


def _overlay(
    axis: Any, pictures: np.ndarray, cosines: np.ndarray, maps: PatchMaps, limits: tuple[float, float]
) -> None:
    """Frames side by side in grey, coloured by how similar their patches are."""
    from matplotlib import colormaps

    size, grid = pictures.shape[1], round(cosines.shape[1] ** 0.5)
    low, high = limits
    strips = []
    for picture, row in zip(pictures, cosines, strict=True):
        heat = colormaps["cividis"]((row.reshape(grid, grid) - low) / max(high - low, 1e-9))[..., :3]
        cell = -(-size // grid)
        colours = np.kron(heat, np.ones((cell, cell, 1)))[:size, :size]
        grey = picture.mean(axis=2, keepdims=True) / 255
        strips.append((255 * (0.6 * colours + 0.4 * grey)).astype(np.uint8))
    _show(axis, joined(strips), None)
    side = size / grid
    x = maps.frame * (size + GAP) + (maps.patch % grid + 0.5) * side
    for colour, width in (("black", 4), ("white", 2)):
        axis.plot(x, (maps.patch // grid + 0.5) * side, marker="+", color=colour, markersize=9, markeredgewidth=width)


def _show(axis: Any, picture: np.ndarray, colour: str | None) -> None:
    axis.imshow(picture)
    axis.axis("off")
    if colour:
        height, width = picture.shape[:2]
        axis.add_patch(Rectangle((0, 0), width - 1, height - 1, fill=False, edgecolor=colour, linewidth=2.5))


def _runs(figure: FigureRows) -> list[str]:
    return [row.results[0].id for row in figure.rows if row.results]


def sample_videos(split: Split, count: int) -> list[str]:
    """Of the split's videos, by hash and seed."""
    return [split.videos[index] for index in sample(split.videos, range(len(split.videos)), count, SEED)]


def modulation_weight(adapter: Path) -> np.ndarray:
    """[frames]: mean distance of the scale from 1, over all sites and channels of the vision tower."""
    from safetensors.numpy import load_file

    tensors, weights = load_file(adapter), []
    for name, rows in tensors.items():
        if ".scale.rows." in name:
            scale = rows[:, 0].astype(np.float64)
            columns = tensors.get(name.replace(".rows.", ".columns."))
            weights.append(np.abs((scale if columns is None else scale @ columns) - 1).mean(axis=1))
    return np.mean(weights, axis=0)
