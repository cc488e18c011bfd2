"""Zero-shot on a whole test set beside what a paper prints of it, or what was recorded. It needs no training and has no
noise, and checks annotation files, split, captions, decoding, frame rule, pixels, tokenizer, towers, pooling, metrics
at once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from petvr.clip import weights as clip_weights
from petvr.data.datasets import Dataset, Split
from petvr.data.frames import store
from petvr.data.frames.index import FrameIndex
from petvr.data.frames.stored_frames import StoredFrames, damaged_frames
from petvr.errors import PetvrError
from petvr.rehearsal import alternatives, explain
from petvr.rehearsal.explain import Canary
from petvr.rehearsal.parts import Part
from petvr.rehearsal.reference import Reference

LOOKED_AT = 4  # videos whose stored frames are compared with their files
SHADES = 3  # grey levels by which a frame's mean colours may differ from recorded ones: decoders round otherwise
ASKED = "is zero-shot what is expected?"
AGREES = "{} of {} numbers agree"


def check_canary(part: Part, canary: Canary, reference: Reference | None, device: torch.device, workers: int) -> None:
    """Everything that can be asked of one data set, into `part`; facts hold what another installation may compare."""
    split = _checked_split(part, canary, reference)
    if split is None:
        return
    frames = _checked_store(part, canary, split, workers)
    if frames is None:
        return
    available = split.keep(set(frames.ids)) if set(split.videos) - set(frames.ids) else split
    lost = 1 - len(available.videos) / len(split.videos)
    if lost:
        says = f"{len(split.videos) - len(available.videos)} of {len(split.videos)} test videos have no frames"
        remedy = f"petvr data status {canary.dataset.name} says which and why"
        part.add("are the test videos there?", None if lost <= 0.05 else False, says, remedy)
    right = _check_pixels(part, canary, available, frames, reference, workers)
    stage = explain.Stage(canary, available, frames, device)
    measured = stage.ranked(stage.texts(), stage.videos)
    part.facts |= {
        "metrics": explain.rounded(measured.directions()),
        "videos": len(available.videos),
        "split": split.digest(),
    }
    part.facts |= {"queries": len(available.captions), "weights": clip_weights.digest(canary.weights)}
    part.facts |= {"shades": {video: frame_shades(_stored(frames, video)) for video in available.videos[:LOOKED_AT]}}
    if reference is None or not right:
        says = (
            "no paper prints its zero-shot row and nothing is recorded" if right else "its frames must be right first"
        )
        part.add(ASKED, None, says)
        return
    reference = replace(reference, points=reference.points + 100 * lost, share=reference.share + lost)
    part.facts |= {"reference": reference.metrics, "where": reference.where}
    part.facts |= {"tolerance": {"points": round(reference.points, 2), "MnR share": round(reference.share, 3)}}
    wrong = explain.deviations(measured.directions(), reference)
    total = sum(len(values) for values in reference.metrics.values())
    says = AGREES.format(total - len(wrong), total) + f" with {reference.where}"
    remedy = ""
    if wrong:
        nearest = explain.tried_alternatives(stage, measured, reference, workers)
        part.facts["nearest"] = nearest
        says += f": {'; '.join(wrong[:4])}. {explain.nearest_sentence(nearest, measured)}"
        remedy = (
            "mend the rule that is named"
            if nearest[0]["fits"]
            else ("compare the facts below with those of another installation: petvr rehearse --record, --values")
        )
    part.add(ASKED, not wrong, says, remedy)


def _checked_split(part: Part, canary: Canary, reference: Reference | None) -> Split | None:
    verb = "world" if canary.dataset.synthetic else "download"
    remedy = f"petvr {verb} {canary.dataset.folder}, or put the official file there"
    asked = "is it the official test split?"
    try:
        split = canary.dataset.complete("test")
        for path in () if canary.dataset.synthetic else canary.dataset.files("test"):
            _require_published(canary.dataset, path)
    except PetvrError as error:
        part.add(asked, False, f"wrong split file: {error}", remedy)
        return None
    if reference is not None and reference.split not in ("", split.digest()):
        of = f"{len(split.videos)} videos and {len(split.captions)} captions, digest {split.digest()}"
        says = (
            f"wrong split file: {canary.dataset.files('test')[0]} gives {of}; {reference.where} is of {reference.split}"
        )
        part.add(asked, False, says, remedy)
        return None
    part.add(asked, True, f"{len(split.videos):,} videos, {len(split.captions):,} captions, digest {split.digest()}")
    return split


def _require_published(dataset: Dataset, path: Path) -> None:
    """Other ends of lines are no other file. PetvrError with both digests where a known file has other content."""
    published = {one.key: {mirror.sha256 for mirror in one.mirrors if mirror.kind == "file"} for one in dataset.sources}
    known = published.get(path.name, set()) - {None}
    content = path.read_bytes() if known else b""
    ours = {hashlib.sha256(one).hexdigest() for one in (content, content.replace(b"\r\n", b"\n"))}
    if known and not ours & known:
        raise PetvrError(
            f"{path} is not the published file: sha256 {min(ours)}, published {', '.join(map(str, known))}"
        )


def _checked_store(part: Part, canary: Canary, split: Split, workers: int) -> store.FrameStore | None:
    """The grid's own store where it is there, its test videos read whole; else one of the test videos alone."""
    recipe, path = canary.spec.recipe, canary.store
    if path == canary.own_store:
        items = [store.VideoItem(v, canary.dataset.video_file(v), canary.dataset.window(v)) for v in split.videos]
        rule = canary.rule
        store.build_store(
            items, path, sampler=rule.sampler, frames=rule.frames, size=rule.size, picture=rule.picture,
            workers=workers, progress=False,
        )  # fmt: skip
    asked, remedy = "are the stored frames whole?", "delete the file that is named and build the store again"
    try:
        if harmed := harmed_files(path, split):
            part.add(asked, False, "; ".join(f"{file}: damaged ({why})" for file, why in harmed.items()), remedy)
            return None
        frames = store.FrameStore(path)
        for key, wanted in (
            ("sampler", recipe.sampler),
            ("frames", recipe.frames),
            ("size", canary.size),
            ("picture", recipe.picture),
        ):
            if getattr(frames, key) != wanted:
                raise PetvrError(f"{path}: {key} {getattr(frames, key)}, the recipe asks for {wanted}")
    except PetvrError as error:
        part.add(asked, False, str(error), remedy)
        return None
    part.add(asked, True, f"{len(frames)} videos in {path.name}")
    return frames


