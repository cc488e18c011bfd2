"""What explains a canary that deviates: every alternative is tried on the whole test set, the nearest is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from petvr.clip import tokenizer
from petvr.data.datasets import Dataset, Split
from petvr.data.frames import build, store
from petvr.data.frames.index import StoreSettings
from petvr.errors import PetvrError
from petvr.rehearsal import alternatives
from petvr.rehearsal.reference import COMPARED, Reference
from petvr.result import Directions
from petvr.retrieval import ranking
from petvr.retrieval.ranking import Ranking
from petvr.spec import RunSpec
from petvr.training import evaluate
from petvr.training.batches import FrameReader, TokenizedCaptions
from petvr.training.model import Features, build_model

WORDS = (20, 32, 64, 77)


@dataclass(frozen=True)
class Canary:
    """A zero-shot run, and where its inputs lie. own_store: built for the rehearsal where the grid's own is not there
    yet, of the test videos alone. others: name -> another reading of the data set."""

    spec: RunSpec
    dataset: Dataset
    weights: Path
    grid_store: Path
    own_store: Path
    size: int
    others: Mapping[str, Dataset] = field(default_factory=dict)
    tokenizers: Mapping[str, Path] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.grid_store if (self.grid_store / "index.json").exists() else self.own_store

    @property
    def rule(self) -> StoreSettings:
        recipe = self.spec.recipe
        return build.store_settings(recipe.sampler, recipe.frames, self.size, recipe.picture)

    def sources(self, videos: Sequence[str]) -> dict[str, tuple[Path, alternatives.Window]]:
        return {video: (self.dataset.video_file(video), self.dataset.window(video)) for video in videos}


class Stage:
    """The frozen model on the canary's test set; the video side is computed once and kept."""

    def __init__(self, canary: Canary, split: Split, frames: store.FrameStore, device: torch.device) -> None:
        self.canary, self.split, self.frames = canary, split, frames
        self.model = build_model(canary.spec, canary.weights, device)
        self.model.set_training(False)
        self.tokenize = tokenizer.load_tokenizer(canary.weights)
        with torch.inference_mode():
            reader = FrameReader(frames, split.videos, device)
            self.videos = evaluate.encode_videos(self.model, reader, None, lambda: None, None)

    @torch.inference_mode()
    def texts(
        self,
        words: int | None = None,
        tokenize: tokenizer.Tokenizer | None = None,
        captions: Sequence[str] | None = None,
    ) -> tuple[Features, Tensor]:
        """The text side of the distinct captions, and which of them each caption is."""
        count = words or self.canary.spec.recipe.words
        texts = TokenizedCaptions(captions or self.split.captions, tokenize or self.tokenize, count)
        batch = evaluate.FRAMES_PER_BATCH[self.model.device.type]
        return evaluate.encode_captions(self.model, texts, batch, lambda: None), texts.distinct

    @torch.inference_mode()
    def ranked(self, texts: tuple[Features, Tensor], videos: Features, owner: Sequence[int] | None = None) -> Ranking:
        scores = evaluate.Scores(self.model, texts[0], videos, texts[1], lambda: None)
        owner = self.split.caption_video if owner is None else owner
        return ranking.evaluate(scores, owner, videos=len(videos["seen"])).plain

    @torch.inference_mode()
    def encoded(self, frames: np.ndarray) -> Features:
        """The video side of one video's frames [n, 3, S, S], as one row."""
        pixels = np.zeros((1, self.canary.spec.recipe.frames, *frames.shape[1:]), np.uint8)
        pixels[0, : len(frames)] = frames
        mask = torch.arange(pixels.shape[1])[None] < len(frames)
        return self.model.encode_videos(torch.from_numpy(pixels).to(self.model.device), mask)


def deviations(measured: Directions, reference: Reference) -> list[str]:
    """`T→V R@1 30.1, expected 31.1`, of the numbers that are further off than the reference allows."""
    deviations = []
    for way, values in reference.metrics.items():
        for metric, value in values.items():
            if distance(measured[way][metric], metric, value, reference) > 1:
                arrow = "T→V" if way == "t2v" else "V→T"
                deviations.append(f"{arrow} {metric} {measured[way][metric]:.1f}, expected {value:.1f}")
    return deviations


def distance(ours: float, metric: str, value: float, reference: Reference) -> float:
    """In units of what is allowed; a printed number is rounded to one decimal."""
    allowed = reference.share * value if metric == "MnR" else reference.points
    return max(0.0, abs(ours - value) - 0.05) / max(allowed, 1e-9)


