"""The rules by which frames and pictures could have been made instead: what explains a canary that deviates.

Each is written here anew, not with the functions it is compared with. Pictures are uint8 [3, size, size] RGB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petvr.data.frames import decode, pool, preprocess, samplers
from petvr.data.frames.index import StoreSettings
from petvr.errors import PetvrError

RECIPE = "the recipe's rules"
SECONDS = 300.0  # for one video
Picture = Callable[[np.ndarray, int], np.ndarray]
Window = tuple[float, float] | None


def centred(image: np.ndarray, size: int) -> np.ndarray:
    """CLIP's: shorter side to `size`, bicubic, the middle of the longer one."""
    return _cropped(_resized(image, size, _bicubic()), size, 0.5)


def cornered(image: np.ndarray, size: int) -> np.ndarray:
    return _cropped(_resized(image, size, _bicubic()), size, 0.0)


def squeezed(image: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image

    return _channels_first(np.asarray(Image.fromarray(image).resize((size, size), _bicubic())))


def bilinear(image: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image

    return _cropped(_resized(image, size, Image.Resampling.BILINEAR), size, 0.5)


def exchanged(image: np.ndarray, size: int) -> np.ndarray:
    return np.ascontiguousarray(centred(image, size)[::-1])


def aliased(image: np.ndarray, size: int) -> np.ndarray:
    return preprocess.prepare(image, size, "crop_aliased")


OF_RECIPES: dict[str, Picture] = {"crop": centred, "stretch": squeezed, "crop_aliased": aliased}
PICTURES: dict[str, tuple[str, Picture]] = {
    "bgr": ("red and blue are exchanged (BGR for RGB)", exchanged),
    "corner": ("the centre crop is missing: pictures are cut from the left and top", cornered),
    "squeezed": ("the centre crop is missing: pictures are squeezed into a square", squeezed),
    "centred": ("pictures are cropped, not stretched", centred),
    "aliased": ("pictures are resized without antialiasing, as X-Pool's code does", aliased),
    "bilinear": ("pictures are resized by a bilinear filter, not the bicubic one", bilinear),
}


@dataclass(frozen=True)
class FrameAlternative:
    """Another frame rule or picture rule; `name` is a whole sentence."""

    name: str
    rule: str  # a sampler, or one of this file's
    picture: str = ""  # key of PICTURES; "" is the recipe's


def frame_alternatives(sampler: str, picture: str) -> list[FrameAlternative]:
    """The recipe's own rules first; each other one differs from them in one thing."""
    rules = [name for name in samplers.SAMPLERS if name != sampler]
    listed = [FrameAlternative(RECIPE, sampler)]
    listed += [
        FrameAlternative(sentence, sampler, key)
        for key, (sentence, function) in PICTURES.items()
        if function is not OF_RECIPES[picture]
    ]
    listed += [FrameAlternative(f"frames are chosen by {name}, not by {sampler}", name) for name in rules]
    listed.append(FrameAlternative("videos were compressed to 3 frames a second first", "3fps"))
    listed.append(FrameAlternative("the first frames at one a second are taken", "head"))
    listed.append(FrameAlternative("the last frames at one a second are taken", "tail"))
    return listed


def picked(rule: str, sampler: str, n_frames: int, fps: float, frames: int, seconds: float | None) -> np.ndarray:
    """Frame indices under any rule; what is no sampler changes one thing of `sampler`, the recipe's."""
    if rule in samplers.SAMPLERS:
        return samplers.pick(rule, n_frames=n_frames, fps=fps, frames=frames, seconds=seconds)
    if rule == "3fps":
        ratio = max(1.0, fps / 3)
        kept = max(1, int(n_frames / ratio))
        chosen = samplers.pick(sampler, n_frames=kept, fps=min(3.0, fps), frames=frames, seconds=seconds)
        return np.minimum((chosen * ratio).round().astype(np.int64), n_frames - 1)
    steps = np.arange(0, n_frames, max(1, int(fps)), dtype=np.int64)
    return steps[:frames] if rule == "head" else steps[-frames:]


def alternative_frames(
    path: Path, window: Window, listed: Sequence[FrameAlternative], rule: StoreSettings
) -> list[np.ndarray]:
    """One video decoded once: for each alternative uint8 [n, 3, size, size]. Runs in a worker."""
    chosen: dict[str, np.ndarray] = {}
    length = window[1] - window[0] if window else None

    def all_indices(n_frames: int, fps: float) -> np.ndarray:
        for one in listed:
            chosen[one.rule] = picked(one.rule, rule.sampler, n_frames, fps, rule.frames, length)
        return np.unique(np.concatenate(list(chosen.values())))

    decoded = decode.read_frames(path, all_indices, window=window)
    first = int(decoded.indices[0] - min(int(indices[0]) for indices in chosen.values()))  # where the window begins
    rows = {index: row for row, index in enumerate((decoded.indices - first).tolist())}
    return [
        np.stack(
            [_picture(one, rule.picture)(decoded.pixels[rows[index]], rule.size) for index in chosen[one.rule].tolist()]
        )
        for one in listed
    ]


def decoded_alternatives(
    videos: dict[str, tuple[Path, Window]],
    listed: Sequence[FrameAlternative],
    rule: StoreSettings,
    workers: int,
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Each readable video with its frames under every alternative, in processes of their own."""

    def tasks() -> Iterator[tuple[str, tuple]]:
        for video, (path, window) in videos.items():
            yield video, (path, window, listed, rule)

    count = max(1, min(workers, len(videos)))
    for outcome in pool.run_tasks(alternative_frames, tasks(), workers=count, seconds=SECONDS):
        if not outcome.error and not outcome.lost:
            yield outcome.key, outcome.value


def named_by_pixels(stored: dict[str, np.ndarray], anew: dict[str, list[np.ndarray]], names: Sequence[str]) -> str:
    """The alternative whose frames are those stored; "" where they are the recipe's, else with how far off they are.

    Several may fit (a short clip has the same frames under many rules): the first named one is taken, so that what
    differs by a picture rule is not called a frame rule.
    """
    if not anew:
        raise PetvrError("none of the videos looked at can be decoded anew")
    gaps = [
        max(_apart(stored[video], of_video[number]) for video, of_video in anew.items()) for number in range(len(names))
    ]
    if gaps[0] == 0:
        return ""
    best = int(np.argmin(gaps))
    if gaps[best] == 0:
        return names[best]
    if best == 0:
        return f"they differ from the recipe's by {gaps[0]:.1f} levels: another decoder, or videos changed since"
    return (
        f"nearest: {names[best]}; they differ from that by {gaps[best]:.1f} levels, from the recipe's by {gaps[0]:.1f}"
    )


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference in grey levels; as many as there are where the number of frames differs."""
    if one.shape != other.shape:
        return 255.0
    return float(np.abs(one.astype(np.int16) - other).mean())


def _picture(one: FrameAlternative, of_recipe: str) -> Picture:
    return PICTURES[one.picture][1] if one.picture else OF_RECIPES[of_recipe]


def _bicubic() -> int:
    from PIL import Image

    return Image.Resampling.BICUBIC


def _resized(image: np.ndarray, size: int, method: int) -> np.ndarray:
    from PIL import Image

    height, width = image.shape[:2]
    short = min(height, width)
    if short == size:
        return image
    target = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    return np.asarray(Image.fromarray(image).resize(target, method))


def _cropped(image: np.ndarray, size: int, part: float) -> np.ndarray:
    """A square that has `part` of what is cut off on its left and above it."""
    top, left = (round((side - size) * part) for side in image.shape[:2])
    return _channels_first(image[top : top + size, left : left + size])


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))