def harmed_files(path: Path, split: Split) -> dict[Path, str]:
    """Files of a store that hold frames of test videos which do not fit their checksum, with the first of these."""
    index = FrameIndex.read(path)
    stored, wanted = StoredFrames(path, index), set(split.videos)
    asked = replace(index, videos={video: entry for video, entry in index.videos.items() if video in wanted})
    harmed: dict[Path, list[str]] = {}
    for video in damaged_frames(stored, asked):
        number = int(stored.locate(np.array([index.videos[video].offset]))[0][0])
        harmed.setdefault(path / index.files[number].file, []).append(video)
    return {file: f"{len(videos)} test videos, the first is '{videos[0]}'" for file, videos in harmed.items()}


def _check_pixels(
    part: Part, canary: Canary, split: Split, frames: store.FrameStore, reference: Reference | None, workers: int
) -> bool:
    """Some videos decoded anew: whether the stored frames are those of the recipe's rules, and look as recorded."""
    listed = alternatives.frame_alternatives(canary.rule.sampler, canary.rule.picture)
    names, videos = [one.name for one in listed], canary.sources(split.videos[:LOOKED_AT])
    anew = dict(alternatives.decoded_alternatives(videos, listed, canary.rule, workers))
    stored = {video: _stored(frames, video) for video in anew}
    wrong = alternatives.named_by_pixels(stored, anew, names)
    says = wrong or f"{len(anew)} videos decoded anew give the same pixels"
    remedy = f"delete {frames.path} and decode again; where this stays, a decoder or petvr's picture rule is wrong here"
    right = part.add("are frames and pictures made by the recipe's rules?", not wrong, says, remedy)
    shades = {video: of_video for video, of_video in reference.shades.items() if video in stored} if reference else {}
    if not right or not shades:
        return right
    gaps = [
        max(_shades_apart(frame_shades(anew[video][number]), shades[video]) for video in shades)
        for number in range(len(names))
    ]
    says, best = f"mean colours are {gaps[0]:.0f} levels off those recorded", int(np.argmin(gaps))
    if gaps[0] > SHADES and gaps[best] < gaps[0] / 2:
        says += f", {gaps[best]:.0f} where a second time {names[best]}: the videos are decoded that way here"
    return part.add("do the frames look as recorded?", gaps[0] <= SHADES, says, remedy)


def _stored(frames: store.FrameStore, video: str) -> np.ndarray:
    pixels, mask = frames.get([video])
    return pixels[0, mask[0]]


def frame_shades(pixels: np.ndarray) -> str:
    """Mean red, green and blue of the four quarters of each frame [n, 3, S, S]: 12 bytes a frame, as hex digits."""
    half = pixels.shape[-1] // 2
    quarters = pixels[..., : 2 * half, : 2 * half].reshape(len(pixels), 3, 2, half, 2, half)
    return quarters.mean(axis=(3, 5)).round().astype(np.uint8).tobytes().hex()


def _shades_apart(one: str, other: str) -> float:
    levels = [np.frombuffer(bytes.fromhex(shades), np.uint8).astype(np.int16) for shades in (one, other)]
    return 255.0 if len(one) != len(other) else float(np.abs(levels[0] - levels[1]).max())