def misfit(measured: Directions, reference: Reference) -> float:
    """Mean distance over all numbers."""
    distances = [
        distance(measured[way][metric], metric, value, reference)
        for way, values in reference.metrics.items()
        for metric, value in values.items()
    ]
    return float(np.mean(distances))


def tried_alternatives(stage: Stage, measured: Ranking, reference: Reference, workers: int) -> list[dict[str, Any]]:
    """Every alternative with its numbers, the one that fits best first: rules for ties and texts, other readings of
    the data set, and every video decoded once more under all other frame and picture rules."""
    tried: dict[str, Directions] = {}
    counts = measured.counts
    tried["ties are counted as CLIP4Clip's code does"] = measured.released()
    tried["tied candidates share their mean place"] = {way: one.summary("mean_place") for way, one in counts.items()}
    recipe, texts = stage.canary.spec.recipe, stage.texts()
    positions = stage.model.adapted.clip.config.positions
    for words in WORDS:
        if words != recipe.words and words <= positions:
            tried[f"captions are cut at {words} tokens, not {recipe.words}"] = stage.ranked(
                stage.texts(words), stage.videos
            ).directions()
    for name, folder in stage.canary.tokenizers.items():
        other = tokenizer.load_tokenizer(folder)
        if other.tokens(stage.split.captions[:50]) != stage.tokenize.tokens(stage.split.captions[:50]):
            captions = stage.texts(tokenize=other)
            tried[f"the tokenizer was swapped: {name} fits"] = stage.ranked(captions, stage.videos).directions()
    for name, dataset in stage.canary.others.items():
        if (metrics := _other_reading(stage, dataset)) is not None:
            tried[name] = metrics
    tried |= _other_frames(stage, texts, workers)
    ours = misfit(measured.directions(), reference)
    listed = [
        {
            "name": name,
            "misfit": round(misfit(one, reference), 2),
            "ours": round(ours, 2),
            "metrics": rounded(one),
            "fits": not deviations(one, reference),
        }
        for name, one in tried.items()
    ]
    return sorted(listed, key=lambda one: (not one["fits"], one["misfit"]))


def _other_reading(stage: Stage, dataset: Dataset) -> Directions | None:
    """Of another test split or other captions, as far as its videos have frames here."""
    try:
        split = dataset.split("test")
    except PetvrError:
        return None
    row = {video: number for number, video in enumerate(stage.split.videos)}
    split = split.keep(set(row))
    if not split.videos:
        return None
    rows = torch.tensor([row[video] for video in split.videos], device=stage.model.device)
    videos = {name: feature[rows] for name, feature in stage.videos.items()}
    return stage.ranked(stage.texts(captions=split.captions), videos, split.caption_video).directions()


def _other_frames(stage: Stage, texts: tuple[Features, Tensor], workers: int) -> dict[str, Directions]:
    """Of the rules that make another difference than none: a frame rate of 25.0 is rounded as it is cut off."""
    canary = stage.canary
    listed = alternatives.frame_alternatives(canary.rule.sampler, canary.rule.picture)
    row = {video: number for number, video in enumerate(stage.split.videos)}
    sides: list[Features] = [{name: side.clone() for name, side in stage.videos.items()} for _ in listed]
    for video, readings in alternatives.decoded_alternatives(canary.sources(list(row)), listed, canary.rule, workers):
        for side, frames in zip(sides, readings, strict=True):
            for name, rows in stage.encoded(frames).items():
                side[name][row[video]] = rows[0]
    return {
        one.name: stage.ranked(texts, side).directions()
        for one, side in zip(listed[1:], sides[1:], strict=True)
        if any(not torch.equal(side[name], sides[0][name]) for name in side)
    }


def nearest_sentence(nearest: list[dict[str, Any]], measured: Ranking) -> str:
    best = nearest[0]
    ours = measured.directions()["t2v"]["R@1"]
    then = best["metrics"]["t2v"]["R@1"]
    numbers = (
        f"mean deviation {best['misfit']:.1f} of what is allowed instead of {best['ours']:.1f}, T→V R@1 {then:.1f}"
    )
    numbers += f" instead of {ours:.1f}"
    if best["fits"]:
        return f"It is equal where {best['name']} ({numbers})"
    if best["misfit"] < 0.8 * best["ours"]:
        return f"Nothing that was tried explains it whole; nearest: {best['name']} ({numbers})"
    return f"Nothing that was tried explains it: weights, texts or annotations ({len(nearest)} alternatives)"


def rounded(metrics: Directions) -> Directions:
    return {way: {metric: round(values[metric], 3) for metric in COMPARED} for way, values in metrics.items()}
